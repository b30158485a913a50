"""Logging: the message that a handler works on in every line of its log, and a line for each event.

Needs nothing but the standard library. For structlog there is `taskroute.instrumentation.structlog`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from taskroute.instrumentation import events
from taskroute.instrumentation.describe import LEVELS, Levels, context_of, fields_of, name_of
from taskroute.instrumentation.events import Event
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.message.message import Message
from taskroute.quoting import quoted

_OUTSIDE: Final = dict.fromkeys(("queue", "routing_key", "message_id", "attempt"), "-")

# What the library itself has said at a level of its own, in loggers beside this one.
_SAID: Final = (
    events.Retried,
    events.DeadLettered,
    events.Dropped,
    events.Overdue,
    events.Connected,
    events.Disconnected,
    events.Paused,
    events.Resumed,
)

_current: ContextVar[Message | None] = ContextVar("taskroute_message", default=None)


class LoggingInstrumentation(Instrumentation):
    """Logs each event on one line, and knows for `MessageFilter` which message a handler works on.

    Args:
        logger: to which the events go; left out, ``taskroute.instrumentation.logging``.
        levels: of kinds of events, where they should differ: ``{Handled: logging.DEBUG}``. Left out, `Handled` is
            INFO, `Returned` and `PublishFailed` are WARNING, and everything else is DEBUG: what the library says by
            itself (``message_failed``, ``connection_lost``, ...) is not said twice.

    Example:
        >>> handler = logging.StreamHandler()
        >>> _ = handler.addFilter(MessageFilter())
        >>> handler.setFormatter(logging.Formatter("%(levelname)s %(message)s queue=%(queue)s id=%(message_id)s"))
        >>> worker = Worker(url, topology, registry, instrumentation=[LoggingInstrumentation()])
    """

    def __init__(self, logger: logging.Logger | None = None, levels: Levels | None = None) -> None:
        self._logger = logging.getLogger("taskroute.instrumentation.logging") if logger is None else logger
        self._levels = {**LEVELS, **dict.fromkeys(_SAID, logging.DEBUG), **(levels or {})}

    def on_event(self, event: Event) -> None:
        """Log it."""
        level = self._levels[type(event)]
        if self._logger.isEnabledFor(level):
            described = " ".join(f"{name}={value}" for name, value in fields_of(event, quoted).items())
            self._logger.log(level, "%s %s", name_of(event), described)

    @contextmanager
    def handling(self, message: Message, handler: str) -> Iterator[None]:  # noqa: ARG002 - the message says enough
        """Have `MessageFilter` know the message."""
        token = _current.set(message)
        try:
            yield
        finally:
            _current.reset(token)


class MessageFilter(logging.Filter):
    """Gives every record `queue`, `routing_key`, `message_id` and `attempt` of the message that is being handled.

    Add it to a handler of `logging`, not to a logger, whose filters do not see the records of the loggers below it.
    Where no message is handled they are ``-``; a record that has one of them already keeps it. It lets every record
    pass. Text of others is quoted where it could forge a line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is known."""
        message = _current.get()
        known = _OUTSIDE if message is None else context_of(message, quoted)
        for name, value in known.items():
            record.__dict__.setdefault(name, value)
        return True
