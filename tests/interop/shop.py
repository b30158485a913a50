"""The shop: the topology, the bodies and the clients that the tests of every other library share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pika
from pydantic import BaseModel
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute import ExchangeSpec, HandlerRegistry, Header, Message, QueueSpec, RetryPolicy, Topology


class Order(BaseModel):
    """A body, as one service writes it and the other reads it."""

    id: int
    customer: str


shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")], retry=RetryPolicy(delays=(0.05,)))
topology = Topology(exchanges=[shop], queues=[orders])


def registry_recording(seen: Calls) -> HandlerRegistry:
    """A registry whose handler records its body, capture, header and message."""
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
