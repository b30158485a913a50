"""Header tables: a value that cannot be decoded costs only itself, and is written back as the bytes that it came as."""

from __future__ import annotations

import struct
from datetime import datetime
from typing import Annotated, Any

import pytest
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from taskroute import Header, Message
from taskroute.broker.encoding import publish_frames
from taskroute.broker.frames import Content
from taskroute.broker.header_table import encode_table
from taskroute.broker.properties import encode_properties, passed_on
from taskroute.handlers.arguments import plan_arguments
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.keys.pattern import RoutingPattern
from taskroute.message.delivery import Delivery
from taskroute.message.undecoded import UndecodedText, UndecodedValue


def long(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def item(name: bytes, kind: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + kind + value


def nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = item(b"n", b"F", long(value))
    return value


def received(flags: int, properties: bytes) -> Content:
    content = Content()
    content.inbound_header(struct.pack(">HHQH", 60, 0, 0, flags) + properties)
    return content


TOO_LATE = b"T" + struct.pack(">Q", 1_702_367_744_000)
TENANT = item(b"tenant", b"S", long(b"acme"))
LAST = item(b"last", b"I", struct.pack(">i", 7))
BAD = {
    "a time in milliseconds": TOO_LATE,
    "a time before 1970, of Java": b"T" + struct.pack(">Q", 2**64 - 1000),
    "an array with such a time": b"A" + long(b"I" + struct.pack(">i", 1) + TOO_LATE),
    "a table with such a time": b"F" + long(item(b"t", TOO_LATE[:1], TOO_LATE[1:]) + TENANT),
    "a table that ends within a name": b"F" + long(b"\x09na"),
    "a type that nobody knows, in an array": b"A" + long(b"Z\x01\x02"),
    "a text longer than its table": b"F" + long(item(b"t", b"S", b"\x00\x00\x01\x00x")),
    "a thousand tables": b"F" + long(nested(1000)),
}


@pytest.mark.parametrize("name", BAD)
def test_value_that_cannot_be_decoded_costs_only_itself(name: str) -> None:
    """The id, the type and the other headers stay, and what is written back is what came."""
    table = TENANT + b"\x03bad" + BAD[name] + LAST

    content = received(0x2000 | 0x0080 | 0x0020, long(table) + b"\x02id" + b"\x04type")

    assert content.malformed is None
    assert (content.properties["message_id"], content.properties["type"]) == ("id", "type")
    headers = content.properties["application_headers"]
    assert list(headers) == ["tenant", "bad", "last"]
    assert (headers["tenant"], headers["last"]) == ("acme", 7)
    assert encode_table(headers) == long(table)


@pytest.mark.parametrize(
    ("kind", "code", "value"),
    [
        ("b", "b", -5),
        ("B", "B", 200),
        ("s", "h", -300),
        ("u", "H", 60_000),
        ("I", "i", -7),
        ("i", "I", 2**31),
        ("l", "q", -1000),
        ("L", "q", -1000),
        ("f", "f", 0.5),
        ("d", "d", -0.5),
    ],
)
def test_number_of_each_type_is_read_as_its_sender_meant_it(kind: str, code: str, value: float) -> None:
    """Other clients choose the smallest type. An older py-amqp reads some as another number, or as a text."""
    table = item(b"number", kind.encode(), struct.pack(f">{code}", value)) + LAST

    assert received(0x2000, long(table)).properties["application_headers"] == {"number": value, "last": 7}


def test_type_that_nobody_knows_takes_the_rest_of_its_table() -> None:
    table = TENANT + item(b"bad", b"Z", b"\x01\x02") + LAST

    headers = received(0x2000, long(table)).properties["application_headers"]

    assert headers == {"tenant": "acme", "bad": UndecodedValue(b"Z", b"\x01\x02" + LAST)}
    assert encode_table(headers | {"more": 1}) == long(table + item(b"more", b"I", struct.pack(">i", 1)))


def test_text_that_is_not_utf_8_is_escaped_and_written_back_as_it_came() -> None:
    """In a property and in the name of a header."""
    table = item(b"\xff\xfe", b"S", long(b"x"))

    properties = received(0x8000 | 0x2000 | 0x0080, b"\x02\xfe." + long(table) + b"\x03i\xffd").properties

    assert properties["message_id"] == "i\\xffd"
    assert properties["application_headers"] == {"\\xff\\xfe": "x"}
    (frames,) = publish_frames(1, 4096, "", "q", True, properties, b"")
    assert b"\x02\xfe." + long(table) + b"\x03i\xffd" in frames


def test_properties_that_end_too_early_make_the_message_malformed() -> None:
    content = received(0x2000 | 0x0080, b"\x00\x00\x10\x00" + TENANT + b"\x02id")

    assert content.malformed == ("invalid_header", "headers: ValueError")
    assert content.properties == {}


values: st.SearchStrategy[Any] = st.recursive(
    st.text(max_size=3)
    | st.integers(-(2**40), 2**40)
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(lambda at: at.replace(microsecond=0)),  # noqa: DTZ001
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=3).filter(lambda name: name != "bad"), values, max_size=3))
def test_values_beside_one_that_cannot_be_decoded_are_read_as_ever(headers: dict[str, Any]) -> None:
    table = dumps("F", [headers])[4:] + item(b"bad", TOO_LATE[:1], TOO_LATE[1:])

    read = received(0x2000, long(table)).properties["application_headers"]

    assert read == {**headers, "bad": UndecodedValue(b"T", TOO_LATE[1:])}
    assert passed_on({"application_headers": read}) == {"application_headers": read}
    assert encode_table(read) == long(table)


def test_value_that_cannot_be_decoded_is_named_to_who_asks_for_it() -> None:
    def asks(body: bytes, sent: Annotated[datetime, Header("sent")]) -> None: ...
    def asks_for_another(body: bytes, tenant: Annotated[str, Header("tenant")], message: Message) -> None: ...

    headers = received(0x2000, long(TENANT + b"\x04sent" + TOO_LATE)).properties
    delivery = Delivery(queue="q", exchange="", routing_key="a", body=b"", properties=headers)

    bound = plan_arguments(asks_for_another, RoutingPattern("#")).bind(delivery, {})
    with pytest.raises(InvalidArgumentError, match="sent: a value of AMQP's type 'T' cannot be decoded") as refused:
        plan_arguments(asks, RoutingPattern("#")).bind(delivery, {})

    assert bound["tenant"] == "acme"
    assert bound["message"].headers["sent"] == UndecodedValue(b"T", TOO_LATE[1:])  # type: ignore[attr-defined]
    assert refused.value.reason == "invalid_header"


def test_what_was_not_decoded_can_be_published_again() -> None:
    given = {"sent": UndecodedValue(b"T", TOO_LATE[1:]), UndecodedText.of(b"\xff"): 1}

    properties = encode_properties(headers=given, message_id="1", content_type="a/b")

    assert properties["application_headers"] == given
