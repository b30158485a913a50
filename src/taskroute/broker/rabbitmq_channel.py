"""RabbitMQChannel: py-amqp's channel, where publishes and acknowledgements leave the process as bytes of our own.

Used by the thread that owns its connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from amqp import spec
from kombu.transport import pyamqp

from taskroute.broker.encoding import ack_frames, publish_frames
from taskroute.broker.frames import Content, read_deliver


class RabbitMQChannel(pyamqp.Channel):
    """A channel with the surface of `broker.amqp.Channel`."""

    def dispatch_method(self, method_sig: Any, payload: bytes, content: Content | None) -> None:
        """Like py-amqp's, but a routing key that is not UTF-8 does not end the connection."""
        if content is None or method_sig != spec.Basic.Deliver or self.is_closing:
            super().dispatch_method(method_sig, payload, content)
        else:
            self._on_basic_deliver(*read_deliver(payload, content), content)

    def publish(
        self, exchange: str, routing_key: str, *, mandatory: bool, properties: Mapping[str, object], body: bytes
    ) -> None:
        """Write a message. Unlike `basic_publish` it reads nothing.

        Raises:
            MessageInvalidError: AMQP cannot carry a property; nothing was written.
        """
        connection = self.connection
        for piece in publish_frames(
            self.channel_id, connection.frame_max, exchange, routing_key, mandatory, properties, body
        ):
            connection.transport.write(piece)

    def begin_close(self) -> None:
        """Close it, and do not wait for the broker. What it still answers is not heard."""
        if self.is_open:
            self.is_closing = True
            self.send_method(spec.Channel.Close, "BsBB", (0, "", 0, 0))

    def acknowledge(self, up_to: int, tags: Iterable[int]) -> None:
        """Acknowledge every delivery `up_to` a tag, 0 for none, and single ones."""
        self.connection.transport.write(ack_frames(self.channel_id, up_to, tags))

    def ask_consumers(self, queue: str, answer: Callable[[str, int], object]) -> None:
        """Ask how many consumers a queue has, and go on; `answer` gets its name and the number later.

        On this channel nothing else may declare queues. It needs no right to configure.
        """
        self._callbacks[spec.Queue.DeclareOk] = lambda name, _, consumers: answer(name, consumers)
        self.send_method(spec.Queue.Declare, "BsbbbbbF", (0, queue, True, False, False, False, False, {}))

    def exchange_declare(self, exchange: str, type: str, *, internal: bool = False, **options: Any) -> Any:  # noqa: A002
        """Like py-amqp's, which has no `internal`: the fields of exchange.declare in their order."""
        if not internal:
            return super().exchange_declare(exchange, type, **options)
        flags = (options["passive"], options["durable"], options["auto_delete"], internal, False)
        arguments = (0, exchange, type, *flags, options["arguments"])
        return self.send_method(spec.Exchange.Declare, "BssbbbbbF", arguments, wait=spec.Exchange.DeclareOk)
