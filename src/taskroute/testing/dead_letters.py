"""DeadLetter: a message in a dead-letter queue, with the reason. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.exported import exported_by
from taskroute.message.origin import origin_of


@exported_by("taskroute.testing")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that failed for good.

    `reason` is the worker's (``handler_error``, ``invalid_body``, ...), or the broker's if the broker dead-lettered the
    message (``expired``, ``maxlen``, ``delivery_limit``). `error` adds types, fields and places, never a value;
    `error_text` and `error_traceback` are those of the exception, `handler` is the name of its handler, where
    one was found. `attempt` is the last one, counted from 1. `queue`, `exchange` and `routing_key` are those before it
    was dead-lettered. The worker's word counts only in a letter that nobody else can have written.
    """

    reason: str
    error: str
    attempt: int
    body: bytes
    headers: Mapping[str, object]
    queue: str
    exchange: str
    routing_key: str
    message_id: str | None
    error_text: str = ""
    error_traceback: str = ""
    handler: str = ""

    @classmethod
    def of(cls, stored: StoredMessage, queue: str) -> Self:
        """Return the dead letter that a message in the dead-letter queue `queue` is."""
        origin = origin_of(stored.headers, queue=queue, exchange=stored.exchange, routing_key=stored.routing_key)
        message_id = stored.properties.get("message_id")
        return cls(
            reason=origin.reason,
            error=origin.error,
            attempt=origin.attempt,
            body=stored.body,
            headers=dict(stored.headers),
            queue=origin.queue,
            exchange=origin.exchange,
            routing_key=origin.routing_key,
            message_id=message_id if isinstance(message_id, str) else None,
            error_text=origin.error_text,
            error_traceback=origin.error_traceback,
            handler=origin.handler,
        )
