"""Events of workers and publishers. Frozen; no field is a body, a header or a password.

All durations are in seconds. On every attempt, `exchange` and `routing_key` are those that a message was published
with. Those of a delivery are text of its sender: quote them in lines of text, and make no label of a metric of them.
"""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from dataclasses import dataclass

from taskroute.exported import exported_by
from taskroute.message.outcome import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class OfDelivery:
    """Fields of each event of a delivery. `attempt` counts from 1."""

    queue: str
    exchange: str
    routing_key: str
    message_id: str | None
    attempt: int


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Received(OfDelivery):
    """The broker delivered a message. On the consuming session's thread."""

    redelivered: bool


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Handled(OfDelivery):
    """A handler returned. On the handler's thread, or the event loop's.

    `seconds`: from the choice of the handler until it returned; validation, middleware and dependencies included.
    """

    handler: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfFailure(OfDelivery):
    """Fields of each event of a failed delivery.

    `handler` is None when no handler was chosen. `error` names types and fields, never values; `error_text` is the
    exception's text, cut, which is up to the message as well: empty with ``errors="place"``. `seconds` is as in
    `Handled`, until the failure; republishing does not count.
    """

    handler: str | None
    reason: Reason
    error: str
    error_text: str = ""
    seconds: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(OfFailure):
    """A wait queue confirmed a message, which comes again after `delay`. On the republishing session's thread."""

    delay: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLettered(OfFailure):
    """The dead-letter queue `to` confirmed the message. On the republishing session's thread."""

    to: str


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped(OfFailure):
    """A message failed and is lost, as its queue keeps no failures. On the thread of the handler or event loop."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Overdue(OfDelivery):
    """A handler still runs after its `timeout`. On the consuming session's thread."""

    handler: str
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OfPublishing:
    """Fields of each event of a published message.

    `seconds`: from the call until the outcome. Each message for which `Instrumentation.publishing` was called ends in
    exactly one of these events.
    """

    exchange: str
    routing_key: str
    message_id: str
    seconds: float


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Published(OfPublishing):
    """The broker routed and confirmed a message. On the publishing session's thread."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Returned(OfPublishing):
    """No queue takes a message (`UnroutableError`). On the publishing session's thread."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class PublishFailed(OfPublishing):
    """A message was not, or may not have been, accepted for another reason.

    `error` is the name of the error's class. On the publishing session's thread, or on the caller's when the
    message never reached that session.
    """

    error: str


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A session connected and is set up; with a `generation` above 1, again. On the session's thread."""

    session: str
    generation: int


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """A session lost its connection to `error`, or closed it (None). On the session's thread."""

    session: str
    error: str | None


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """A queue is paused by its breaker for `seconds`, after `failures` in a row. On the thread of the last one.

    By hand (`Worker.pause`), on the caller's thread: `failures` is 0, `seconds` None.
    """

    queue: str
    failures: int
    seconds: float | None


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A paused queue is consumed again. On the thread of the handler that succeeded, or that called `Worker.resume`."""

    queue: str


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The broker said that `ready` messages wait in a queue. On the consuming session's thread, at each heartbeat.

    `ready` is None when that is not known any more: the connection or the queue is lost.
    """

    queue: str
    ready: int | None


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
    | Counted
)
