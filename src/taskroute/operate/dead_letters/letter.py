"""Letter: a message in a dead-letter queue, as far as its origin is believed. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from taskroute.exported import exported_by
from taskroute.message.delivery import Delivery
from taskroute.message.origin import WrittenBy, origin_of

_ID_LENGTH = 16


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message that failed for good, where it lies now.

    Attributes:
        id: made of the queue that it failed in, when, its message id and its body. Letters that are equal in all of
            these have one id, which then stands for each of them.
        lies_in: the dead-letter queue.
        queue: where it failed; `exchange` and `routing_key` are those that it was published with.
        reason: of a worker (``handler_error``, ``invalid_body``, ...), or of the broker (``expired``, ``maxlen``,
            ``delivery_limit``, ``rejected``).
        error: what a worker tells of it, never a value of the message; `error_text` and `traceback` are those of the
            exception, `handler` is who raised it.
        attempt: the last one, counted from 1.
        failed_at: None if nobody says when.
        replays: how often it was sent back before.
        written_by: who has put it there: a ``worker``, the ``broker``, or another client, a ``publisher``. What the
            others say of its origin in headers is not believed.
        body: as it was published.
        properties: as they came; `headers` are among them.
    """

    id: str
    lies_in: str
    queue: str
    exchange: str
    routing_key: str
    reason: str
    error: str
    error_text: str
    traceback: str
    handler: str
    attempt: int
    failed_at: datetime | None
    replays: int
    written_by: WrittenBy
    body: bytes = field(repr=False)
    properties: Mapping[str, object] = field(repr=False)
    came: tuple[str, str] = field(repr=False)
    """Exchange and routing key by which it came to lie there."""

    @property
    def headers(self) -> Mapping[str, Any]:
        """Its headers, with those that are not believed."""
        headers = self.properties.get("application_headers")
        return headers if isinstance(headers, Mapping) else {}

    @property
    def message_id(self) -> str | None:
        """The id that it was published with."""
        found = self.properties.get("message_id")
        return found if isinstance(found, str) else None

    @property
    def history(self) -> Sequence[Mapping[str, Any]]:
        """What the broker says of how it was dead-lettered, the latest first."""
        deaths = self.headers.get("x-death")
        return [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []


def letter_of(delivery: Delivery) -> Letter:
    """Return the letter that was taken out of a dead-letter queue."""
    # A delivery shows what it restores by the headers, which it does only for what came by the queue's name.
    came = ("", delivery.queue) if delivery.is_retry else (delivery.exchange, delivery.routing_key)
    return read_letter(delivery.queue, came, delivery.properties, delivery.body)


def read_letter(lies_in: str, came: tuple[str, str], properties: Mapping[str, object], body: bytes) -> Letter:
    """Return the letter that a message in a dead-letter queue is.

    Args:
        lies_in: the queue.
        came: exchange and routing key by which it came there.
        properties: of it.
        body: of it.
    """
    headers = properties.get("application_headers")
    known: Mapping[str, object] = headers if isinstance(headers, Mapping) else {}
    origin = origin_of(known, queue=lies_in, exchange=came[0], routing_key=came[1])
    failed_at, message_id = _read_moment(origin.failed_at), properties.get("message_id")
    return Letter(
        id=_id_of(origin.queue, failed_at, message_id if isinstance(message_id, str) else "", body),
        lies_in=lies_in,
        queue=origin.queue,
        exchange=origin.exchange,
        routing_key=origin.routing_key,
        reason=origin.reason,
        error=origin.error,
        error_text=origin.error_text,
        traceback=origin.error_traceback,
        handler=origin.handler,
        attempt=origin.attempt,
        failed_at=failed_at,
        replays=origin.replays,
        written_by=origin.written_by,
        body=body,
        properties=properties,
        came=came,
    )


def _id_of(queue: str, failed_at: datetime | None, message_id: str, body: bytes) -> str:
    found = hashlib.sha256()
    for part in (queue, failed_at.isoformat(timespec="milliseconds") if failed_at else "", message_id):
        encoded = part.encode(errors="surrogatepass")
        found.update(len(encoded).to_bytes(8, "big") + encoded)
    found.update(body)
    return found.hexdigest()[:_ID_LENGTH]


def _read_moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
