"""structlog: the message that a handler works on as context, and an entry for each event. Extra ``structlog``."""

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

    The processor ``structlog.contextvars.merge_contextvars``, which is among structlog's defaults, puts what is bound
    into every entry. Text of others is quoted where it could end a line.

    Args:
        logger: to which the events go; left out, ``structlog.get_logger("taskroute")``.
        levels: of kinds of events, where they should differ: ``{Handled: logging.DEBUG}``. Left out, what is lost or
            dead-lettered is ERROR, other failures are WARNING, and a connection that was closed as asked is DEBUG.

    Example:
        >>> worker = Worker(url, topology, registry, instrumentation=[StructlogInstrumentation()])
    """

    def __init__(self, logger: Any = None, levels: Levels | None = None) -> None:
        self._logger = structlog.get_logger("taskroute") if logger is None else logger
        chosen = levels or {}
        self._methods = {kind: logging.getLevelName(level).lower() for kind, level in {**LEVELS, **chosen}.items()}
        self._closed = self._methods[Disconnected] if Disconnected in chosen else "debug"

    def on_event(self, event: Event) -> None:
        """Log it."""
        closed = isinstance(event, Disconnected) and event.error is None
        method = self._closed if closed else self._methods[type(event)]
        getattr(self._logger, method)(name_of(event), **fields_of(event, printable))

    def handling(self, message: Message, handler: str) -> AbstractContextManager[object]:  # noqa: ARG002
        """Bind what tells the message apart."""
        return bound_contextvars(**context_of(message, printable))
