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

_LONG: Final = 1 << 63
_SIGNED: Final = 1 << 31
_MAX_SCALE: Final = 255
_EPOCH: Final = 1970

_HEADERS: Final = "application_headers"
_NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})
"""kombu sends empty headers with every message; one shared table spares memory and work for the garbage collector."""

_PLAIN: Final = frozenset({str, bool, type(None), UndecodedValue})
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


def whole_number(number: object, what: str, bits: int) -> int:
    """Return `number`, checked to be a whole one that AMQP has room for.

    Raises:
        FrameSyntaxError: it is not.
    """
    if isinstance(number, int) and 0 <= number < 1 << bits:
        return number
    raise FrameSyntaxError(f"{what} is not a whole number below {1 << bits}: {number!r}")


def _octet(number: object, what: str) -> int:
    return whole_number(number, what, 8)


def _timestamp(number: object, what: str) -> int:
    return whole_number(number, what, 64)


_CHECKS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "content_type": short_text,
    "content_encoding": short_text,
    "delivery_mode": _octet,
    "priority": _octet,
    "correlation_id": short_text,
    "reply_to": short_text,
    "expiration": short_text,
    "message_id": short_text,
    "timestamp": _timestamp,
    "type": short_text,
    "user_id": short_text,
    "app_id": short_text,
    "cluster_id": short_text,
}
"""AMQP's properties in its order, without the headers."""


def _carried(value: Any) -> object:
    kind = type(value)
    if kind in _PLAIN or (kind is int and -_LONG <= value < _LONG):
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
        if moment.year < _EPOCH:
            raise FrameSyntaxError(f"a table cannot carry a moment before {_EPOCH}: {value!r}")
        return moment.replace(microsecond=0)
    raise FrameSyntaxError(f"a table cannot carry {type(value).__name__}: {value!r}")


def _scalar(value: str | float | Decimal) -> object:
    """Return a value of its plain class: the bytes do not tell of an enum or another subclass."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    if isinstance(value, int):
        if -_LONG <= value < _LONG:
            return index(value)
        raise FrameSyntaxError(f"a table cannot carry a number beyond 64 bits: {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refusal(INTERNAL_ERROR, f"a header is {value}")
    return _decimal(value) if isinstance(value, Decimal) else float(value)


def _decimal(value: Decimal) -> Decimal:
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)) or 0)
    if isinstance(exponent, int) and -_MAX_SCALE <= exponent <= 0 and number < _SIGNED + sign:
        return Decimal(value)
    raise FrameSyntaxError(f"a table cannot carry a decimal beyond 32 bits: {value!r}")


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
