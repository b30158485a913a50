"""Properties of an outgoing message, checked where they are given: a session gets only what can be written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from taskroute.broker.header_problem import header_problem, is_too_deep
from taskroute.broker.header_table import MAX_DEPTH, encode_table
from taskroute.errors import MessageInvalidError, MessageTooLargeError
from taskroute.keys.short_string import key_problem
from taskroute.message.finite import not_finite
from taskroute.message.headers import (
    ATTEMPT,
    ERROR_TEXT,
    ERROR_TRACEBACK,
    EXCHANGE,
    HANDLER,
    HEADER_PREFIX,
    HEADERS_DROPPED,
    ORIGINAL_PREFIX,
    QUEUE,
    REASON,
    REPLAYS,
    ROUTING_KEY,
)
from taskroute.quoting import quoted, shown

MAX_HEADERS_SIZE: Final = 64 * 1024
"""Bytes of a message's headers, encoded. They travel in one frame, which RabbitMQ limits to 128 KiB by default."""

DEFAULT_FRAME_MAX: Final = 128 * 1024
"""Bytes; what RabbitMQ agrees to unless its configuration says otherwise."""

_FRAME_RESERVE: Final = 256
"""Bytes of a frame that are neither headers nor texts of properties, and some to spare."""

_BROKERS_SHARE: Final = 16
"""One part in so many of a frame is left to what the broker adds, ``x-death`` for one."""

_TABLE_LENGTH: Final = 4

_UNSENDABLE, _COPIED, _FOREIGN, _ORIGINAL, _OWN, _NEEDED = range(6)
_IN_THE_LOG_AS_WELL: Final = frozenset({ERROR_TEXT, ERROR_TRACEBACK, HANDLER})
_WHERE_IT_BELONGS: Final = frozenset({ATTEMPT, QUEUE, EXCHANGE, ROUTING_KEY, REASON, REPLAYS})

_SIMPLE: Final = frozenset({str, int, bool, bytes, type(None)})
"""Types of most headers, in which no number hides."""

_TRANSIENT: Final = 1
_PERSISTENT: Final = 2
_MAX_PRIORITY: Final = 255


def encode_properties(
    *,
    headers: Mapping[str, object] | None = None,
    message_id: str,
    content_type: str,
    correlation_id: str | None = None,
    type: str | None = None,  # noqa: A002 - AMQP's name
    reply_to: str | None = None,
    timestamp: datetime | None = None,
    expiration: float | timedelta | None = None,
    priority: int | None = None,
    persistent: bool = True,
) -> Mapping[str, object]:
    """Return AMQP's properties.

    Raises:
        MessageInvalidError: a value that AMQP cannot carry; names the property.
        MessageTooLargeError: `headers` take more than `MAX_HEADERS_SIZE` bytes.
    """
    texts = {
        "message_id": message_id,
        "content_type": content_type,
        "correlation_id": correlation_id,
        "type": type,
        "reply_to": reply_to,
    }
    for name, text in texts.items():
        if text is not None and (problem := key_problem(text, name)):
            raise MessageInvalidError(problem)
    if priority is not None and not (isinstance(priority, int) and 0 <= priority <= _MAX_PRIORITY):
        raise MessageInvalidError(f"priority={shown(priority)} is not a whole number between 0 and {_MAX_PRIORITY}")
    properties: dict[str, object] = {
        **texts,
        "delivery_mode": _PERSISTENT if persistent is True or checked_flag("persistent", persistent) else _TRANSIENT,
        "priority": priority,
        "timestamp": _seconds(timestamp),
        "expiration": _milliseconds(expiration),
        "application_headers": _checked_headers(headers),
    }
    return {name: value for name, value in properties.items() if value is not None}


def with_headers(properties: Mapping[str, object], headers: Mapping[str, object]) -> Mapping[str, object]:
    """Return the properties with more headers. Those that they have already win.

    Raises:
        MessageInvalidError: a value that AMQP cannot carry.
        MessageTooLargeError: the headers take more than `MAX_HEADERS_SIZE` bytes together.
    """
    own = properties.get("application_headers")
    both = _checked_headers({**headers, **own} if isinstance(own, Mapping) else headers)
    return {**properties, "application_headers": both} if both else properties


def checked_flag(name: str, flag: bool) -> bool:
    """Return what is True or False. Anything else may be meant as its opposite: ``"no"`` is true.

    Raises:
        MessageInvalidError: names the option.
    """
    if flag is not True and flag is not False:
        raise MessageInvalidError(f"{name}={shown(flag)} is neither True nor False")
    return flag


def _seconds(timestamp: datetime | None) -> int | None:
    if timestamp is None:
        return None
    if not isinstance(timestamp, datetime) or timestamp.timestamp() < 0:  # AMQP's number has no sign
        raise MessageInvalidError(f"timestamp={shown(timestamp)} is not a datetime of 1970 or later")
    return int(timestamp.timestamp())


def _milliseconds(expiration: float | timedelta | None) -> str | None:
    if expiration is None:
        return None
    if not isinstance(expiration, int | float | timedelta):  # a str might be meant as AMQP's milliseconds
        raise MessageInvalidError(
            f"expiration={shown(expiration)} is neither a number of seconds nor a timedelta; "
            f"a minute is expiration=60, or timedelta(minutes=1)"
        )
    seconds = expiration.total_seconds() if isinstance(expiration, timedelta) else float(expiration)
    if not math.isfinite(seconds) or not 0 <= seconds * 1000 < 2**32:
        raise MessageInvalidError(
            f"expiration={shown(expiration)} is not a number of seconds between 0 and 2**32 / 1000"
        )
    return str(round(seconds * 1000))


def passed_on(properties: Mapping[str, object], frame_max: int = DEFAULT_FRAME_MAX) -> Mapping[str, object]:
    """Return the properties of a message that is republished, so that they can be sent.

    Headers of another sender may be too many for a frame or, read back, not be encodable. The message counts for
    more than they do, so as few as need be are left out, and a header says how many: first what cannot be encoded,
    then traceback and text of an error, and its handler, which the log has too, then those of others, the largest
    first, then originals, and at last this library's own but those that say where the message belongs and which
    attempt it is.

    Args:
        properties: with headers.
        frame_max: bytes, as agreed with the broker.
    """
    headers = properties.get("application_headers")
    assert isinstance(headers, Mapping)  # noqa: S101 - republishing adds some
    texts = (str(value) for name, value in properties.items() if name != "application_headers")
    room = (
        frame_max
        - frame_max // _BROKERS_SHARE
        - _FRAME_RESERVE
        - sum(len(text.encode(errors="replace")) for text in texts)
    )
    if _fits(headers, room):
        return properties
    sizes = {name: _size(name, value) for name, value in headers.items()}
    total = sum(sizes.values())
    kept = dict(headers)
    for name in sorted(headers, key=lambda name: (_rank(name, sizes[name]), -sizes[name])):
        rank = _rank(name, sizes[name])
        if rank > _UNSENDABLE and (total <= room or rank == _NEEDED):
            break
        del kept[name]
        total -= sizes[name]
    return {**properties, "application_headers": {**kept, HEADERS_DROPPED: len(headers) - len(kept)}}


def _fits(headers: Mapping[str, object], room: int) -> bool:
    try:
        return next(not_finite(headers), None) is None and _encoded_size(headers) <= room
    except (MessageInvalidError, RecursionError):  # a middleware may have added what contains itself
        return False


def _size(name: str, value: object) -> int:
    """Return the bytes of one header, 0 if it cannot be sent."""
    try:
        is_finite = next(not_finite(value), None) is None
        return _encoded_size({name: value}) - _TABLE_LENGTH if is_finite else 0
    except (MessageInvalidError, RecursionError):
        return 0


def _rank(name: str, size: int) -> int:
    """Return how much is lost without a header, from what cannot be sent to what a message needs."""
    if not size:
        return _UNSENDABLE
    if not name.startswith(HEADER_PREFIX):
        return _FOREIGN
    if name in _IN_THE_LOG_AS_WELL:
        return _COPIED
    if name in _WHERE_IT_BELONGS:
        return _NEEDED
    return _ORIGINAL if name.startswith(ORIGINAL_PREFIX) else _OWN


def _checked_headers(headers: Mapping[str, object] | None) -> dict[str, object] | None:
    if not headers:
        return None
    try:
        table = dict(headers)
    except (TypeError, ValueError):
        kind = type(headers).__name__
        raise MessageInvalidError(f"headers is a mapping, {{'x-name': 'value'}}, not {kind}") from None
    for name, value in table.items():
        if problem := key_problem(name, "name of a header"):
            raise MessageInvalidError(problem)
        if type(value) not in _SIMPLE:
            _check_value(name, value)
    for name in ("CC", "BCC"):  # the broker closes the channel over anything else
        keys = table.get(name, [])
        if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
            raise MessageInvalidError(f"header {name!r} is a list of routing keys, not {type(keys).__name__}")
    try:
        size = _encoded_size(table)
    except MessageInvalidError:
        raise MessageInvalidError(header_problem(table)) from None
    if size > MAX_HEADERS_SIZE:
        raise MessageTooLargeError(f"the headers take {size} bytes, the limit is {MAX_HEADERS_SIZE}")
    return table


def _check_value(name: str, value: object) -> None:
    """Refuse a number that RabbitMQ closes the connection over, and what is too deep to be read."""
    if is_too_deep(value):
        raise MessageInvalidError(
            f"header {name!r} contains itself, or is nested more than {MAX_DEPTH} levels deep, which is not read: "
            f"send it in the body"
        )
    place = next(not_finite(value), None)
    if place is not None:
        where = f" at {quoted('.'.join(place))}" if place else ""
        raise MessageInvalidError(
            f"header {name!r} is NaN or infinite{where}, which no broker takes: leave it out, or send a text"
        )


def _encoded_size(table: Mapping[str, object]) -> int:
    try:
        return len(encode_table(table))
    except Exception:  # noqa: BLE001 - py-amqp raises many kinds
        raise MessageInvalidError("AMQP cannot carry the headers") from None  # py-amqp's text quotes values
