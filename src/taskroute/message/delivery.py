"""Delivery: one message as the broker delivered it.

Made on the session's thread, handled on another one, settled by its delivery tag within its generation: the number of
the channel that it came by. Nothing changes it once it is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal

from taskroute.message.message import NO_HEADERS, Message
from taskroute.message.origin import republished

Flaw = tuple[Literal["invalid_header", "invalid_key", "too_large"], str]
"""What is wrong with a message besides its body: the reason, and a text that quotes no value."""

_MESSAGE_PROPERTIES: Final = (
    "message_id",
    "correlation_id",
    "type",
    "content_type",
    "timestamp",
    "reply_to",
    "priority",
)
"""Properties that are fields of `Message` under the same names."""


class Delivery:
    """One message as the broker delivered it.

    Reserved headers are believed only where the broker itself proves them: in a delivery through the default exchange
    to the queue's own name, which is how wait queues return messages, and not if the broker has dead-lettered it there
    after it was published elsewhere. `malformed` says why the message cannot be handled, whatever its body is.
    """

    # Not a dataclass: a __post_init__ makes construction 6 % slower, and every message is one.

    __slots__ = (
        "attempt",
        "body",
        "exchange",
        "generation",
        "is_retry",
        "malformed",
        "properties",
        "queue",
        "redelivered",
        "routing_key",
        "tag",
    )

    def __init__(
        self,
        *,
        queue: str,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: Mapping[str, object],
        redelivered: bool = False,
        tag: int = 0,
        generation: int = 0,
        malformed: Flaw | None = None,
    ) -> None:
        self.queue = queue
        self.exchange = exchange
        self.routing_key = routing_key
        self.body = body
        self.properties = properties
        self.redelivered = redelivered
        self.tag = tag
        self.generation = generation
        self.malformed = malformed
        self.attempt = 1
        self.is_retry = False
        if exchange == "" and routing_key == queue:
            self._restore_origin()

    @property
    def headers(self) -> Mapping[str, object]:
        """The message's headers; empty when it has none."""
        headers = self.properties.get("application_headers")
        return headers if isinstance(headers, Mapping) else NO_HEADERS

    @property
    def message_id(self) -> str | None:
        """The id that the publisher gave the message."""
        return _text(self.properties.get("message_id"))

    def message(self) -> Message:
        """Return what a handler sees of it."""
        properties = self.properties
        priority = properties.get("priority")
        return Message(
            body=self.body,
            queue=self.queue,
            exchange=self.exchange,
            routing_key=self.routing_key,
            headers=MappingProxyType(dict(self.headers)),
            message_id=self.message_id,
            correlation_id=_text(properties.get("correlation_id")),
            type=_text(properties.get("type")),
            content_type=_text(properties.get("content_type")),
            timestamp=_moment(properties.get("timestamp")),
            reply_to=_text(properties.get("reply_to")),
            priority=priority if isinstance(priority, int) else None,
            redelivered=self.redelivered,
            attempt=self.attempt,
        )

    def carrying(self, message: Message) -> Delivery:
        """Return this delivery with another message in it, the one that a middleware passed on.

        The content encoding describes the old body, so a new body comes without it.
        """
        properties = {name: value for name, value in self.properties.items() if name not in _MESSAGE_PROPERTIES}
        given = {name: getattr(message, name) for name in _MESSAGE_PROPERTIES}
        properties |= {name: value for name, value in given.items() if value is not None}
        properties["application_headers"] = dict(message.headers)
        if message.body is not self.body:
            properties.pop("content_encoding", None)
        delivery = Delivery(
            queue=message.queue,
            exchange=message.exchange,
            routing_key=message.routing_key,
            body=message.body,
            properties=properties,
            redelivered=message.redelivered,
            tag=self.tag,
            generation=self.generation,
        )
        delivery.attempt = message.attempt
        return delivery

    def _restore_origin(self) -> None:
        known = republished(self.headers)
        if known is not None:
            self.is_retry = True
            if known.queue == self.queue:  # attempts in the queue that dead-lettered it do not count
                self.attempt = known.attempt
            self.exchange = known.exchange
            self.routing_key = known.routing_key


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _moment(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, int):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError):
            return None  # a publisher may write any 64-bit number
    return None
