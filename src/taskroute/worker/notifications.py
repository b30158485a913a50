"""Telling: what a worker tells those who listen, made from what it knows of a delivery. Pure."""

from __future__ import annotations

from typing import TypedDict

from taskroute.handling.settle import Ack, HandOver
from taskroute.instrumentation.events import DeadLettered, Dropped, Handled, Overdue, Received, Retried
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed


class _Facts(TypedDict):
    queue: str
    exchange: str
    routing_key: str
    message_id: str | None
    attempt: int


def _facts(delivery: Delivery) -> _Facts:
    return {
        "queue": delivery.queue,
        "exchange": delivery.exchange,
        "routing_key": delivery.routing_key,
        "message_id": delivery.message_id,
        "attempt": delivery.attempt,
    }


def received(delivery: Delivery) -> Received:
    """The broker has delivered it."""
    return Received(**_facts(delivery), redelivered=delivery.redelivered)


def handled(delivery: Delivery, handler: str, seconds: float) -> Handled:
    """Its handler returned."""
    return Handled(**_facts(delivery), handler=handler, seconds=seconds)


def overdue(delivery: Delivery, handler: str, timeout: float) -> Overdue:
    """Its handler outlives its timeout."""
    return Overdue(**_facts(delivery), handler=handler, timeout=timeout)


def failed(
    delivery: Delivery, outcome: Failed, action: Ack | HandOver, seconds: float
) -> Retried | DeadLettered | Dropped:
    """It failed, and `action` says what becomes of it."""
    facts, handler, error = _facts(delivery), outcome.handler, outcome.error
    if isinstance(action, Ack):
        return Dropped(**facts, handler=handler, reason=outcome.reason, error=error, seconds=seconds)
    if action.kind == "retry":
        return Retried(**facts, handler=handler, reason=action.reason, error=error, seconds=seconds, delay=action.delay)
    return DeadLettered(**facts, handler=handler, reason=action.reason, error=error, seconds=seconds, to=action.queue)
