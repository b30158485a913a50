"""Events: what instrumentation hears of a worker or publisher. Frozen, and never a body, a header or a password.

All durations are in seconds. `exchange` and `routing_key` are those that a message was published with, on every
attempt; others wrote them, so quote them where a line can be forged, and make no label of a metric of them.
"""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from dataclasses import dataclass

from taskroute.exported import exported_by
from taskroute.message.outcome import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class OfDelivery:
    """What the events of one delivery to a worker share. `attempt` counts from 1."""

    queue: str
    exchange: str
    routing_key: str
    message_id: str | None
    attempt: int


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Received(OfDelivery):
    """The broker has delivered it. On the consuming session's thread."""

    redelivered: bool


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Handled(OfDelivery):
    """Its handler returned. On the handler's thread, or the event loop's.

    `seconds`: from the choice of the handler until it returned; validation, middleware and dependencies included.
    """

    handler: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFailure(OfDelivery):
    """What the events of a failed delivery share.

    `handler` is None when none was chosen. `error` names types and fields, never values. `seconds` as in `Handled`,
    until it failed: republishing it does not count.
    """

    handler: str | None
    reason: Reason
    error: str
    seconds: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(OfFailure):
    """It is in a wait queue and comes again after `delay`, confirmed. On the republishing session's thread."""

    delay: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettered(OfFailure):
    """It is in the dead-letter queue `to`, confirmed. On the republishing session's thread."""

    to: str


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(OfFailure):
    """It failed, and its queue keeps no failures: it is gone. On the handler's thread, or the event loop's."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue(OfDelivery):
    """Its handler has run for longer than its `timeout`, and still does. On the consuming session's thread."""

    handler: str
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPublishing:
    """What the events of a published message share.

    `seconds`: from the call until the outcome. Each message that was handed to `publish`, `submit` or `publish_many`
    and for which `Instrumentation.publishing` was called ends in exactly one of them.
    """

    exchange: str
    routing_key: str
    message_id: str
    seconds: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Published(OfPublishing):
    """It was routed and confirmed. On the publishing session's thread."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(OfPublishing):
    """No queue takes it (`UnroutableError`). On the publishing session's thread."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFailed(OfPublishing):
    """It was not, or may not have been, accepted for another reason.

    `error` is the name of the error's class. On the publishing session's thread, or on the caller's when the message
    was never handed to it.
    """

    error: str


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A session has connected and is set up; `generation` above 1: again. On the session's thread."""

    session: str
    generation: int


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """A session has lost its connection, `error` says to what; None: it closed it. On the session's thread."""

    session: str
    error: str | None


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A queue is left alone for `seconds`, after so many `failures` in a row. On the thread that saw the last one."""

    queue: str
    failures: int
    seconds: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A queue that was paused is consumed again. On the thread of the handler that has succeeded."""

    queue: str


Event = (
    Received
    | Handled
    | Retried
    | DeadLettered
    | Dropped
    | Overdue
    | Published
    | Returned
    | PublishFailed
    | Connected
    | Disconnected
    | Paused
    | Resumed
)
