"""Origin: where a message came from before it was republished or dead-lettered, and whose word that is. Pure.

A worker writes it down in headers, which any publisher can write as well. They count only in a message that was
published to a queue by its name, through the default exchange: whoever may do that may put anything into any queue.
How a message was published that was dead-lettered since, the broker says in ``x-death``. From RabbitMQ 4.0 on nobody
else can say it; until then, what a publisher has written there for the same queue and reason stays, and is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, NamedTuple

from taskroute.message.headers import (
    ATTEMPT,
    ERROR,
    ERROR_TEXT,
    ERROR_TRACEBACK,
    EXCHANGE,
    FAILED_AT,
    HANDLER,
    QUEUE,
    REASON,
    REPLAYS,
    ROUTING_KEY,
)

MAX_ATTEMPT: Final = 1_000_000
"""A forged attempt header is clamped to this, so that arithmetic on it stays in range."""

WrittenBy = Literal["worker", "broker", "publisher"]
"""Who has put a message into a dead-letter queue; a publisher is any other client."""

_DEATHS: Final = "x-death"
_NOTHING: Final[Mapping[str, object]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a dead letter came from.

    `queue`, `exchange` and `routing_key` are those before it was dead-lettered, `attempt` is the last one; `reason`,
    `error`, `error_text` and `error_traceback` are why, `handler` is the name of its handler; what nobody
    has written down is empty. `failed_at` is when, as ISO 8601, and `replays` how often it was sent back since.
    `written_by` says who has put the letter where it lies.
    """

    queue: str
    exchange: str
    routing_key: str
    attempt: int
    reason: str
    error: str
    error_text: str
    error_traceback: str
    handler: str
    failed_at: str
    replays: int
    written_by: WrittenBy


class Republished(NamedTuple):
    """What a worker has written down of a message that it has republished. `queue` is where it had failed."""

    queue: str | None
    exchange: str
    routing_key: str
    attempt: int


def republished(headers: Mapping[str, object]) -> Republished | None:
    """Return what a worker has written into a message that lies in a queue by its name.

    None if there is nothing, or if the broker says that the message was published elsewhere: they may be anybody's
    headers then.
    """
    deaths = headers.get(_DEATHS, ())
    if not isinstance(deaths, Sequence) or not all(map(_had_come_by_name, deaths)):
        return None
    attempt, exchange, key = headers.get(ATTEMPT), headers.get(EXCHANGE), headers.get(ROUTING_KEY)
    if not (isinstance(attempt, int) and isinstance(exchange, str) and isinstance(key, str)):
        return None
    queue = headers.get(QUEUE)
    return Republished(queue if isinstance(queue, str) else None, exchange, key, max(1, min(int(attempt), MAX_ATTEMPT)))


def origin_of(headers: Mapping[str, object], *, queue: str, exchange: str, routing_key: str) -> Origin:
    """Return where a message came from that lies in the dead-letter queue `queue`.

    Args:
        headers: its headers.
        queue: where it lies.
        exchange: through which it came there, as its delivery says.
        routing_key: the same.
    """
    deaths = headers.get(_DEATHS)
    newest = deaths[0] if isinstance(deaths, list) and deaths else None
    death: Mapping[str, object] | None = newest if isinstance(newest, Mapping) else None
    came_by_name = exchange == "" and routing_key == queue
    known = republished(headers) if came_by_name or death is not None else None
    told = headers if known is not None else _NOTHING
    reason = told.get(REASON)
    if death is not None:  # the newest: where the message lay before the broker put it here
        keys = death.get("routing-keys")
        queue, exchange = _text(death.get("queue")), _text(death.get("exchange"))
        routing_key = _text(keys[0]) if isinstance(keys, list) and keys else ""
        reason = reason or death.get("reason")
    if known is not None:
        queue, exchange, routing_key = known.queue or queue, known.exchange, known.routing_key
    return Origin(
        queue=queue,
        exchange=exchange,
        routing_key=routing_key,
        attempt=1 if known is None else known.attempt,
        reason=_text(reason),
        error=_text(told.get(ERROR)),
        error_text=_text(told.get(ERROR_TEXT)),
        error_traceback=_text(told.get(ERROR_TRACEBACK)),
        handler=_text(told.get(HANDLER)),
        failed_at=_text(told.get(FAILED_AT)) if death is None else _moment(death.get("time")),
        replays=replays_in(told),
        written_by="broker" if death is not None else "publisher" if known is None else "worker",
    )


def replays_in(headers: Mapping[str, object]) -> int:
    """Return how often headers that are believed say that a letter was sent back."""
    replays = headers.get(REPLAYS)
    return max(0, min(int(replays), MAX_ATTEMPT)) if isinstance(replays, int) else 0


def _had_come_by_name(death: object) -> bool:
    """Return whether a message had come to the queue that it died in through the default exchange."""
    if not isinstance(death, Mapping):
        return False
    keys = death.get("routing-keys")
    return death.get("exchange") == "" and isinstance(keys, list) and keys[:1] == [death.get("queue")]


def _moment(value: object) -> str:
    if isinstance(value, int):
        try:
            value = datetime.fromtimestamp(value, UTC)
        except (OverflowError, ValueError, OSError):
            return ""
    if not isinstance(value, datetime):
        return ""
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat(timespec="milliseconds")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
