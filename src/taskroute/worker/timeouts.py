"""Timeouts: which handlers with a timeout still run when it is over."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from taskroute.handlers.handler import Handler
from taskroute.message.delivery import Delivery
from taskroute.worker.scheduler import Scheduler


class Timeouts:
    """Notes deliveries when their handlers begin and forgets them when they end. Any thread may call.

    One timer serves all: one for each delivery would keep it, body and all, for as long as the timeout.

    Args:
        scheduler: has the timer.
        on_overdue: is called with each delivery whose handler has not ended in time, on the scheduler's thread.
    """

    def __init__(self, scheduler: Scheduler, on_overdue: Callable[[Delivery, Handler], object]) -> None:
        self._scheduler = scheduler
        self._on_overdue = on_overdue
        self._lock = threading.Lock()
        self._running: dict[Delivery, _Deadline] = {}
        self._timer_at = math.inf  # by the monotonic clock

    def begin(self, delivery: Delivery, handler: Handler, seconds: float) -> None:
        """Note that a handler is about to be called, and has `seconds`."""
        at = time.monotonic() + seconds
        with self._lock:
            self._running[delivery] = _Deadline(at, handler)
            self._set_timer(at)

    def end(self, delivery: Delivery) -> None:
        """Forget a handler that has ended, if it was noted at all."""
        with self._lock:
            self._running.pop(delivery, None)

    def _set_timer(self, at: float) -> None:
        if at < self._timer_at:
            self._scheduler.call_later(at - time.monotonic(), self._look)
            self._timer_at = at  # only now: if that has failed, the next one that begins sets a timer

    def _look(self) -> None:
        for delivery, deadline in self._take_overdue():
            self._on_overdue(delivery, deadline.handler)

    def _take_overdue(self) -> list[tuple[Delivery, _Deadline]]:
        now = time.monotonic()
        with self._lock:
            if now < self._timer_at:
                return []  # an earlier timer has come in between and looked
            overdue = [(delivery, deadline) for delivery, deadline in self._running.items() if deadline.at <= now]
            for delivery, _ in overdue:
                del self._running[delivery]
            self._timer_at = math.inf
            self._set_timer(min((deadline.at for deadline in self._running.values()), default=math.inf))
        return overdue


class _Deadline(NamedTuple):
    at: float
    handler: Handler
