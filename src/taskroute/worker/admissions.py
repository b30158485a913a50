"""Admissions: which messages of each queue are admitted, as its circuit says: all, one on trial, or none.

When a circuit opens is decided in `handling.circuit_breaker`; here the decision reaches consumer and handlers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from taskroute.broker.roles.consumed_queue import Admission
from taskroute.handling.circuit_breaker import Change, Circuit, CircuitBreaker, CircuitState, succeeded
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Outcome
from taskroute.worker.notifications import Notifications
from taskroute.worker.scheduler import Scheduler

_ADMISSIONS: Mapping[CircuitState, Admission] = {"closed": "all", "half_open": "one", "open": "none"}
_PERMITS: Mapping[Change, int | None] = {"opened": 0, "still_on_trial": 1, "closed": None}


class QueueGate(Protocol):
    """What lets messages of a queue pass. Safe from any thread."""

    def permit(self, queue: str, count: int | None) -> None:
        """Let `count` of the messages that wait be handled, None for all."""

    def reconsider(self, queue: str) -> None:
        """Have the consumer ask again for the `Admissions.of` a queue."""


class Admissions:
    """The circuit of each queue that has a breaker, and what it admits. Safe from any thread.

    Changes take effect in the order in which they came, as all of it is asked for under one lock; they are reported
    after the lock is released.

    Args:
        breakers: by queue.
        gate: is told what may pass.
        scheduler: ends the pauses.
        notifications: reports them.
    """

    def __init__(
        self,
        breakers: Mapping[str, CircuitBreaker],
        *,
        gate: QueueGate,
        scheduler: Scheduler,
        notifications: Notifications,
    ) -> None:
        self._lock = threading.Lock()
        self._circuits = {queue: Circuit(breaker) for queue, breaker in breakers.items()}
        self._until = dict.fromkeys(breakers, 0.0)
        self._gate = gate
        self._scheduler = scheduler
        self._notifications = notifications

    def of(self, queue: str) -> Admission:
        """Return which messages of a queue the broker may deliver now."""
        circuit = self._circuits.get(queue)
        return "all" if circuit is None else _ADMISSIONS[circuit.state]

    def reasons(self) -> dict[str, str]:
        """Return the queues that are paused, and why, for people."""
        reasons = {}
        for queue, circuit in self._circuits.items():
            if (state := circuit.state) != "closed":
                left = max(0.0, self._until[queue] - time.monotonic())
                how = f"paused for {left:.1f} s more" if state == "open" else "tried with one message"
                reasons[queue] = f"queue {queue!r} is {how}, after {circuit.failures} failures in a row"
        return reasons

    def on_handler_start(self, delivery: Delivery) -> None:
        """Record that a handler is about to be called."""
        circuit = self._circuits.get(delivery.queue)
        if circuit is not None:
            with self._lock:
                circuit.begin(delivery)

    def on_handler_end(self, delivery: Delivery, outcome: Outcome) -> None:
        """Record how a handler has ended."""
        self._end(delivery, succeeded(outcome))

    def on_overdue(self, delivery: Delivery) -> None:
        """Record that a handler has outlived its timeout, which counts as a failure unless it has just ended."""
        self._end(delivery, False)

    def let_one_through(self, queue: str) -> None:
        """End a pause: one message decides what follows."""
        with self._lock:
            self._circuits[queue].let_one_through()  # before the permit: the handler of that message looks at it
            self._gate.permit(queue, 1)
            self._gate.reconsider(queue)

    def _end(self, delivery: Delivery, has_succeeded: bool | None) -> None:
        circuit = self._circuits.get(delivery.queue)
        if circuit is None:
            return
        with self._lock:
            report = self._follow(delivery.queue, circuit, circuit.end(delivery, has_succeeded))
        if report is not None:
            report()

    def _follow(self, queue: str, circuit: Circuit, change: Change | None) -> Callable[[], None] | None:
        """Have a change take effect, and return what reports it."""
        if change is None:
            return None
        self._gate.permit(queue, _PERMITS[change])
        self._gate.reconsider(queue)
        if change == "closed":
            return partial(self._notifications.resumed, queue)
        if change == "still_on_trial":
            return None
        seconds = circuit.breaker.pause
        self._until[queue] = time.monotonic() + seconds
        self._scheduler.call_later(seconds, partial(self.let_one_through, queue))
        return partial(self._notifications.paused, queue, circuit.failures, seconds)
