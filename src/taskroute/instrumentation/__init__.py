"""Instrumentation: events of workers and publishers, and hooks around handlers and publishing.

Pass objects of subclasses of `Instrumentation` to ``Worker(..., instrumentation=[...])`` and
``Publisher(..., instrumentation=[...])``. The ready-made ones are modules here; each needs the extra of its name.
"""

from taskroute.instrumentation.events import (
    Connected,
    Counted,
    DeadLettered,
    Disconnected,
    Dropped,
    Event,
    Handled,
    Overdue,
    Paused,
    Published,
    PublishFailed,
    Received,
    Resumed,
    Retried,
    Returned,
)
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.raised import Raised

__all__ = [
    "Connected",
    "Counted",
    "DeadLettered",
    "Disconnected",
    "Dropped",
    "Event",
    "Handled",
    "Instrumentation",
    "Overdue",
    "Paused",
    "PublishFailed",
    "Published",
    "Raised",
    "Received",
    "Resumed",
    "Retried",
    "Returned",
]
