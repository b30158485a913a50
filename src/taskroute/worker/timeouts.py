"""Deadlines: which handlers with a timeout still run when it is over."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from taskroute.handlers.handler import Handler
from taskroute.message.delivery import Delivery


class Deadlines:
    """Notes deliveries when their handlers begin and forgets them when they end. Any thread may call.

    One timer serves all: one for each delivery would keep it, body and all, for as long as the timeout.

    Args:
        call_later: has a function called after some seconds.
        report: is told of each one that has not ended, by whoever makes that call.
    """

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], object],
        report: Callable[[Delivery, Handler], object],
    ) -> None:
        self._call_later = call_later
        self._report = report
        self._running: dict[Delivery, _Deadline] = {}
        self._lock = threading.Lock()  # held to set the timer, and when it has come
        self._timer_at = math.inf  # by the monotonic clock

    def begin(self, delivery: Delivery, handler: Handler, seconds: float) -> None:
        """Its handler is about to be called, and has `seconds`."""
        at = time.monotonic() + seconds
        self._running[delivery] = _Deadline(at, handler)
        if at < self._timer_at:
            self._set_timer(at)

    def end(self, delivery: Delivery) -> None:
        """Its handler has ended, if it was noted at all."""
        if self._running:
            self._running.pop(delivery, None)

    def _set_timer(self, at: float) -> None:
        with self._lock:
            if at < self._timer_at:
                self._timer_at = at
                self._call_later(at - time.monotonic(), self._look)

    def _look(self) -> None:
        now = time.monotonic()
        with self._lock:
            if now < self._timer_at:
                return  # an earlier one has come in between and looked
            self._timer_at = math.inf  # before looking: whoever comes from now on sets it again
        for delivery, deadline in self._running.copy().items():
            if deadline.at <= now and self._running.pop(delivery, None) is not None:
                self._report(delivery, deadline.handler)
        self._set_timer(min((deadline.at for deadline in self._running.copy().values()), default=math.inf))


class _Deadline(NamedTuple):
    at: float
    handler: Handler
