"""Instrumentation: listen to workers and publishers.

Give objects of subclasses of `Instrumentation` to ``Worker(..., instrumentation=[...])`` and
``Publisher(..., instrumentation=[...])``. Ready-made ones are in modules of their own, each with what it needs in an
extra of the same name.
"""

from taskroute.instrumentation.events import (
    Connected,
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

__all__ = [
    "Connected",
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
    "Received",
    "Resumed",
    "Retried",
    "Returned",
]
