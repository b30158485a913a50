"""Connection and Channel: what this library uses of AMQP, as RabbitMQ's client and the embedded broker both have it.

A connection and its channels are used by one thread, the session's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from taskroute.errors import UnsupportedFeatureError
from taskroute.message.delivery import Flaw

KEEPS_ORDER: Final = 32
"""Deliveries that may be put back at once: RabbitMQ 3.10 shuffles more where a quorum queue has a delivery limit."""


class NoChannelLeftError(UnsupportedFeatureError):
    """The broker allows no more channels on the connection. Nothing was written; those that are open go on."""


class Incoming(Protocol):
    """A message as it is delivered."""

    body: bytes
    properties: Mapping[str, object]
    delivery_info: Mapping[str, Any]
    """``delivery_tag``, ``redelivered``, ``exchange``, ``routing_key`` and ``consumer_tag``."""
    malformed: Flaw | None
    """What is wrong with it besides its body."""


class QueueDeclared(Protocol):
    """The answer to a queue declaration."""

    @property
    def message_count(self) -> int:
        """Messages that are ready."""

    @property
    def consumer_count(self) -> int:
        """Consumers of the queue."""


class Descriptor(Protocol):
    """What a selector can wait for."""

    def fileno(self) -> int:
        """Return the file descriptor."""


class Channel(Protocol):
    """A channel. What the broker refuses raises an `amqp.AMQPError`, at the call or at the next read."""

    auto_decode: bool
    """Whether a body is decoded as its sender asks."""
    callbacks: dict[str, Callable[[Incoming], object]]
    """By consumer tag, what gets a delivery."""
    on_closed: Callable[[Exception], object] | None
    """What is called, if anything, when the broker closes it unasked; without it the connection's next read raises. The
    channel cannot be used from then on. An embedded broker closes none so."""
    events: Mapping[str, set[Callable[..., Any]]]
    """What is called for ``basic_ack``, ``basic_nack`` and ``basic_return``."""

    @property
    def is_receiving(self) -> bool:
        """Whether a message has begun to come in, and is not complete."""

    def close(self) -> object:
        """Close it, and wait until the broker has."""

    def begin_close(self) -> None:
        """Close it, and do not wait for the broker. What it still answers is not heard."""

    def exchange_declare(
        self,
        exchange: str,
        type: str,  # noqa: A002 - AMQP's name
        *,
        passive: bool,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Mapping[str, object],
    ) -> object:
        """Declare an exchange, or with `passive` ask whether there is one."""

    def exchange_bind(
        self, destination: str, source: str, routing_key: str, *, arguments: Mapping[str, object]
    ) -> object:
        """Bind an exchange to an exchange."""

    def queue_declare(
        self,
        queue: str,
        *,
        passive: bool = False,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = True,
        arguments: Mapping[str, object] | None = None,
    ) -> QueueDeclared:
        """Declare a queue, or with `passive` ask whether there is one."""

    def queue_bind(self, queue: str, exchange: str, routing_key: str, *, arguments: Mapping[str, object]) -> object:
        """Bind a queue to an exchange."""

    def queue_delete(self, queue: str) -> object:
        """Delete a queue, whatever is in it."""

    def confirm_select(self) -> object:
        """Have every later publish confirmed."""

    def publish(
        self, exchange: str, routing_key: str, *, mandatory: bool, properties: Mapping[str, object], body: bytes
    ) -> None:
        """Write a message, and read nothing.

        Raises:
            MessageInvalidError: AMQP cannot carry a property; nothing was written.
            MessageTooLargeError: properties and headers do not fit into a frame; nothing was written.
        """

    def basic_qos(self, prefetch_size: int, prefetch_count: int, a_global: bool) -> object:
        """Limit the unacknowledged deliveries of each consumer to come."""

    def basic_consume(
        self,
        queue: str,
        consumer_tag: str,
        *,
        callback: Callable[[Incoming], object],
        arguments: Mapping[str, object],
        on_cancel: Callable[[str], object],
    ) -> object:
        """Start a consumer. `on_cancel` is called with its tag when the broker ends it."""

    def basic_cancel(self, consumer_tag: str, nowait: bool) -> object:
        """End a consumer; what it was given can still be settled."""

    def acknowledge(self, up_to: int, tags: Iterable[int]) -> None:
        """Acknowledge every delivery `up_to` a tag, 0 for none, and single ones."""

    def put_back(self, up_to: int, tags: Iterable[int]) -> None:
        """Put every delivery up to a tag, 0 for none, and single ones back to their queues."""

    def ask_consumers(self, queue: str, answer: Callable[[str, int, int], object]) -> None:
        """Ask how many consumers a queue has, and go on; `answer` gets its name, the number and its messages later."""


class Connection(Protocol):
    """An open connection."""

    channel_max: int
    """How many channels it may have."""
    server_properties: Mapping[str, Any]
    """What the broker says of itself, such as ``product`` and ``version``."""

    @property
    def heartbeat(self) -> float:
        """Seconds, as agreed with the broker; 0 for none."""

    @property
    def frame_max(self) -> int:
        """Bytes of a frame, as agreed with the broker. Properties and headers of a message travel in one."""

    @property
    def bytes_recv(self) -> int:
        """What was read so far; it changes whenever something was."""

    @property
    def sock(self) -> Descriptor:
        """What is readable when the broker has sent something."""

    def channel(self) -> Channel:
        """Open a channel.

        Raises:
            NoChannelLeftError: the broker allows no more.
        """

    def drain_available(self, most: int) -> bool:
        """Handle what has come, `most` methods at most; return whether there may be more."""

    def write_together(self, write: Callable[[], None]) -> None:
        """Call `write`, and send in one go what it has written."""

    def heartbeat_tick(self) -> object:
        """Send a heartbeat if one is due, and raise if the broker has been silent for too long."""

    def close(self) -> object:
        """Close it in good order."""

    def collect(self) -> object:
        """Drop it without a word to the broker."""
