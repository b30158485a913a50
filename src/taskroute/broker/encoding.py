"""Encoding: basic.publish and basic.ack, which every message costs, and basic.nack, as the bytes of their frames.

py-amqp takes several times as long for the same bytes, mostly for what the first two do not need. It has no basic.nack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from taskroute.broker.header_table import encode_table
from taskroute.errors import MessageInvalidError, MessageTooLargeError

_FRAME: Final = Struct(">BHI")  # type, channel, size of the payload
_FRAME_OVERHEAD: Final = 8
_END: Final = b"\xce"
_METHOD, _CONTENT_HEADER, _CONTENT_BODY = 1, 2, 3
_PUBLISH: Final = b"\x00\x3c\x00\x28\x00\x00"  # class basic, method publish, a reserved field
_CONTENT: Final = Struct(">HHQH")  # class, weight, size of the body, flags of the properties
_BASIC: Final = 60
_SETTLEMENT: Final = Struct(">BHIHHQBB")
_ACK_METHOD, _NACK_METHOD, _SETTLEMENT_SIZE = 80, 120, 13
_MULTIPLE, _REQUEUE = 1, 2


def publish_frames(
    channel: int,
    frame_max: int,
    exchange: str,
    routing_key: str,
    mandatory: bool,
    properties: Mapping[str, object],
    body: bytes,
) -> Sequence[bytes]:
    """Return the frames of a publish: as one piece, or the frames of a long body as pieces of their own.

    Raises:
        MessageInvalidError: AMQP cannot carry a property.
        MessageTooLargeError: properties and headers do not fit into a frame.
    """
    flags, values = _properties(properties)
    method = b"".join((_PUBLISH, _short(exchange), _short(routing_key), b"\1" if mandatory else b"\0"))
    header = _CONTENT.pack(_BASIC, 0, len(body), flags) + values
    size = frame_max - _FRAME_OVERHEAD
    if len(header) > size:
        raise MessageTooLargeError(
            f"properties and headers take {len(header)} bytes, and the broker takes {size} in a frame "
            f"(its frame_max is {frame_max}): send less in headers, or raise frame_max in the broker's configuration"
        )
    start = _frame(_METHOD, channel, method) + _frame(_CONTENT_HEADER, channel, header)
    frames = [_frame(_CONTENT_BODY, channel, body[at : at + size]) for at in range(0, len(body), size)]
    return (start, *frames) if len(frames) > 1 else (b"".join((start, *frames)),)


def ack_frames(channel: int, up_to: int, tags: Iterable[int]) -> bytes:
    """Return acknowledgements: of every delivery `up_to` a tag, 0 for none, and of single ones."""
    frames = [_settlement(channel, _ACK_METHOD, tag, 0) for tag in tags]
    return b"".join([_settlement(channel, _ACK_METHOD, up_to, _MULTIPLE), *frames] if up_to else frames)


def requeue_frames(channel: int, up_to: int, tags: Iterable[int]) -> bytes:
    """Return negative acknowledgements that put back deliveries: every one `up_to` a tag, 0 for none, and single ones.

    Not basic.reject: from RabbitMQ 4.3 on that counts as a failed delivery, and this does not.
    """
    frames = [_settlement(channel, _NACK_METHOD, tag, _REQUEUE) for tag in tags]
    if up_to:
        frames.insert(0, _settlement(channel, _NACK_METHOD, up_to, _MULTIPLE | _REQUEUE))
    return b"".join(frames)


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"".join((_FRAME.pack(kind, channel, len(payload)), payload, _END))


def _settlement(channel: int, method: int, tag: int, flags: int) -> bytes:
    return _SETTLEMENT.pack(_METHOD, channel, _SETTLEMENT_SIZE, _BASIC, method, tag, flags, _END[0])


def _properties(properties: Mapping[str, object]) -> tuple[int, bytes]:
    flags, values = 0, []
    for name, flag, encode in _ENCODERS:
        value = properties.get(name)
        if value is not None:
            flags |= flag
            try:
                values.append(encode(value))
            except Exception as error:
                raise MessageInvalidError(f"{name}: AMQP cannot carry it: {type(error).__name__}") from error
    return flags, b"".join(values)


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes((len(encoded),)) + encoded


def _octet(number: int) -> bytes:
    return bytes((number,))


_ENCODERS: Final[Sequence[tuple[str, int, Callable[[Any], bytes]]]] = (
    ("content_type", 1 << 15, _short),
    ("content_encoding", 1 << 14, _short),
    ("application_headers", 1 << 13, encode_table),
    ("delivery_mode", 1 << 12, _octet),
    ("priority", 1 << 11, _octet),
    ("correlation_id", 1 << 10, _short),
    ("reply_to", 1 << 9, _short),
    ("expiration", 1 << 8, _short),
    ("message_id", 1 << 7, _short),
    ("timestamp", 1 << 6, Struct(">Q").pack),
    ("type", 1 << 5, _short),
    ("user_id", 1 << 4, _short),
    ("app_id", 1 << 3, _short),
    ("cluster_id", 1 << 2, _short),
)
"""The properties of a message in AMQP's order."""
