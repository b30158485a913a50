"""Properties: what is published is checked, and what is republished is made to fit."""

from __future__ import annotations

from typing import Any

import pytest

from taskroute import MessageInvalidError, MessageTooLargeError
from taskroute.broker.properties import MAX_HEADERS_SIZE, encode_properties, passed_on


def encoded(**headers: Any) -> Any:
    return encode_properties(message_id="m", content_type="c", headers=headers)["application_headers"]


def republished(headers: dict[str, Any]) -> Any:
    return passed_on({"message_id": "m", "application_headers": headers})["application_headers"]


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
