"""structlog: one entry for each event, and the message that a handler works on as context. Extra ``structlog``."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Any

from taskroute.instrumentation.describe import LEVELS, Levels, context_of, fields_of, name_of
from taskroute.instrumentation.events import Disconnected, Event
from taskroute.instrumentation.extras import extra
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.message.message import Message
from taskroute.quoting import printable

with extra("structlog"):
    import structlog
    from structlog.contextvars import bound_contextvars


class StructlogInstrumentation(Instrumentation):
    """Binds `queue`, `routing_key`, `message_id` and `attempt` while a handler runs, and logs each event.

    The processor ``structlog.contextvars.merge_contextvars``, one of the defaults, adds the bound values to each entry.
    Text of senders is quoted where it could end a line.

    Args:
        logger: of the events; left out, ``structlog.get_logger("taskroute")``.
        levels: by class of event, to override: ``{Handled: logging.DEBUG}``. Left out, `Dropped` and `DeadLettered`
            are ERROR, other failures are WARNING, and a connection that was closed on purpose is DEBUG.

    Example:
        >>> worker = Worker(url, topology, registry, instrumentation=[StructlogInstrumentation()])
    """

    def __init__(self, logger: Any = None, levels: Levels | None = None) -> None:
        self._logger = structlog.get_logger("taskroute") if logger is None else logger
        chosen = levels or {}
        self._methods = {kind: logging.getLevelName(level).lower() for kind, level in {**LEVELS, **chosen}.items()}
        self._closed = self._methods[Disconnected] if Disconnected in chosen else "debug"

    def on_event(self, event: Event) -> None:
        """Log the event."""
        closed = isinstance(event, Disconnected) and event.error is None
        method = self._closed if closed else self._methods[type(event)]
        getattr(self._logger, method)(name_of(event), **fields_of(event, printable))

    def handling(self, message: Message, handler: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Bind the fields that identify the message."""
        return bound_contextvars(**context_of(message, printable))
