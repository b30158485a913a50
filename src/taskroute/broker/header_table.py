"""Header tables: properties and headers read value by value, and tables written with what could not be read.

py-amqp reads and writes almost all messages. What it cannot decode comes here: one value that nothing can read costs
only itself, and is written back as the bytes that it came as.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct, pack
from typing import Any, Final

from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps, loads

from taskroute.message.undecoded import UndecodedText, UndecodedValue

MAX_DEPTH: Final = 100
"""Tables and arrays inside of each other that are read; what lies deeper stays undecoded."""

_LENGTH: Final = Struct(">I")
_LONG: Final = Struct(">Q")
_FLAGS: Final = Struct(">H")
_SIZES: Final[Mapping[bytes, int]] = {
    b"V": 0,
    **dict.fromkeys((b"t", b"b", b"B"), 1),
    **dict.fromkeys((b"U", b"u", b"s"), 2),
    **dict.fromkeys((b"I", b"i", b"f"), 4),
    **dict.fromkeys((b"l", b"L", b"d", b"T"), 8),
    b"D": 5,
}
_WITH_LENGTH: Final = frozenset({b"S", b"x", b"F", b"A"})

Read = tuple[Any, int]
"""A value, and where the next one begins."""


def read_properties(buffer: bytes, at: int) -> dict[str, object]:
    """Return a message's properties, each decoded by itself.

    Raises:
        ValueError: it does not say where a value ends.
    """
    (flags,) = _FLAGS.unpack_from(buffer, at)
    at += _FLAGS.size
    properties: dict[str, object] = {}
    for name, flag, read in _PROPERTIES:
        if flags & flag:
            properties[name], at = read(buffer, at)
    return properties


def encode_table(table: Mapping[str, object]) -> bytes:
    """Return a table as AMQP writes it.

    Raises:
        Exception: AMQP cannot carry a value; py-amqp raises many kinds.
    """
    try:
        encoded: bytes = dumps("F", [table])
    except FrameSyntaxError:
        return _encode(table)  # it may hold what was not decoded, of which py-amqp knows nothing
    return encoded


def _encode(table: Mapping[str, object]) -> bytes:
    items = []
    for name, value in table.items():
        encoded = name.encode("utf-8", "surrogatepass") if isinstance(name, str) else name
        items += [bytes((len(encoded),)), encoded, _encode_value(value)]
    return _with_length(b"".join(items))


def _encode_value(value: object) -> bytes:
    if isinstance(value, UndecodedValue):
        return value.kind + value.encoded
    if isinstance(value, dict):
        return b"F" + _encode(value)
    if isinstance(value, list | tuple):
        return b"A" + _with_length(b"".join(map(_encode_value, value)))
    encoded: bytes = dumps("F", [{"": value}])
    return encoded[_LENGTH.size + 1 :]  # without the length and the empty name


def _with_length(encoded: bytes) -> bytes:
    return _LENGTH.pack(len(encoded)) + encoded


def _read_value(buffer: bytes, at: int, limit: int, depth: int) -> Read:
    kind, start = buffer[at : at + 1], at + 1
    end = _end_of(kind, buffer, start)
    if end is None or end > limit:  # nobody knows where it ends: all that is left belongs to it
        return UndecodedValue(kind, buffer[start:limit]), limit
    try:
        if kind in (b"F", b"A") and depth < MAX_DEPTH:
            inside = start + _LENGTH.size
            read = _read_items if kind == b"F" else _read_array
            return read(buffer, inside, end, depth + 1), end
        if kind not in (b"F", b"A"):
            return _decoded(kind, buffer[start:end]), end
    except Exception:  # noqa: BLE001, S110 - whatever a sender wrote, from a year 10,000 to a length that is too short
        pass
    return UndecodedValue(kind, buffer[start:end]), end


def _end_of(kind: bytes, buffer: bytes, start: int) -> int | None:
    if kind in _WITH_LENGTH:
        inside = start + _LENGTH.size
        return inside + _LENGTH.unpack_from(buffer, start)[0] if inside <= len(buffer) else None
    size = _SIZES.get(kind)
    return None if size is None else start + size


def _decoded(kind: bytes, encoded: bytes) -> object:
    ((table,), _) = loads("F", pack(">IB", len(encoded) + 2, 0) + kind + encoded, 0)
    return table[""]


def _read_items(buffer: bytes, at: int, limit: int, depth: int) -> dict[str, object]:
    items: dict[str, object] = {}
    while at < limit:
        name, at = _read_short(buffer, at)
        if at >= limit:
            raise ValueError("a table ends before the value of a name")
        items[name], at = _read_value(buffer, at, limit, depth)
    return items


def _read_array(buffer: bytes, at: int, limit: int, depth: int) -> list[object]:
    items: list[object] = []
    while at < limit:
        item, at = _read_value(buffer, at, limit, depth)
        items.append(item)
    return items


def _read_table(buffer: bytes, at: int) -> Read:
    start = at + _LENGTH.size
    end = start + _LENGTH.unpack_from(buffer, at)[0]
    if end > len(buffer):
        raise ValueError("a table is longer than what holds it")
    return _read_items(buffer, start, end, 0), end


def _read_short(buffer: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + buffer[at]
    if end > len(buffer):
        raise ValueError("a text is longer than what holds it")
    encoded = buffer[at + 1 : end]
    try:
        return encoded.decode("utf-8", "surrogatepass"), end
    except UnicodeDecodeError:
        return UndecodedText.of(encoded), end


def _read_octet(buffer: bytes, at: int) -> Read:
    return buffer[at], at + 1


def _read_long(buffer: bytes, at: int) -> Read:
    return _LONG.unpack_from(buffer, at)[0], at + _LONG.size


_PROPERTIES: Final[tuple[tuple[str, int, Callable[[bytes, int], Read]], ...]] = (
    ("content_type", 1 << 15, _read_short),
    ("content_encoding", 1 << 14, _read_short),
    ("application_headers", 1 << 13, _read_table),
    ("delivery_mode", 1 << 12, _read_octet),
    ("priority", 1 << 11, _read_octet),
    ("correlation_id", 1 << 10, _read_short),
    ("reply_to", 1 << 9, _read_short),
    ("expiration", 1 << 8, _read_short),
    ("message_id", 1 << 7, _read_short),
    ("timestamp", 1 << 6, _read_long),
    ("type", 1 << 5, _read_short),
    ("user_id", 1 << 4, _read_short),
    ("app_id", 1 << 3, _read_short),
    ("cluster_id", 1 << 2, _read_short),
)
"""The properties of a message in AMQP's order."""
