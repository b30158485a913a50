"""Retry: whether a failed message gets another attempt, and after which delay. Pure."""

from __future__ import annotations

from datetime import timedelta

from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed
from taskroute.topology.queue import QueueSpec


def next_delay(delivery: Delivery, failed: Failed, queue: QueueSpec) -> timedelta | None:
    """Return how long a message waits for its next attempt, None if it gets none.

    The handler's own delays count instead of the queue's policy, one for each attempt after the first. What a `Retry`
    asks for is rounded up to a delay that the queue has a wait queue for.
    """
    policy = queue.retry_policy
    if not failed.retryable or policy is None:
        return None
    delays = policy.delays if failed.delays is None else failed.delays
    if delivery.attempt > len(delays):
        return None
    if failed.delay is None:
        return delays[delivery.attempt - 1]
    longer = [delay for delay in policy.delays if delay >= failed.delay]
    return min(longer, default=max(policy.delays))
