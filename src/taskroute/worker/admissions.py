"""Admissions: which messages of each queue are admitted: all, one on trial, or none.

So its circuit says, and who holds it by hand. When a circuit opens is decided in `handling.circuit_breaker`; here the
decision reaches consumer and handlers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from taskroute.broker.roles.consumed_queue import Admission
from taskroute.handling.circuit_breaker import Change, Circuit, CircuitBreaker, CircuitState, succeeded
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Outcome
from taskroute.worker.in_order import InOrder
from taskroute.worker.notifications import Notifications
from taskroute.worker.scheduler import Scheduler

_ADMISSIONS: Mapping[CircuitState, Admission] = {"closed": "all", "half_open": "one", "open": "none"}
_PERMITS: Mapping[CircuitState, int | None] = {"closed": None, "half_open": 1, "open": 0}


class QueueGate(Protocol):
    """What lets messages of a queue pass. Safe from any thread."""

    def permit(self, queue: str, count: int | None) -> None:
        """Let `count` of the messages that wait be handled, None for all."""

    def hold(self, queue: str) -> None:
        """Let nothing of a queue be handled until `let_go`, whatever is permitted."""

    def let_go(self, queue: str) -> None:
        """End `hold`."""

    def reconsider(self, queue: str) -> None:
        """Have the consumer ask again for the `Admissions.of` a queue."""


class Admissions:
    """The circuit of each queue that has a breaker, the queues that are held, and what is admitted. For any thread.

    Changes take effect in the order in which they came, as all of it is asked for under one lock. They are reported in
    the same order, after the lock is released. An exception that comes into a change has it made again.

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
        self._lock = threading.RLock()  # what is asked for under it may ask what is admitted
        self._reports = InOrder()
        self._circuits = {queue: Circuit(breaker) for queue, breaker in breakers.items()}
        self._until = dict.fromkeys(breakers, 0.0)
        self._gate = gate
        self._scheduler = scheduler
        self._notifications = notifications
        self.held: frozenset[str] = frozenset()
        """The queues that are paused by hand. Replaced, never changed: read without the lock."""

    def of(self, queue: str) -> Admission:
        """Return which messages of a queue the broker may deliver now."""
        if queue in self.held:
            return "leave"
        circuit = self._circuits.get(queue)
        if circuit is None:
            return "all"
        with self._lock:
            return _ADMISSIONS[circuit.state]

    def reasons(self) -> dict[str, str]:
        """Return the queues that their circuits pause, and why, for people. What is held by hand is not among them."""
        with self._lock:
            paused = [(queue, circuit) for queue, circuit in self._circuits.items() if circuit.state != "closed"]
            return {queue: self._reason(queue, circuit) for queue, circuit in paused if queue not in self.held}

    def hold(self, queue: str) -> None:
        """Pause a queue until `let_go`: no handler of it is called any more. Once more does nothing."""
        with self._lock:
            if queue in self.held:
                return
            try:
                self.held |= {queue}
                self._apply_hold(queue)
            except BaseException:
                self._make_again(queue)
                raise
            self._reports.leave(partial(self._notifications.held, queue))
        self._reports.make()

    def let_go(self, queue: str) -> None:
        """End `hold`; what the circuit of the queue says counts again. Once more does nothing."""
        with self._lock:
            if queue not in self.held:
                return
            try:
                self.held -= {queue}
                self._apply_hold(queue)
            except BaseException:
                self._make_again(queue)
                raise
            circuit = self._circuits.get(queue)
            if circuit is None or circuit.state == "closed":
                self._reports.leave(partial(self._notifications.resumed, queue))
        self._reports.make()

    def on_handler_start(self, delivery: Delivery) -> None:
        """Record that a handler is about to be called."""
        circuit = self._circuits.get(delivery.queue)
        if circuit is not None:
            with self._lock:
                try:
                    circuit.begin(delivery)
                except BaseException:
                    self._make_again(delivery.queue)
                    raise

    def on_handler_end(self, delivery: Delivery, outcome: Outcome) -> None:
        """Record how a handler has ended."""
        self._end(delivery, succeeded(outcome))

    def on_overdue(self, delivery: Delivery) -> None:
        """Record that a handler has outlived its timeout, which counts as a failure unless it has just ended."""
        self._end(delivery, False)

    def on_abandoned(self, delivery: Delivery) -> None:
        """Record that nothing more will be known of a handler, which says nothing. Once more does nothing."""
        self._end(delivery, None)

    def let_one_through(self, queue: str) -> None:
        """End a pause: one message decides what follows."""
        circuit = self._circuits[queue]
        with self._lock:
            if circuit.state != "open":  # a pause that was begun again has two ends
                return
            try:
                circuit.let_one_through()  # before the permit: the handler of that message looks at it
                self._apply(queue, circuit)
            except BaseException:
                self._make_again(queue)
                raise

    def _end(self, delivery: Delivery, has_succeeded: bool | None) -> None:
        queue, circuit = delivery.queue, self._circuits.get(delivery.queue)
        if circuit is None:
            return
        with self._lock:
            try:
                change = circuit.end(delivery, has_succeeded)
                if change is not None:
                    self._apply(queue, circuit)
                    self._report(queue, circuit, change)
            except BaseException:
                self._make_again(queue)
                raise
        self._reports.make()

    # With the lock:

    def _make_again(self, queue: str) -> None:
        """Have what a state wants asked for again, on the scheduler's thread: an exception has cut that short."""
        self._scheduler.call_later(0, partial(self._apply_again, queue))

    def _apply_again(self, queue: str) -> None:
        with self._lock:
            self._apply_hold(queue)
            if (circuit := self._circuits.get(queue)) is not None:
                self._apply(queue, circuit)

    def _apply_hold(self, queue: str) -> None:
        """Ask for what follows from whether a queue is held."""
        if queue in self.held:
            self._gate.hold(queue)
        else:
            self._gate.let_go(queue)
        self._gate.reconsider(queue)

    def _apply(self, queue: str, circuit: Circuit) -> None:
        """Ask for all that a circuit's state wants."""
        self._gate.permit(queue, _PERMITS[circuit.state])
        self._gate.reconsider(queue)
        if circuit.state == "open":
            self._until[queue] = time.monotonic() + circuit.breaker.pause
            self._scheduler.call_later(circuit.breaker.pause, partial(self.let_one_through, queue))

    def _report(self, queue: str, circuit: Circuit, change: Change) -> None:
        if change == "opened":
            paused = partial(self._notifications.paused, queue, circuit.failures, circuit.breaker.pause)
            self._reports.leave(paused)
        elif change == "closed" and queue not in self.held:
            self._reports.leave(partial(self._notifications.resumed, queue))

    def _reason(self, queue: str, circuit: Circuit) -> str:
        left = max(0.0, self._until[queue] - time.monotonic())
        how = f"paused for {left:.1f} s more" if circuit.state == "open" else "tried with one message"
        return f"queue {queue!r} is {how}, after {circuit.failures} failures in a row"
