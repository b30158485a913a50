"""Names and values of events and messages for a log, safe from text of senders that would forge a line. Pure."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Final

from taskroute.instrumentation import events
from taskroute.instrumentation.events import Event
from taskroute.message.message import Message

Levels = Mapping[type[Event], int]

LEVELS: Final[Levels] = {
    events.Received: logging.DEBUG,
    events.Handled: logging.INFO,
    events.Retried: logging.WARNING,
    events.DeadLettered: logging.ERROR,
    events.Dropped: logging.ERROR,
    events.Overdue: logging.WARNING,
    events.Published: logging.DEBUG,
    events.Returned: logging.WARNING,
    events.PublishFailed: logging.WARNING,
    events.Connected: logging.INFO,
    events.Disconnected: logging.WARNING,
    events.Paused: logging.WARNING,
    events.Resumed: logging.INFO,
    events.Counted: logging.DEBUG,
}

_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_DIGITS: Final = 6

Text = Callable[[str], str]
"""Makes the text of a sender safe: `quoted` in lines of text, `printable` where the renderer delimits values."""


def name_of(event: Event) -> str:
    """Return the name of an event: ``DeadLettered`` -> ``dead_lettered``."""
    return _CAPITAL.sub("_", type(event).__name__).lower()


def fields_of(event: Event, text: Text) -> dict[str, object]:
    """Return the fields of an event by name."""
    return {field.name: _safe(getattr(event, field.name), text) for field in fields(event)}


def context_of(message: Message, text: Text) -> dict[str, object]:
    """Return the fields that identify a message."""
    return {
        "queue": text(message.queue),
        "routing_key": text(message.routing_key),
        "message_id": _safe(message.message_id, text),
        "attempt": message.attempt,
    }


def _safe(value: object, text: Text) -> object:
    if isinstance(value, str):
        return text(value)
    return round(value, _DIGITS) if isinstance(value, float) else value
