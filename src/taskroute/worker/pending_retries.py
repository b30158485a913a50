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
    """Remembers retries until they come back. Safe from any thread. False when there are none.

    A broker does not count a message that is on its way from a wait queue to its queue: for a moment it is in
    neither, so that the depths of the queues alone do not say whether everything is done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[Retry, float] = {}

    def add(self, retry: Retry, delay: float) -> None:
        """Expect a retry after `delay` seconds."""
        with self._lock:
            self._forget_overdue()
            self._until[retry] = time.monotonic() + delay + GRACE

    def discard(self, retry: Retry) -> None:
        """Take note that a retry is back."""
        with self._lock:
            self._until.pop(retry, None)

    def __bool__(self) -> bool:
        with self._lock:
            self._forget_overdue()
            return bool(self._until)

    def _forget_overdue(self) -> None:
        # In the order in which they were added, which is nearly that of their deadlines: a look at the first is cheap.
        now = time.monotonic()
        while self._until and self._until[next(iter(self._until))] <= now:
            del self._until[next(iter(self._until))]
