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
        item = self._take_now()
        if item is None and timeout != 0:
            with selectors.DefaultSelector() as selector:
                selector.register(self, selectors.EVENT_READ)
                selector.select(timeout)
            item = self._take_now()
        if item is None:
            raise TimeoutError("no event in time")
        return item

    def close(self) -> None:
        """Release the descriptor. Nothing is put or taken any more."""
        with self._lock:
            self._signalled = True  # nobody is there to be woken
            self._wakeup.close()

    def _take_now(self) -> T | None:
        with self._lock:
            if self._items:
                return self._items.popleft()
            if self._signalled:
                self._wakeup.clear()
                self._signalled = False
            return None
