"""How the handling of a message ended, and what a handler raises to say so itself."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from taskroute.errors import ConfigurationError

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
    "too_large",
]
"""Why a message was dead-lettered: the header ``x-taskroute-reason``."""


class Reject(Exception):  # noqa: N818 - a verdict, not an error
    """Raise in a handler to dead-letter the message at once, whatever the retry policy says.

    Its text goes to the log and the header ``x-taskroute-error``, the first 200 characters.

    Example:
        >>> raise Reject("unknown customer")
        Traceback (most recent call last):
        taskroute.outcome.Reject: unknown customer
    """


class Retry(Exception):  # noqa: N818 - a verdict, not an error
    """Raise in a handler to ask for another attempt, which counts like any other.

    Args:
        reason: for the log and, if no attempt is left, the header ``x-taskroute-error``; the first 200 characters.
        delay: seconds or a timedelta; the next longer wait queue of the queue's policy is taken, else the
            longest. Left out: the delay that is next by the policy.

    Raises:
        ConfigurationError: `delay` is something else.

    Example:
        >>> raise Retry("not packed yet", delay=60)
        Traceback (most recent call last):
        taskroute.outcome.Retry: not packed yet
    """

    delay: timedelta | None = None

    def __init__(self, reason: str = "", *, delay: float | timedelta | None = None) -> None:
        super().__init__(reason)
        try:
            self.delay = delay if delay is None or isinstance(delay, timedelta) else timedelta(seconds=delay)
        except (TypeError, ValueError, OverflowError):
            what = type(delay).__name__  # not the value, which may be one of the message
            raise ConfigurationError(
                f"Retry: delay has to be a number of seconds or a timedelta, and is a {what}"
            ) from None


class HandlerTimeoutError(TimeoutError):
    """An async handler was cancelled when its timeout was over. Seen by middleware; becomes ``handler_timeout``."""


@dataclass(frozen=True, slots=True)
class Handled:
    """The handler returned: the message can be acknowledged. `handler` is its name."""

    handler: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The message was not handled.

    `error` names types and fields, never values: it goes to a header and to the log. `retryable` is False where
    another attempt would end the same way. `delay` is what a `Retry` asked for, `delays` what the handler named
    instead of its queue's policy: empty for no retry. `handler` is its name, if one was found.
    """

    reason: Reason
    error: str
    retryable: bool = False
    delay: timedelta | None = None
    asked_for_retry: bool = False
    delays: tuple[timedelta, ...] | None = None
    handler: str | None = None


Outcome = Handled | Failed
