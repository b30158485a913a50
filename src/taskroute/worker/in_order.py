"""InOrder: calls made in the order in which they were left, by whichever thread is there, and under no lock."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable


class InOrder:
    """Makes calls one at a time. Any thread may leave one, also with a lock of its own held, and make what was left.

    While one thread makes a call, others only leave theirs: it makes them next. So nobody waits for a call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: deque[Callable[[], object]] = deque()
        self._is_making = False

    def leave(self, call: Callable[[], object]) -> None:
        """Have a call made by the next `make`, or by the thread that makes calls now."""
        with self._lock:
            self._left.append(call)

    def make(self) -> None:
        """Make the calls that were left, unless another thread does. If one raises, the others stay."""
        while self._make_one():
            pass

    def _make_one(self) -> bool:
        is_mine = False
        try:
            with self._lock:
                if self._is_making or not self._left:
                    return False
                is_mine = self._is_making = True
                call = self._left.popleft()
            call()
            return True
        finally:
            if is_mine:
                with self._lock:
                    self._is_making = False
