"""Properties: what is published is checked, and what is republished is made to fit."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest

from taskroute import MessageInvalidError, MessageTooLargeError
from taskroute.broker.encoding import publish_frames
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


def test_finite_headers_of_any_kind_are_taken() -> None:
    headers = {"ratio": 0.5, "list": [1.5, "a", None], "table": {"b": 1e300}, "amount": Decimal("1.5")}

    assert encoded(**headers) == headers


def test_header_that_is_not_finite_is_left_out_of_a_republished_message() -> None:
    """It could end the connection, and the message with it, again and again."""
    headers = {"score": [math.nan], "x-taskroute-reason": "rejected"}

    assert republished(headers) == {"x-taskroute-reason": "rejected", "x-taskroute-headers-dropped": 1}
