"""Notifications: what a worker makes known: a log line for people, a count, and an event for instrumentation.

The one place that makes them, from one set of facts. Any thread may call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypedDict

from taskroute.foreign import Log
from taskroute.handling.settle import Republish
from taskroute.instrumentation.events import (
    Counted,
    DeadLettered,
    Dropped,
    Event,
    Handled,
    Overdue,
    Paused,
    Received,
    Resumed,
    Retried,
)
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Reason
from taskroute.raised import TELL_ALL, Disclosure, Raised, at
from taskroute.worker.failure import Failure
from taskroute.worker.stats import StatsCounter

log = Log("taskroute.worker")


class Notifications:
    """Reports what happens to messages and queues.

    Args:
        stats: counts it.
        emit: takes events; None: there is no instrumentation, and then no event is made.
        disclosure: what is told of an exception.
    """

    def __init__(
        self, stats: StatsCounter, emit: Callable[[Event], None] | None, disclosure: Disclosure = TELL_ALL
    ) -> None:
        self._stats = stats
        self._emit = emit
        self._disclosure = disclosure

    @property
    def are_heard(self) -> bool:
        """Whether there is instrumentation."""
        return self._emit is not None

    def received(self, deliveries: Sequence[Delivery]) -> None:
        """Report that the broker has delivered them."""
        if self._emit is not None:
            for delivery in deliveries:
                self._emit(Received(**_facts(delivery), redelivered=delivery.redelivered))

    def handled(self, delivery: Delivery, handler: str, seconds: float) -> None:
        """Report that a handler returned."""
        self._stats.handled(delivery.queue, handler)
        if self._emit is not None:
            self._emit(Handled(**_facts(delivery), handler=handler, seconds=seconds))

    def failed(self, failure: Failure) -> None:
        """Report that a delivery has failed, and where it goes."""
        failed, delivery = failure.failed, failure.delivery
        raised = failed.raised or Raised(failure.reason, failed.place)
        is_told = failed.error == raised.error  # the exception itself, and not the text of a verdict
        tell = log.error if failure.is_last else log.warning
        tell(
            "message_failed queue=%s key=%s message_id=%s attempt=%d reason=%s error=%s%s%s handler=%s to=%s",
            *_named(delivery),
            delivery.attempt,
            failure.reason,
            raised.kind if is_told else failed.error,
            at(failed.place or raised.place),
            f" text={raised.text!r}" if raised.text and is_told else "",
            failed.handler or "-",
            failure.destination,
            raised=raised if failure.is_last else replace(raised, traceback=""),
        )

    def failure_settled(self, failure: Failure) -> None:
        """Report that a failed delivery is where it goes: confirmed there, or dropped."""
        action = failure.action
        self._stats.count(failure.delivery.queue, action.kind if isinstance(action, Republish) else "dropped")
        if self._emit is not None:
            self._emit(_failure_event(failure))

    def republish_failed(self, failure: Failure, error: BaseException) -> None:
        """Report that a failed delivery could not be put where it goes, and is tried again."""
        delivery = failure.delivery
        log.warning(  # under the name that operators know
            "hand_over_failed queue=%s to=%s message_id=%s error=%s",
            delivery.queue,
            failure.destination,
            delivery.message_id,
            type(error).__name__,
        )

    def redeclare_failed(self, queue: str, error: Exception) -> None:
        """Report that a queue for failed messages is missing, and could not be declared again."""
        log.warning("redeclare_failed queue=%s error=%s", queue, error)

    def overdue(self, delivery: Delivery, handler: str, timeout: float) -> None:
        """Report that a handler outlives its timeout."""
        self._stats.count(delivery.queue, "overdue")
        if self._emit is not None:
            self._emit(Overdue(**_facts(delivery), handler=handler, timeout=timeout))
        log.warning(
            "handler_overdue queue=%s key=%s message_id=%s handler=%s timeout=%s", *_named(delivery), handler, timeout
        )

    def lost(self, delivery: Delivery, elapsed: float) -> None:
        """Report that the connection of a delivery is gone while its handler runs, for `elapsed` seconds so far."""
        log.warning("delivery_lost queue=%s key=%s message_id=%s elapsed=%.1f", *_named(delivery), elapsed)

    def paused(self, queue: str, failures: int, seconds: float) -> None:
        """Report that a circuit breaker leaves a queue alone."""
        log.warning("queue_paused queue=%s failures=%d seconds=%s", queue, failures, seconds)
        self._stats.count(queue, "paused")
        if self._emit is not None:
            self._emit(Paused(queue=queue, failures=failures, seconds=seconds))

    def held(self, queue: str) -> None:
        """Report that a queue is paused by hand."""
        log.warning("queue_paused queue=%s by hand", queue)
        self._stats.count(queue, "paused")
        if self._emit is not None:
            self._emit(Paused(queue=queue, failures=0, seconds=None))

    def given_back(self, queue: str, count: int, waited: float) -> None:
        """Report that messages of a queue that is paused by hand go back before the broker takes them back."""
        log.info("paused_given_back queue=%s messages=%d waited=%.0f", queue, count, waited)

    def resumed(self, queue: str) -> None:
        """Report that a paused queue is consumed again."""
        log.info("queue_resumed queue=%s", queue)
        if self._emit is not None:
            self._emit(Resumed(queue=queue))

    def counted(self, queue: str, ready: int | None) -> None:
        """Report how many messages are ready in a queue, None when that is not known any more."""
        if self._emit is not None:
            self._emit(Counted(queue=queue, ready=ready))

    def put_off(self, delivery: Delivery, error: BaseException) -> None:
        """Report that a delivery is handled later, as the system had nothing to handle it with."""
        kind = type(error).__name__
        log.warning("handling_put_off queue=%s key=%s message_id=%s error=%s", *_named(delivery), kind)

    def processing_failed(self, delivery: Delivery | None, error: BaseException) -> None:
        """Report a defect, which has left a delivery open if there is one."""
        queue, raised = None if delivery is None else delivery.queue, self._disclosure.of(error)
        log.error("settling_failed queue=%s error=%s%s", queue, raised.kind, at(raised.place), raised=raised)


class _Facts(TypedDict):
    queue: str
    exchange: str
    routing_key: str
    message_id: str | None
    attempt: int


class _Why(TypedDict):
    handler: str | None
    reason: Reason
    error: str
    error_text: str
    seconds: float


def _facts(delivery: Delivery) -> _Facts:
    return {
        "queue": delivery.queue,
        "exchange": delivery.exchange,
        "routing_key": delivery.routing_key,
        "message_id": delivery.message_id,
        "attempt": delivery.attempt,
    }


def _named(delivery: Delivery) -> tuple[str, str, str | None]:
    """Return what tells a delivery from others, as a log line has it: queue, key and id."""
    return delivery.queue, delivery.routing_key, delivery.message_id


def _failure_event(failure: Failure) -> Retried | DeadLettered | Dropped:
    facts, action, failed = _facts(failure.delivery), failure.action, failure.failed
    why: _Why = {
        "handler": failed.handler,
        "reason": failure.reason,
        "error": failed.error,
        "error_text": "" if failed.raised is None else failed.raised.text,
        "seconds": failure.seconds,
    }
    if not isinstance(action, Republish):
        return Dropped(**facts, **why)
    if action.kind == "retry":
        return Retried(**facts, **why, delay=action.delay)
    return DeadLettered(**facts, **why, to=action.queue)
