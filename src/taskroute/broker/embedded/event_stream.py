"""EventStream: the events of one connection, in their order, behind a file descriptor.

Any thread puts; the connection's own thread takes.
"""

from __future__ import annotations

import selectors
import threading
from collections import deque
from typing import Generic, TypeVar

from taskroute.broker.wakeup import Wakeup

T = TypeVar("T")


class EventStream(Generic[T]):
    """Events on their way to a connection. `fileno` is readable while there is one.

    It may be readable without one, too: only a `take` that finds nothing clears the descriptor.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arrived: deque[T] = deque()
        self._taken: deque[T] = deque()  # swapped with `_arrived`; only the taking thread uses it, without the lock
        self._wakeup = Wakeup()
        self._signalled = False

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._wakeup.fileno()

    def put(self, event: T) -> None:
        """Add an event. Never blocks."""
        with self._lock:
            self._arrived.append(event)
            if not self._signalled:
                self._signalled = True
                self._wakeup.wake()

    def take(self, timeout: float | None) -> T:
        """Take the oldest event; wait up to `timeout` seconds for one, without limit if it is None.

        Raises:
            TimeoutError: there was none in time.
        """
        if not self._taken and not self._take_all() and (timeout == 0 or not self._wait(timeout)):
            raise TimeoutError("no event in time")
        return self._taken.popleft()

    def close(self) -> None:
        """Release the descriptor. What is put later wakes nothing."""
        with self._lock:
            self._signalled = True  # so that `put` leaves the closed descriptor alone
            self._wakeup.close()

    def _wait(self, timeout: float | None) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.select(timeout)
        return self._take_all()

    def _take_all(self) -> bool:
        with self._lock:
            self._arrived, self._taken = self._taken, self._arrived
            if not self._taken and self._signalled:
                self._wakeup.clear()
                self._signalled = False
        return bool(self._taken)
