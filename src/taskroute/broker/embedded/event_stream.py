"""Mailbox: what a broker has to tell one connection, with a file descriptor to wait for it."""

from __future__ import annotations

import selectors
import threading
from collections import deque
from typing import Generic, TypeVar

from taskroute.broker.wakeup import Wakeup

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Any thread puts, the connection's own takes. `fileno` is readable while something is in it.

    (And sometimes when nothing is: the descriptor is cleared by the `take` that finds nothing.)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: deque[T] = deque()
        self._taken: deque[T] = deque()  # from there; of the thread that takes, which needs no lock for it
        self._wakeup = Wakeup()
        self._signalled = False

    def fileno(self) -> int:
        """The descriptor to wait for."""
        return self._wakeup.fileno()

    def put(self, item: T) -> None:
        """Leave an item. Never blocks."""
        with self._lock:
            self._items.append(item)
            if not self._signalled:
                self._signalled = True
                self._wakeup.wake()

    def take(self, timeout: float | None) -> T:
        """Take the oldest item; wait up to `timeout` seconds for one, None for as long as it takes.

        Raises:
            TimeoutError: there was none.
        """
        if not self._taken and not self._take_all() and (timeout == 0 or not self._wait(timeout)):
            raise TimeoutError("no event in time")
        return self._taken.popleft()

    def close(self) -> None:
        """Release the descriptor. Nothing is put or taken any more."""
        with self._lock:
            self._signalled = True  # nobody is there to be woken
            self._wakeup.close()

    def _wait(self, timeout: float | None) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.select(timeout)
        return self._take_all()

    def _take_all(self) -> bool:
        with self._lock:
            self._items, self._taken = self._taken, self._items
            if not self._taken and self._signalled:
                self._wakeup.clear()
                self._signalled = False
        return bool(self._taken)
