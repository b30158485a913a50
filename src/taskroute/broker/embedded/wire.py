"""What AMQP's encoding does to a message's properties, without the bytes: copies, and refuses what cannot be sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from amqp.exceptions import FrameSyntaxError

_TEXTS: Final = (
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
_NUMBERS: Final = ("delivery_mode", "priority", "timestamp")
_MAX_TEXT_BYTES: Final = 255


def carried_properties(properties: Mapping[str, object]) -> dict[str, object]:
    """Return what arrives of a message's properties: a copy, without what AMQP has no place for.

    Raises:
        FrameSyntaxError: a value that cannot be encoded.
    """
    carried: dict[str, object] = {}
    for name in _TEXTS:
        text = properties.get(name)
        if text is not None:
            carried[name] = short_text(text, name)
    for name in _NUMBERS:
        number = properties.get(name)
        if number is not None:
            if not isinstance(number, int):
                raise FrameSyntaxError(f"{name} is not a number: {number!r}")
            carried[name] = number
    headers = properties.get("application_headers")
    if isinstance(headers, Mapping):
        carried["application_headers"] = carried_table(headers)
    return carried


def carried_table(table: Mapping[str, object]) -> dict[str, object]:
    """Return a deep copy of a table as it arrives: tuples as lists, moments as naive UTC to the second.

    Raises:
        FrameSyntaxError: a value that AMQP has no type for.
    """
    return {short_text(name, "a table's key"): _carried(value) for name, value in table.items()}


def short_text(text: object, what: str) -> str:
    """Return `text`, checked to fit into AMQP's short string.

    Raises:
        FrameSyntaxError: no str, or more than 255 bytes in UTF-8.
    """
    if not isinstance(text, str) or len(text.encode("utf-8", "surrogatepass")) > _MAX_TEXT_BYTES:
        raise FrameSyntaxError(f"{what} is not a string of at most {_MAX_TEXT_BYTES} bytes: {text!r}")
    return text


def _carried(value: object) -> object:
    if value is None or isinstance(value, str | bool | int | float | Decimal):
        return value
    if isinstance(value, Mapping):
        return carried_table(value)
    if isinstance(value, list | tuple):
        return [_carried(item) for item in value]
    if isinstance(value, bytes):
        return _text_or_bytes(value)
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return moment.replace(microsecond=0)
    raise FrameSyntaxError(f"a table cannot carry {type(value).__name__}: {value!r}")


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
