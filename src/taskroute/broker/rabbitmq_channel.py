"""RabbitMQChannel: py-amqp's channel, where publishes and acknowledgements leave the process as bytes of our own.

Used by the thread that owns its connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from amqp import spec
from amqp.exceptions import ChannelError, error_for_code
from amqp.serialization import dumps
from kombu.transport import pyamqp

from taskroute.broker.encoding import ack_frames, publish_frames, requeue_frames
from taskroute.broker.frames import Content, read_deliver
from taskroute.errors import UnsupportedFeatureError

_METHODS: Final[Mapping[Any, str]] = {
    getattr(owner, name): f"{owner.__name__.lower()}.{name.lower()}"
    for owner in (spec.Channel, spec.Exchange, spec.Queue, spec.Basic, spec.Confirm)
    for name in vars(owner)
    if not name.startswith("_") and isinstance(getattr(owner, name), tuple)
}
_OVERHEAD: Final = 12
"""Bytes of a method's frame besides its fields."""

_NAMED: Final = 2
"""Fields of a method up to the name of what it is about."""


class RabbitMQChannel(pyamqp.Channel):
    """A channel with the surface of `broker.amqp.Channel`."""

    _asked: tuple[Any, Any]
    """The method that was sent last, and its fields."""
    on_closed: Callable[[Exception], object] | None = None
    """Called when the broker closes the channel while nothing waits for an answer on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._questions: deque[Callable[[str, int, int], object]] = deque()
        super().__init__(*arguments, **options)

    def _on_close(self, reply_code: int, reply_text: str, class_id: int, method_id: int) -> None:
        """Like py-amqp's, which raises for the whole connection, and opens the channel again."""
        if self.on_closed is None or self._pending or self.is_closing:
            super()._on_close(reply_code, reply_text, class_id, method_id)
            return
        self.send_method(spec.Channel.CloseOk)
        self.collect()
        self.on_closed(error_for_code(reply_code, reply_text, (class_id, method_id), ChannelError))

    def dispatch_method(self, method_sig: Any, payload: bytes, content: Content | None) -> None:
        """Like py-amqp's, but a routing key that is not UTF-8 does not end the connection."""
        if content is None or method_sig != spec.Basic.Deliver or self.is_closing:
            super().dispatch_method(method_sig, payload, content)
        else:
            self._on_basic_deliver(*read_deliver(payload, content), content)

    def send_method(self, sig: Any, format: Any = None, args: Any = None, *others: Any, **options: Any) -> Any:  # noqa: A002
        """Like py-amqp's, but refuses what does not fit into a frame.

        Raises:
            UnsupportedFeatureError: the broker's frames are too short for it; nothing was written.
        """
        connection = self.connection  # None once it is closed, of which py-amqp tells
        if connection is not None and format and "F" in format:  # only a table can be that long
            size, limit = len(dumps(format, args)) + _OVERHEAD, connection.frame_max
            if size > limit:
                what = _describe(sig, args)
                raise UnsupportedFeatureError(f"{what} takes {size} bytes, and the broker's frame_max is {limit}")
        self._asked = sig, args
        return super().send_method(sig, format, args, *others, **options)

    def wait(self, *methods: Any, **options: Any) -> Any:
        """Like py-amqp's, but says what it waits for."""
        if self.connection is not None:
            self.connection.on_step(f"waiting for the broker's answer to {_describe(*self._asked)}")
        return super().wait(*methods, **options)

    def publish(
        self, exchange: str, routing_key: str, *, mandatory: bool, properties: Mapping[str, object], body: bytes
    ) -> None:
        """Write a message. Unlike `basic_publish` it reads nothing.

        Raises:
            MessageInvalidError: AMQP cannot carry a property; nothing was written.
            MessageTooLargeError: properties and headers do not fit into a frame; nothing was written.
        """
        connection = self.connection
        for piece in publish_frames(
            self.channel_id, connection.frame_max, exchange, routing_key, mandatory, properties, body
        ):
            connection.transport.write(piece)

    @property
    def is_receiving(self) -> bool:
        """Whether a message has begun to come in, and is not complete."""
        return self.channel_id in self.connection.incoming

    def begin_close(self) -> None:
        """Close it, and do not wait for the broker. What it still answers is not heard."""
        if self.is_open:
            self.is_closing = True
            self.send_method(spec.Channel.Close, "BsBB", (0, "", 0, 0))

    def acknowledge(self, up_to: int, tags: Iterable[int]) -> None:
        """Acknowledge every delivery `up_to` a tag, 0 for none, and single ones."""
        self.connection.transport.write(ack_frames(self.channel_id, up_to, tags))

    def put_back(self, up_to: int, tags: Iterable[int]) -> None:
        """Put every delivery `up_to` a tag, 0 for none, and single ones back to their queues."""
        self.connection.transport.write(requeue_frames(self.channel_id, up_to, tags))

    def ask_consumers(self, queue: str, answer: Callable[[str, int, int], object]) -> None:
        """Ask how many consumers a queue has, and go on; `answer` gets its name, the number and its messages later.

        On this channel nothing else may declare queues. It needs no right to configure.
        """
        self._questions.append(answer)
        self._callbacks[spec.Queue.DeclareOk] = self._on_consumers
        self.send_method(spec.Queue.Declare, "BsbbbbbF", (0, queue, True, False, False, False, False, {}))

    def _on_consumers(self, queue: str, ready: int, consumers: int) -> None:
        self._questions.popleft()(queue, consumers, ready)  # answers come in the order of the questions

    def exchange_declare(self, exchange: str, type: str, *, internal: bool = False, **options: Any) -> Any:  # noqa: A002
        """Like py-amqp's, which has no `internal`: the fields of exchange.declare in their order."""
        if not internal:
            return super().exchange_declare(exchange, type, **options)
        flags = (options["passive"], options["durable"], options["auto_delete"], internal, False)
        arguments = (0, exchange, type, *flags, options["arguments"])
        return self.send_method(spec.Exchange.Declare, "BssbbbbbF", arguments, wait=spec.Exchange.DeclareOk)


def _describe(method: Any, fields: Any) -> str:
    """Return a method's name and, where it has one, the name of what it is about."""
    name = _METHODS.get(method, str(method))
    is_about = fields is not None and len(fields) >= _NAMED and isinstance(fields[1], str)
    return f"{name} {fields[1]!r}" if is_about else name
