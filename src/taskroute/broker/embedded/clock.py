"""Clock: time, and calls at a later time, for a broker. One clock runs by itself, the other is moved by a test."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The time of a broker. Every method is safe from any thread."""

    def now(self) -> float:
        """Return the seconds, monotonic."""

    def wall(self) -> datetime:
        """Return the time of day, in UTC."""

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Make `call` once `now` has reached `moment`. It must not raise."""

    def close(self) -> None:
        """Forget the calls that are not made yet."""


class SystemClock:
    """The machine's time. Its one thread starts at the first `call_at` and makes every call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def now(self) -> float:
        """Return the seconds, monotonic."""
        return time.monotonic()

    def wall(self) -> datetime:
        """Return the time of day, in UTC."""
        return datetime.now(UTC)

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Make `call` at `moment`, on the clock's thread."""
        with self._changed:
            if self._closed:
                return
            heapq.heappush(self._calls, (moment, next(self._numbers), call))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End the thread, and forget the calls that are not made yet."""
        with self._changed:
            self._closed = True
            self._calls.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (call := self._next_call()) is not None:
            call()

    def _next_call(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                wait = self._calls[0][0] - time.monotonic() if self._calls else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._calls)[2]
                self._changed.wait(wait)
        return None


class ManualClock:
    """Time that stands still until `advance`, which makes the calls that are due, in their order.

    Example:
        >>> clock = ManualClock()
        >>> clock.call_at(60, lambda: print("a minute has passed"))
        >>> clock.advance(61)
        a minute has passed
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0.0
        self._epoch = datetime.now(UTC)
        self._calls: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def now(self) -> float:
        """Return the seconds by which the clock was advanced so far."""
        return self._now

    def wall(self) -> datetime:
        """Return the time at which the clock was made, plus the seconds by which it was advanced."""
        return self._epoch + timedelta(seconds=self._now)

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Make `call` on the thread that advances the clock to `moment`."""
        with self._lock:
            heapq.heappush(self._calls, (moment, next(self._numbers), call))

    def close(self) -> None:
        """Forget the calls that are not made yet."""
        with self._lock:
            self._calls.clear()

    def next_call(self) -> float | None:
        """Return the moment of the call that is due next, None when there is none."""
        with self._lock:
            return self._calls[0][0] if self._calls else None

    def advance(self, seconds: float) -> None:
        """Move time on by `seconds`."""
        self.advance_to(self._now + seconds)

    def advance_to(self, moment: float) -> None:
        """Move time on to `moment`."""
        while (call := self._next_call(moment)) is not None:
            call()
        self._now = max(self._now, moment)

    def _next_call(self, until: float) -> Callable[[], None] | None:
        with self._lock:
            if not self._calls or self._calls[0][0] > until:
                return None
            moment, _, call = heapq.heappop(self._calls)
            self._now = max(self._now, moment)
            return call
