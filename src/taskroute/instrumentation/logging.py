"""Logging: one line for each event, and the message that a handler works on in each line of its log.

Needs only the standard library. For structlog, see `taskroute.instrumentation.structlog`.
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
from taskroute.log_fields import EVENT, field_name
from taskroute.message.message import Message
from taskroute.quoting import escaped, quoted

_OUTSIDE: Final = dict.fromkeys(("queue", "routing_key", "message_id", "attempt"), "-")

# Events for which the library logs a line of its own.
_LOGGED: Final = (
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
    """Logs each event on one line, and tells `MessageFilter` which message a handler works on.

    Args:
        logger: of the events; left out, ``taskroute.instrumentation.logging``.
        levels: by class of event, to override: ``{Handled: logging.DEBUG}``. Left out, `Handled` is INFO, `Returned`
            and `PublishFailed` are WARNING, and the others are DEBUG, because the library logs lines of its own for
            them (``message_failed``, ``connection_lost``, ...).

    Example:
        >>> handler = logging.StreamHandler()
        >>> _ = handler.addFilter(MessageFilter())
        >>> handler.setFormatter(logging.Formatter("%(levelname)s %(message)s queue=%(queue)s id=%(message_id)s"))
        >>> worker = Worker(url, topology, registry, instrumentation=[LoggingInstrumentation()])
    """

    def __init__(self, logger: logging.Logger | None = None, levels: Levels | None = None) -> None:
        self._logger = logging.getLogger("taskroute.instrumentation.logging") if logger is None else logger
        self._levels = {**LEVELS, **dict.fromkeys(_LOGGED, logging.DEBUG), **(levels or {})}

    def on_event(self, event: Event) -> None:
        """Log the event."""
        level = self._levels[type(event)]
        if self._logger.isEnabledFor(level):
            name, facts = name_of(event), fields_of(event, quoted)
            described = " ".join(f"{fact}={'-' if value is None else value}" for fact, value in facts.items())
            fields = {EVENT: name} | {field_name(fact): value for fact, value in fields_of(event, escaped).items()}
            self._logger.log(level, "%s %s", name, described, extra=fields)

    @contextmanager
    def handling(self, message: Message, handler: str) -> Iterator[None]:  # noqa: ARG002 - the message says enough
        """Let `MessageFilter` know the message."""
        token = _current.set(message)
        try:
            yield
        finally:
            _current.reset(token)


class MessageFilter(logging.Filter):
    """Adds `queue`, `routing_key`, `message_id` and `attempt` of the message that is being handled to each record.

    Add it to a handler of `logging`, not to a logger: the filters of a logger do not see the records of its children.
    Where no message is being handled the values are ``-``. A value that a record already has stays. Every record
    passes. Text of senders is quoted where it could forge a line.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields of the message, and return True."""
        message = _current.get()
        known = _OUTSIDE if message is None else context_of(message, quoted)
        for name, value in known.items():
            record.__dict__.setdefault(name, value)
        return True
