"""Tally: what became of the messages of a worker, counted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Event = Literal["retry", "dead_letter", "dropped"]


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the worker was made, each message once for each attempt.

    `handled` by (queue, handler name); the others by queue. `dropped` counts failures in queues that keep none.
    """

    handled: Mapping[tuple[str, str], int]
    retried: Mapping[str, int]
    dead_lettered: Mapping[str, int]
    dropped: Mapping[str, int]


class Tally:
    """Counts from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handled: Counter[tuple[str, str]] = Counter()
        self._events: dict[Event, Counter[str]] = {"retry": Counter(), "dead_letter": Counter(), "dropped": Counter()}

    def handled(self, queue: str, handler: str) -> None:
        """A handler returned."""
        with self._lock:
            self._handled[queue, handler] += 1

    def failed(self, queue: str, event: Event) -> None:
        """A message was put away instead."""
        with self._lock:
            self._events[event][queue] += 1

    def stats(self) -> Stats:
        """The counts as they are now."""
        with self._lock:
            events = {event: MappingProxyType(dict(counts)) for event, counts in self._events.items()}
            handled = MappingProxyType(dict(self._handled))
        return Stats(handled, events["retry"], events["dead_letter"], events["dropped"])
