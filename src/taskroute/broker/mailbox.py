"""Mailbox: calls that any thread leaves for one thread, at once or for later, and the descriptor that wakes it.

After `close` nothing is taken, and `post` says so: no call is lost in silence.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable

from taskroute.broker.wakeup import Wakeup

Call = Callable[[], object]


class Mailbox:
    """Any thread posts calls; its owner, one thread, makes them, in the order in which they came.

    Thread-safe: `post`, `call_later` and `wake`. Everything else is for the owner.

    Args:
        monotonic: the clock of `call_later`, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        # Guards what other threads touch: the calls, and how to wake the owner. A signal's handler may come in between.
        self._lock = threading.RLock()
        self._calls: deque[Call] = deque()
        self._taken: deque[Call] = deque()  # from there; of the owner, which needs no lock for it
        self._wakeup: Wakeup | None = None
        self._is_waiting = False
        self._is_closed = False
        self._timers: list[tuple[float, int, Call]] = []
        self._timer_numbers = itertools.count()

    def post(self, call: Call) -> bool:
        """Have the owner make a call, soon. Return False if the mailbox is closed, and the call is not made."""
        try:
            with self._lock:
                if self._is_closed:
                    return False
                self._calls.append(call)
                is_first, self._is_waiting = self._is_waiting, False
            if is_first:
                self._opened().wake()
            return True
        except BaseException:
            self._wake_all_the_same()
            raise

    def call_later(self, delay: float, call: Call) -> bool:
        """Have the owner make a call after `delay` seconds. Return False as `post` does; `close` drops what waits."""
        due = self._monotonic() + delay
        return self.post(lambda: heapq.heappush(self._timers, (due, next(self._timer_numbers), call)))

    def wake(self) -> bool:
        """Have the owner look for work that was left elsewhere. Return False if the mailbox is closed: it may not look.

        Costs a system call only if the owner waits and no other thread has woken it yet.
        """
        try:
            with self._lock:
                if self._is_closed:
                    return False
                is_first, self._is_waiting = self._is_waiting, False
            if is_first:
                self._opened().wake()
            return True
        except BaseException:
            self._wake_all_the_same()
            raise

    def _wake_all_the_same(self) -> None:
        """Wake the owner, once too often rather than never: an interrupt has come while it was to be woken."""
        if self._wakeup is not None:
            self._wakeup.wake()

    # The owner makes every call below.

    def open(self) -> None:
        """Get the descriptor. Before that, calls are kept.

        Raises:
            OSError: none is left.
        """
        self._wakeup = Wakeup()

    def fileno(self) -> int:
        """Return the descriptor that is readable once somebody has woken the owner."""
        return self._opened().fileno()

    def begin_wait(self) -> bool:
        """Have `wake` write to the descriptor from now on. Return False if there is a call to make first."""
        with self._lock:
            self._is_waiting = True
            return not self._calls and not self._taken

    def end_wait(self, *, was_woken: bool) -> None:
        """Take note that the owner is awake. `was_woken`: the descriptor is readable."""
        with self._lock:
            self._is_waiting = False
        if was_woken:
            self._opened().clear()

    def make_calls(self) -> None:
        """Make the calls that were posted, and those that are due. If one raises, the others stay to be made."""
        while self._taken or self._take():
            self._taken.popleft()()
        now = self._monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()

    def next_due(self) -> float | None:
        """Return when the next call is due, by the clock, None if none waits."""
        return self._timers[0][0] if self._timers else None

    def close(self) -> None:
        """Take no more calls, and forget those for later. What was posted before can still be made."""
        with self._lock:
            self._is_closed = True
        self._timers.clear()

    def release(self) -> None:
        """Give the descriptor back."""
        if self._wakeup is not None:
            self._wakeup.close()

    def _take(self) -> bool:
        with self._lock:
            self._calls, self._taken = self._taken, self._calls
        return bool(self._taken)

    def _opened(self) -> Wakeup:
        assert self._wakeup is not None, "the mailbox is not open"  # noqa: S101 - a defect of its owner
        return self._wakeup
