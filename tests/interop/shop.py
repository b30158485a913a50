"""The shop that every service of these tests belongs to, whatever it is written with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pika
from pydantic import BaseModel

from taskroute import ExchangeSpec, HandlerRegistry, Header, Message, QueueSpec, RetryPolicy, Topology

DEADLINE = 30.0


class Order(BaseModel):
    """A body, as one service writes it and the other reads it."""

    id: int
    customer: str


shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")], retry=RetryPolicy(delays=(0.05,)))
topology = Topology(exchanges=[shop], queues=[orders])


class Seen:
    """What a handler was called with. Called on its thread, read on the test's."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: list[Any] = []

    def __call__(self, call: Any) -> None:
        with self._changed:
            self._calls.append(call)
            self._changed.notify_all()

    def wait(self, count: int = 1) -> list[Any]:
        """Wait for so many calls, and return them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._calls) >= count, DEADLINE), self._calls
            return list(self._calls)


def registry_telling(seen: Seen) -> HandlerRegistry:
    """A registry whose handler takes all that a handler can take."""
    registry = HandlerRegistry()

    @registry.handler("order.{action}", queue=orders)
    def handle(
        order: Order, action: str, message: Message, tenant: Annotated[str, Header("x-tenant")] = "none"
    ) -> None:
        seen((order, action, tenant, message))

    return registry


@contextmanager
def pika_channel(url: str) -> Iterator[Any]:
    """A channel of a client that shares no code with the library, in confirm mode."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        connection.close()


def taken_by_pika(url: str, queue: str) -> tuple[Any, bytes]:
    """Wait for one message in a queue and take it: its properties and its body."""
    with pika_channel(url) as channel:
        for _, properties, body in channel.consume(queue, auto_ack=True, inactivity_timeout=DEADLINE):
            assert properties is not None, f"nothing came to {queue}"
            return properties, body
    raise AssertionError
