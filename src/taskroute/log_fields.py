"""Log fields: the facts of a log line by name, for formatters that write them apart, and each value safe for a line.

A line of the library is written as ``event name=%s name=%d``, so that its text says what its facts are: they are read
off it. Names are those of OpenTelemetry's conventions for messaging and exceptions where there are any, and all have a
dot, so that none is an attribute of `logging.LogRecord`. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from taskroute.quoting import escaped, shorten, without_passwords
from taskroute.raised import Raised

EVENT: Final = "taskroute.event"
ERROR_TYPE: Final = "error.type"
MESSAGE: Final = "exception.message"
STACKTRACE: Final = "exception.stacktrace"
PLACE: Final = "taskroute.place"

NAMES: Final[Mapping[str, str]] = {
    "queue": "messaging.destination.name",
    "key": "messaging.rabbitmq.destination.routing_key",
    "routing_key": "messaging.rabbitmq.destination.routing_key",
    "message_id": "messaging.message.id",
    "messages": "messaging.batch.message_count",
    "error_text": MESSAGE,
    "at": PLACE,
}
"""By the name in a line; any other fact is ``taskroute.NAME``."""

_CONVERSION: Final = re.compile(r"(?:(\w+)=)?%(?:%|[-+ #0]*\d*(?:\.\d+)?[a-z])")
_CLASS: Final = re.compile(r"[A-Za-z_][\w.]*(?=$|\(| at )")
"""How each description of an error begins that is not the text of one."""

_ONE_WORD: Final = re.compile(r"""[^\s"=]+|'([^'\\]|\\.)*'(\.\.\.)?|"([^"\\]|\\.)*"(\.\.\.)?""")
"""What a reader takes for one value: without spaces, or quoted already."""

_FROM_SENDERS: Final = frozenset({"key", "message_id"})
_NUMBERS: Final = (int, float, type(None))
_LINES_REMEMBERED: Final = 256


def field_name(name: str) -> str:
    """Return the name of a fact in the fields of a record."""
    return NAMES.get(name) or f"taskroute.{name}"


def fields_of_line(text: str, args: Sequence[object]) -> dict[str, object]:
    """Return the facts of a line as fields.

    Args:
        text: of the line, with its conversions.
        args: its values.
    """
    event = text.partition(" ")[0]
    fields: dict[str, object] = {EVENT: args[0] if event == "%s" else event}
    for name, value in zip(_names(text), args, strict=False):
        if name == "error":
            fields |= _of_error(value)
        elif name is not None:
            fields[field_name(name)] = value if isinstance(value, _NUMBERS) else escaped(_said(value))
    return fields


def fields_of_raised(raised: Raised) -> dict[str, object]:
    """Return what is told of an exception as fields."""
    told = {ERROR_TYPE: raised.kind, PLACE: raised.place, MESSAGE: escaped(raised.text), STACKTRACE: raised.traceback}
    return {name: value for name, value in told.items() if value}


def safe_args(text: str, args: Sequence[object]) -> tuple[object, ...]:
    """Return the values of a line so that none can end it; what a sender wrote is quoted and cut, an error quoted."""
    names = _names(text)
    return tuple(_safe(name, value) for name, value in zip(names, args, strict=True)) if args else ()


def _safe(name: str | None, value: object) -> object:
    if name in _FROM_SENDERS:
        return "-" if value is None else shorten(str(value))
    if isinstance(value, _NUMBERS):
        return value
    said = _said(value)
    return escaped(said) if name != "error" or (_ONE_WORD.fullmatch(said) and said.isprintable()) else repr(said)


def _said(value: object) -> str:
    return without_passwords(str(value))


def _of_error(value: object) -> dict[str, object]:
    if isinstance(value, BaseException):
        return {ERROR_TYPE: type(value).__name__, MESSAGE: escaped(_said(value))}
    described = escaped(_said(value))
    kind = _CLASS.match(described)
    return {field_name("error"): described, **({ERROR_TYPE: kind[0]} if kind else {})}


@lru_cache(maxsize=_LINES_REMEMBERED)
def _names(text: str) -> tuple[str | None, ...]:
    """Return for each value of a line the name before it, None if there is none."""
    return tuple(found[1] for found in _CONVERSION.finditer(text) if not found[0].endswith("%%"))
