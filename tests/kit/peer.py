"""A client beside the library: either broker through the same channel calls, and an inbox for what arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import amqp
from tests.kit.waiting import DEADLINE

from taskroute.broker.connection import connect
from taskroute.broker.url import parse_urls


class Inbox(list[Any]):
    """Deliveries in their order."""

    @property
    def bodies(self) -> list[bytes]:
        return [bytes(message.body) for message in self]

    @property
    def headers(self) -> dict[str, Any]:
        """Of the last delivery."""
        return self[-1].properties.get("application_headers") or {}


class Peer:
    """One connection with one channel in confirm mode."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._others: list[Peer] = []
        self.connection: Any = connect(parse_urls(url)[0], name="conformance", heartbeat=0)
        properties = cast("Any", self.connection).server_properties
        self.version = parsed_version(str(properties["version"]))
        self.channel = self.new_channel()
        self.log: list[str] = []
        self.channel.confirm_select()
        self.channel.events["basic_ack"].add(lambda tag, multiple: self._confirmed(tag, multiple, "ack"))
        self.channel.events["basic_nack"].add(lambda tag, multiple: self._confirmed(tag, multiple, "nack"))
        self.channel.events["basic_return"].add(self._returned)
        self._published = 0
        self._outcomes: dict[int, str] = {}

    def another(self) -> Peer:
        """A second connection to the same broker."""
        other = Peer(self._url)
        self._others.append(other)
        return other

    def new_channel(self) -> Any:
        channel = self.connection.channel()
        channel.auto_decode = False
        return channel

    def exchange(self, name: str, kind: str = "topic", **options: Any) -> str:
        options = {"durable": True, "auto_delete": False, "arguments": {}, "passive": False} | options
        self.channel.exchange_declare(name, kind, **options)
        return name

    def queue(self, name: str, *, passive: bool = False, **options: Any) -> str:
        """Declare a queue; what starts with ``x_`` is an argument."""
        arguments = {key.replace("_", "-"): value for key, value in options.items() if key.startswith("x_")}
        flags = {key: value for key, value in options.items() if not key.startswith("x_")}
        flags = {"durable": True, "auto_delete": False, "exclusive": False} | flags
        self.channel.queue_declare(name, passive=passive, arguments=arguments, **flags)
        return name

    def bind(self, queue: str, exchange: str, key: str = "", **arguments: Any) -> None:
        self.channel.queue_bind(queue, exchange, key, arguments=arguments)

    def submit(self, body: bytes, key: str, exchange: str = "", *, mandatory: bool = False, **properties: Any) -> None:
        """Publish without waiting. Headers are the property `application_headers`."""
        self.write(amqp.Message(body, **properties), key, exchange, mandatory=mandatory)

    def write(self, message: amqp.Message, key: str, exchange: str = "", *, mandatory: bool = False) -> None:
        """Publish a message that is made already, without waiting."""
        self._published += 1
        self.channel.basic_publish(message, exchange, key, mandatory=mandatory)

    def publish(self, body: bytes, key: str, exchange: str = "", **options: Any) -> str:
        """Publish and wait for ``ack`` or ``nack``."""
        self.submit(body, key, exchange, **options)
        number = self._published
        self.until(lambda: number in self._outcomes)
        return self._outcomes[number]

    def flush(self) -> None:
        """Wait until everything is confirmed."""
        self.until(lambda: self._published in self._outcomes and len(self._outcomes) == self._published)

    def consume(
        self, queue: str, *, prefetch: int = 0, channel: Any = None, no_ack: bool = False, **options: Any
    ) -> Inbox:
        inbox = Inbox()
        on = channel or self.channel
        on.basic_qos(0, prefetch, False)
        on.basic_consume(queue, callback=inbox.append, no_ack=no_ack, **options)
        return inbox

    def receive(self, queue: str, count: int) -> Inbox:
        """Wait for so many messages, and take them, and no more, from the queue."""
        channel = self.new_channel()
        inbox = self.consume(queue, channel=channel, prefetch=count)
        self.until(lambda: len(inbox) >= count)
        if inbox:
            channel.basic_ack(inbox[-1].delivery_info["delivery_tag"], multiple=True)
        channel.close()
        return inbox

    def receive_one(self, queue: str) -> Any:
        """Wait for a message, and leave it unsettled."""
        inbox = self.consume(queue, prefetch=1)
        self.until(lambda: bool(inbox))
        self.channel.basic_cancel(inbox[0].delivery_info["consumer_tag"])
        return inbox[0]

    def give_up(self, delivery_tag: int) -> None:
        """Reject a delivery by basic.nack."""
        if hasattr(self.channel, "basic_nack"):
            self.channel.basic_nack(delivery_tag, requeue=False)
        else:  # py-amqp has no such method
            self.channel.send_method(amqp.spec.Basic.Nack, "Lbb", (delivery_tag, False, False))

    def get_all(self, queue: str) -> Inbox:
        """Take what is ready now."""
        inbox = Inbox()
        while (message := self.channel.basic_get(queue, no_ack=True)) is not None:
            inbox.append(message)
        return inbox

    def ready(self, queue: str) -> int:
        count: int = self.channel.queue_declare(queue, passive=True).message_count
        return count

    def until(self, condition: Callable[[], bool]) -> None:
        """Handle events until something is so."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            self.connection.drain_events(timeout=max(deadline - time.monotonic(), 0.001))

    def settle(self) -> None:
        """Wait until the channel has told the queues what it was told, and for what the broker had to say by then.

        A queue may be asked for its counts before it has looked at that, and by another channel for no message.
        """
        self.exchange("amq.direct", "direct", passive=True)

    def pass_time(self, milliseconds: int) -> None:
        """Wait until the broker's own clock says that this much time has passed."""
        self.queue("alarm")
        self.queue("timer", x_message_ttl=milliseconds, x_dead_letter_exchange="", x_dead_letter_routing_key="alarm")
        self.publish(b"ring", "timer")
        self.receive("alarm", 1)

    def close(self) -> None:
        for other in self._others:
            other.close()
        self.connection.collect()

    def _confirmed(self, tag: int, multiple: bool, outcome: str) -> None:
        for number in range(1 if multiple else tag, tag + 1):
            self._outcomes.setdefault(number, outcome)
        self.log.append(outcome)

    def _returned(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        self.log.append(f"return {error.reply_code} {exchange} {routing_key} {bytes(message.body).decode()}")


def parsed_version(text: str) -> tuple[int, int]:
    """Return major and minor version."""
    major, minor, *_ = text.split(".")
    return int(major), int(minor)


@contextmanager
def looking(url: str) -> Iterator[Peer]:
    """Connect a peer for as long as the block takes."""
    peer = Peer(url)
    try:
        yield peer
    finally:
        peer.close()
