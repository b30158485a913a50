"""PendingRetries: the retries that a worker has republished and that have not come back yet."""

from __future__ import annotations

import threading
import time
from typing import Final

Retry = tuple[str, str]
"""Queue and message id."""

GRACE: Final = 5.0
"""Seconds after its delay until a retry that has not come counts as another worker's."""


class PendingRetries:
    """Remembers retries until they come back, or count as another worker's. Safe from any thread. False without any.

    A broker does not count a message that is on its way from a wait queue to its queue: for a moment it is in
    neither, so that the depths of the queues alone do not say whether everything is done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[float, dict[Retry, float]] = {}  # by delay: with the same one, in the order of their ends

    def add(self, retry: Retry, delay: float) -> None:
        """Expect a retry after `delay` seconds."""
        with self._lock:
            self._forget_overdue()
            self._forget(retry)
            self._until.setdefault(delay, {})[retry] = time.monotonic() + delay + GRACE

    def discard(self, retry: Retry) -> None:
        """Take note that a retry is back."""
        with self._lock:
            self._forget(retry)

    def __bool__(self) -> bool:
        with self._lock:
            self._forget_overdue()
            return any(self._until.values())

    def _forget(self, retry: Retry) -> None:
        for pending in self._until.values():  # policies have few delays
            pending.pop(retry, None)

    def _forget_overdue(self) -> None:
        now = time.monotonic()
        for pending in self._until.values():
            while pending and pending[next(iter(pending))] <= now:
                del pending[next(iter(pending))]
