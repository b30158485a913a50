"""Outcomes: how the handling of a message ended, and what a handler raises to decide it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.raised import Raised

Reason = Literal[
    "handler_error",
    "handler_timeout",
    "rejected",
    "retry_unavailable",
    "invalid_body",
    "invalid_key",
    "invalid_header",
    "unsupported_content",
    "no_handler",
    "unknown_key",
    "too_large",
]
"""Why a message was dead-lettered: the header ``x-taskroute-reason``."""


@exported_by("taskroute")
class Reject(Exception):  # noqa: N818 - a verdict, not an error
    """Raise in a handler to dead-letter the message at once, whatever the retry policy says.

    The first 200 characters of its text go to the log and to the header ``x-taskroute-error``.

    Example:
        >>> raise Reject("unknown customer")
        Traceback (most recent call last):
        taskroute.Reject: unknown customer
    """


@exported_by("taskroute")
class Retry(Exception):  # noqa: N818 - a verdict, not an error
    """Raise in a handler to ask for another attempt, which counts like any other.

    Args:
        reason: its first 200 characters go to the log and, if no attempt is left, to the header
            ``x-taskroute-error``.
        delay: seconds or a timedelta. The message waits for the shortest delay of the queue's policy that is at
            least as long, or else for the longest one. Left out: the policy's next delay.

    Raises:
        ConfigurationError: `delay` is neither.

    Example:
        >>> raise Retry("not packed yet", delay=60)
        Traceback (most recent call last):
        taskroute.Retry: not packed yet
    """

    delay: timedelta | None = None

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason)
        try:
            self.delay = delay if delay is None or isinstance(delay, timedelta) else timedelta(seconds=delay)
        except (TypeError, ValueError, OverflowError):
            what = type(delay).__name__  # not the value, which may be one of the message
            raise ConfigurationError(f"Retry: delay must be a number of seconds or a timedelta, not {what}") from None


class HandlerTimeoutError(TimeoutError):
    """An async handler was cancelled at its timeout. Middleware sees it; the reason becomes ``handler_timeout``."""


@dataclass(frozen=True, slots=True)
class Handled:
    """The handler returned: the message can be acknowledged. `handler` is its name."""

    handler: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The message was not handled.

    `error` names types and fields, never values but for the text of a verdict, because failures are grouped by it.
    `retryable` is False where another attempt would end the same way. `delay` is what a `Retry` asked for. `delays` is
    what the handler declares instead of its queue's policy, empty for no retry. `handler` is the handler's name, if one
    was found, and `place` where it is written, if `error` names no place. `raised` is what is told of the exception.
    """

    reason: Reason
    error: str
    retryable: bool = False
    delay: timedelta | None = None
    asked_for_retry: bool = False
    delays: tuple[timedelta, ...] | None = None
    handler: str | None = None
    place: str = ""
    raised: Raised | None = None


Outcome = Handled | Failed
