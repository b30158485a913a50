"""What AMQP's encoding does to properties, without the bytes: it copies them, and refuses what it cannot carry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from operator import index
from types import MappingProxyType
from typing import Any, Final

from amqp.exceptions import FrameSyntaxError

from taskroute.broker.embedded.refusal import INTERNAL_ERROR, Refusal
from taskroute.message.undecoded import UndecodedValue

_MAX_TEXT_BYTES: Final = 255
_FITS_ANYWAY: Final = _MAX_TEXT_BYTES // 4
"""A text of at most so many characters fits, whichever they are."""

_HEADERS: Final = "application_headers"
_NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})
"""kombu sends empty headers with every message; one shared table spares memory and work for the garbage collector."""

_PLAIN: Final = frozenset({str, bool, int, type(None), UndecodedValue})
_SCALARS: Final = (str, int, float, Decimal)
_TABLE: Final = (dict, Mapping)  # dict first: nearly every table is one, and Mapping is slow to check


def carried_properties(properties: Mapping[str, object]) -> dict[str, object]:
    """Return a message's properties as they arrive: a copy, without the names that AMQP does not have.

    Raises:
        FrameSyntaxError: AMQP cannot carry a value.
        Refusal: 541, a number is NaN or infinite, which RabbitMQ does not read.
    """
    carried: dict[str, object] = {}
    for name, value in properties.items():
        if value is not None and name in _CHECKS:
            carried[name] = _CHECKS[name](value, name)
    headers = properties.get(_HEADERS)
    if isinstance(headers, _TABLE):
        carried[_HEADERS] = carried_table(headers) if headers else _NO_HEADERS
    return carried


def copied_properties(carried: Mapping[str, Any]) -> dict[str, object]:
    """Return a copy of what `carried_properties` returned, for a receiver, which may change it."""
    copy = dict(carried)
    headers = copy.get(_HEADERS)
    if headers is not None:
        copy[_HEADERS] = carried_table(headers)
    return copy


def carried_table(table: Mapping[str, object]) -> dict[str, object]:
    """Return a deep copy of a table as it arrives: tuples as lists, moments as naive UTC to the second.

    Raises:
        FrameSyntaxError: AMQP has no type for a value.
    """
    return {short_text(name, "a table's key"): _carried(value) for name, value in table.items()}


def short_text(text: object, what: str) -> str:
    """Return `text`, checked to fit into AMQP's short string.

    Raises:
        FrameSyntaxError: it is no str, or has more than 255 bytes in UTF-8.
    """
    if isinstance(text, str) and (
        len(text) <= _FITS_ANYWAY or len(text.encode("utf-8", "surrogatepass")) <= _MAX_TEXT_BYTES
    ):
        return text
    raise FrameSyntaxError(f"{what} is not a string of at most {_MAX_TEXT_BYTES} bytes: {text!r}")


def _number(number: object, what: str) -> int:
    if not isinstance(number, int):
        raise FrameSyntaxError(f"{what} is not a number: {number!r}")
    return number


_CHECKS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "content_type": short_text,
    "content_encoding": short_text,
    "delivery_mode": _number,
    "priority": _number,
    "correlation_id": short_text,
    "reply_to": short_text,
    "expiration": short_text,
    "message_id": short_text,
    "timestamp": _number,
    "type": short_text,
    "user_id": short_text,
    "app_id": short_text,
    "cluster_id": short_text,
}
"""AMQP's properties in its order, without the headers."""


def _carried(value: object) -> object:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, _SCALARS):
        return _scalar(value)
    if isinstance(value, _TABLE):
        return carried_table(value)
    if isinstance(value, list | tuple):
        return [_carried(item) for item in value]
    if isinstance(value, bytes):
        return _text_or_bytes(value)
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.replace(microsecond=0)
    raise FrameSyntaxError(f"a table cannot carry {type(value).__name__}: {value!r}")


def _scalar(value: str | float | Decimal) -> object:
    """Return a value of its plain class: the bytes do not tell of an enum or another subclass."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    if isinstance(value, int):
        return index(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal(INTERNAL_ERROR, f"a header is {value}")
    return Decimal(value) if isinstance(value, Decimal) else float(value)


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
