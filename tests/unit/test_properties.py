"""Properties: what is published is checked, and what is republished is made to fit."""

from __future__ import annotations

import enum
import math
import re
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr

from taskroute import MessageInvalidError, MessageTooLargeError
from taskroute.broker.encoding import publish_frames
from taskroute.broker.header_table import encode_table, read_properties
from taskroute.broker.properties import MAX_HEADERS_SIZE, encode_properties, passed_on, with_headers


def encoded(**headers: Any) -> Any:
    return encode_properties(message_id="m", content_type="c", headers=headers)["application_headers"]


def republished(headers: dict[str, Any], **frame: int) -> Any:
    return passed_on({"message_id": "m", "application_headers": headers}, **frame)["application_headers"]


def test_headers_beyond_the_size_limit_are_refused() -> None:
    room = MAX_HEADERS_SIZE - 4 - len("\x01x") - len("S") - 4  # lengths of table and text, name, type
    assert encoded(x="v" * room)

    with pytest.raises(MessageTooLargeError, match=f"{MAX_HEADERS_SIZE + 1} bytes, the limit is {MAX_HEADERS_SIZE}"):
        encoded(x="v" * (room + 1))


@pytest.mark.parametrize("keys", ["a.b", [1], {"a": 1}, 7])
@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_cc_must_be_a_list_of_routing_keys(name: str, keys: object) -> None:
    with pytest.raises(MessageInvalidError, match="list of routing keys"):
        encoded(**{name: keys})

    assert encoded(**{name: ["a.b"]}) == {name: ["a.b"]}


def test_headers_that_fit_are_passed_on_unchanged() -> None:
    headers = {"x-tenant": "acme", "x-taskroute-reason": "rejected", "deep": [{"a": None}]}

    assert republished(headers) == headers


@pytest.mark.parametrize("foreign", ["x" * 200_000, object(), 2**80])
def test_foreign_headers_are_dropped_when_they_cannot_be_sent(foreign: object) -> None:
    """The message is republished with the reserved headers and the number of those dropped."""
    ours = {"x-taskroute-reason": "too_large", "x-taskroute-original-cc": ["a"]}

    assert republished({**ours, "big": foreign}) == {**ours, "x-taskroute-headers-dropped": 1}


def test_original_cc_is_dropped_too_when_it_is_too_large() -> None:
    """Original headers over the limit would keep the message from being republished."""
    ours = {"x-taskroute-reason": "too_large"}
    headers = {**ours, "x-taskroute-original-cc": ["victim"] * 20_000, "a": 1}

    assert republished(headers) == {**ours, "x-taskroute-headers-dropped": 2}


def test_traceback_and_text_of_an_error_are_dropped_before_any_other_header() -> None:
    """The log has them as well; what somebody else has written is nowhere else."""
    told = {"x-taskroute-error-text": "t" * 500, "x-taskroute-error-traceback": "f" * 4000}
    kept = {"own": "o" * 2000, "x-taskroute-error": "e" * 100}

    assert republished({**kept, **told}, frame_max=4096) == {
        **kept,
        "x-taskroute-error-text": "t" * 500,
        "x-taskroute-headers-dropped": 1,
    }
    assert republished({**kept, "other": "o" * 1000, **told}, frame_max=4096) == {
        **kept,
        "other": "o" * 1000,
        "x-taskroute-headers-dropped": 2,
    }


def test_name_of_the_handler_is_dropped_before_what_another_sender_wrote() -> None:
    kept = {"own": "o" * 3000, "x-taskroute-error": "e" * 100}

    assert republished({**kept, "x-taskroute-handler": "h" * 500}, frame_max=3800) == {
        **kept,
        "x-taskroute-headers-dropped": 1,
    }


def test_least_important_headers_are_dropped_until_they_fit_a_frame() -> None:
    """Those of others go first, the largest one foremost; where the message belongs stays whatever its size."""
    needed = {f"x-taskroute-{name}": "n" * 200 for name in ("attempt", "queue", "exchange", "routing-key", "reason")}
    error = {"x-taskroute-error": "e" * 500}
    original = {"x-taskroute-original-cc": ["c" * 200] * 5}
    foreign = {"small": "s" * 100, "large": "l" * 3000, "middle": "m" * 900}
    everything = {**foreign, **original, **error, **needed}

    dropped = [set(everything) - set(republished(everything, frame_max=frame)) for frame in (8192, 4608, 3250, 1800)]

    assert dropped == [
        set(),
        {"large"},
        {"large", "middle", "small"},
        {"large", "middle", "small", "x-taskroute-original-cc", "x-taskroute-error"},
    ]


@pytest.mark.parametrize("frame_max", [4096, 8192, 131_072])
@pytest.mark.parametrize("count", [1, 40])
def test_properties_that_are_passed_on_fit_into_a_frame(frame_max: int, count: int) -> None:
    """At the very limit, with every other property at its longest."""
    texts = dict.fromkeys(("message_id", "correlation_id", "type", "reply_to", "app_id"), "t" * 255)
    for size in range(frame_max // count - 120, frame_max // count):
        headers = {"x-taskroute-attempt": 1, **{f"h{number}": "v" * size for number in range(count)}}

        properties = passed_on({**texts, "application_headers": headers}, frame_max)

        frames = publish_frames(1, frame_max, "", "key", True, properties, b"")
        assert frames


def test_headers_beyond_the_brokers_frame_are_refused_by_name() -> None:
    with pytest.raises(MessageTooLargeError, match="frame_max is 4096"):
        publish_frames(1, 4096, "", "key", True, {"application_headers": {"x": "v" * 4100}}, b"")


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (math.nan, ""),
        (math.inf, ""),
        ([1.0, -math.inf], " at 1"),
        ({"of": [{"a": math.nan}]}, " at of.0.a"),
        ((math.nan,), " at 0"),
    ],
)
def test_header_that_is_not_finite_is_refused_by_name(value: Any, where: str) -> None:
    with pytest.raises(MessageInvalidError, match=f"header 'score' is NaN or infinite{where}, which no broker takes"):
        encoded(tenant="acme", score=value)
    with pytest.raises(MessageInvalidError, match="'score' is NaN or infinite"):
        with_headers({"application_headers": {"a": 1}}, {"score": value})


class Colour(enum.Enum):
    RED = "s3cret"


HAS = "AMQP has text, numbers, bool, bytes, datetime, None, lists and dicts of them: send"
itself: list[Any] = []
itself.append({"a": itself})


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (date(2000, 1, 1), f"is a date: {HAS} value.isoformat()"),
        ([1, {"a": UUID(int=7)}], f"is a UUID at 1.a: {HAS} str(value)"),
        (Colour.RED, f"is a Colour: {HAS} value.value"),
        ({"s3cret"}, f"is a set: {HAS} list(value)"),
        (2**63, f"is an int beyond 64 bits: {HAS} str(value)"),
        (Decimal("NaN"), "is NaN or infinite, which no broker takes"),
        (Decimal("1e99"), f"is a Decimal beyond AMQP's 32 bits: {HAS} str(value)"),
        (datetime(1960, 1, 1, tzinfo=UTC), f"is a datetime before 1970: {HAS} value.isoformat()"),
        (timedelta(1), f"is a timedelta: {HAS} value.total_seconds()"),
        (bytearray(b"s3cret"), f"is a bytearray: {HAS} bytes(value)"),
        (SecretStr("s3cret"), f"is a SecretStr: {HAS} a text"),
        ([{1: "s3cret"}], "has a key that is an int at 0: AMQP has texts of 255 bytes at most"),
        ({"k" * 256: 1}, "has a key that is a str: AMQP has texts of 255 bytes at most"),
        (itself, "contains itself, or is nested more than 100 levels deep"),
    ],
)
def test_header_that_amqp_does_not_have_is_refused_by_name(value: Any, problem: str) -> None:
    """On one line, with what it is and the way out, and never with its value."""
    with pytest.raises(MessageInvalidError, match=re.escape(f"header 'h' {problem}")) as refused:
        encoded(tenant="acme", h=value)

    assert not re.search("s3cret|1960|\n", str(refused.value))


@pytest.mark.parametrize(("levels", "is_sent"), [(100, True), (101, False), (500, False), (5000, False)])
def test_header_is_sent_as_deep_as_it_is_read(levels: int, is_sent: bool) -> None:
    value: Any = "s3cret"
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]

    with nullcontext() if is_sent else pytest.raises(MessageInvalidError, match=r"header 'h' .* 100 levels deep"):
        assert read_properties(publish_properties(encoded(h=value)), 0)["application_headers"] == {"h": value}


def publish_properties(headers: dict[str, object]) -> bytes:
    return b"\x20\x00" + encode_table(headers)


def test_header_that_contains_itself_is_left_out_of_a_republished_message() -> None:
    assert republished({"h": itself, "x-taskroute-reason": "rejected"}) == {
        "x-taskroute-reason": "rejected",
        "x-taskroute-headers-dropped": 1,
    }


def test_finite_headers_of_any_kind_are_taken() -> None:
    headers = {"ratio": 0.5, "list": [1.5, "a", None], "table": {"b": 1e300}, "amount": Decimal("1.5")}

    assert encoded(**headers) == headers


def test_header_that_is_not_finite_is_left_out_of_a_republished_message() -> None:
    """It could end the connection, and the message with it, again and again."""
    headers = {"score": [math.nan], "x-taskroute-reason": "rejected"}

    assert republished(headers) == {"x-taskroute-reason": "rejected", "x-taskroute-headers-dropped": 1}
