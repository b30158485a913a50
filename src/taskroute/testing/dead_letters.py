"""DeadLetter: a message in a dead-letter queue, with the reason. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.exported import exported_by
from taskroute.message import headers as names


@exported_by("taskroute.testing")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A message that failed for good.

    `reason` is the worker's (``handler_error``, ``invalid_body``, ...), or the broker's if the broker dead-lettered the
    message (``expired``, ``maxlen``, ``delivery_limit``). `error` adds types, fields and places, never a value.
    `attempt` is the last one, counted from 1. `queue`, `exchange` and `routing_key` are those before it was
    dead-lettered.
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

    @classmethod
    def of(cls, stored: StoredMessage) -> Self:
        """Return the dead letter of a stored message, from the headers of the worker, or else of the broker."""
        headers = stored.headers
        told = headers if names.REASON in headers else _told_by_broker(headers)
        message_id = stored.properties.get("message_id")
        return cls(
            reason=str(told.get(names.REASON, "")),
            error=str(told.get(names.ERROR, "")),
            attempt=_number(headers.get(names.ATTEMPT)),
            body=stored.body,
            headers=dict(headers),
            queue=str(told.get(names.QUEUE, "")),
            exchange=str(told.get(names.EXCHANGE, stored.exchange)),
            routing_key=str(told.get(names.ROUTING_KEY, stored.routing_key)),
            message_id=message_id if isinstance(message_id, str) else None,
        )


def _told_by_broker(headers: Mapping[str, object]) -> Mapping[str, object]:
    deaths = headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths else None
    if not isinstance(death, Mapping):
        return {}
    keys = death.get("routing-keys")
    return {
        names.REASON: death.get("reason"),
        names.QUEUE: death.get("queue"),
        names.EXCHANGE: headers.get(names.EXCHANGE, death.get("exchange")),
        names.ROUTING_KEY: headers.get(names.ROUTING_KEY, keys[0] if isinstance(keys, list) and keys else ""),
    }


def _number(value: object) -> int:
    return value if isinstance(value, int) else 1
