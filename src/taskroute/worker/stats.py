"""Stats: what became of the messages of a worker, counted."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, get_args

from taskroute.broker.roles.backlog import Backlog
from taskroute.exported import exported_by

Event = Literal["retry", "dead_letter", "dropped", "overdue", "paused"]


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the worker was made, each message once for each attempt.

    `handled` by (queue, handler name); the mappings that follow by queue. `dropped` counts failures in queues that
    keep none, `overdue` handlers that outlived their timeout, `paused` pauses, by a circuit breaker or by hand.
    `connections` is how many consuming connections there have been, `missed_consumers` how often the broker had
    forgotten a consumer, which made one of them. `backlog` is no count of the worker's: by queue, how many messages are
    ready, as the broker said at the last heartbeat; a queue of which nothing is known is left out.
    """

    handled: Mapping[tuple[str, str], int]
    retried: Mapping[str, int]
    dead_lettered: Mapping[str, int]
    dropped: Mapping[str, int]
    overdue: Mapping[str, int]
    paused: Mapping[str, int]
    connections: int = 0
    missed_consumers: int = 0
    backlog: Mapping[str, Backlog] = field(default_factory=lambda: MappingProxyType({}))


class StatsCounter:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handled: Counter[tuple[str, str]] = Counter()
        self._events: dict[Event, Counter[str]] = {event: Counter() for event in get_args(Event)}

    def handled(self, queue: str, handler: str) -> None:
        """Count a handler that returned."""
        with self._lock:
            self._handled[queue, handler] += 1

    def count(self, queue: str, event: Event) -> None:
        """Count something else that became of a message or its queue."""
        with self._lock:
            self._events[event][queue] += 1

    def stats(self) -> Stats:
        """Return the counts as they are now."""
        with self._lock:
            events = {event: MappingProxyType(dict(counts)) for event, counts in self._events.items()}
            handled = MappingProxyType(dict(self._handled))
        return Stats(
            handled,
            retried=events["retry"],
            dead_lettered=events["dead_letter"],
            dropped=events["dropped"],
            overdue=events["overdue"],
            paused=events["paused"],
        )
