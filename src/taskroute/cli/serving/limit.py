"""MessageLimit: counts the messages that a worker has done with, for a process that ends after so many."""

from __future__ import annotations

import threading
from collections.abc import Callable

from taskroute.instrumentation.events import DeadLettered, Dropped, Event, Handled, Retried
from taskroute.instrumentation.hooks import Instrumentation


class MessageLimit(Instrumentation):
    """Says when a number of messages is reached. Called on every thread of a worker.

    Args:
        count: of messages, each attempt one.
        reached: is called then, once, on one of these threads.
    """

    def __init__(self, count: int, reached: Callable[[], object]) -> None:
        self._left = count
        self._reached = reached
        self._lock = threading.Lock()

    @property
    def is_reached(self) -> bool:
        """Whether so many have been handled."""
        with self._lock:
            return self._left <= 0

    def on_event(self, event: Event) -> None:
        """Count what became of a message."""
        if isinstance(event, Handled | Retried | DeadLettered | Dropped):
            with self._lock:
                self._left -= 1
                is_the_last = self._left == 0
            if is_the_last:
                self._reached()
