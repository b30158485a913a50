"""What is published is checked, and what is passed on is made to fit."""

from __future__ import annotations

from typing import Any

import pytest

from taskroute import MessageInvalidError, MessageTooLargeError
from taskroute.broker.properties import MAX_HEADERS_SIZE, encode_properties, passed_on


def encoded(**headers: Any) -> Any:
    return encode_properties(message_id="m", content_type="c", headers=headers)["application_headers"]


def handed_over(headers: dict[str, Any]) -> Any:
    return passed_on({"message_id": "m", "application_headers": headers})["application_headers"]


def test_headers_at_the_limit_and_beyond() -> None:
    room = MAX_HEADERS_SIZE - 4 - len("\x01x") - len("S") - 4  # lengths of table and text, name, type
    assert encoded(x="v" * room)
    with pytest.raises(MessageTooLargeError, match=f"{MAX_HEADERS_SIZE + 1} bytes, the limit is {MAX_HEADERS_SIZE}"):
        encoded(x="v" * (room + 1))


@pytest.mark.parametrize("keys", ["a.b", [1], {"a": 1}, 7])
@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_cc_is_a_list_of_keys(name: str, keys: object) -> None:
    with pytest.raises(MessageInvalidError, match="list of routing keys"):
        encoded(**{name: keys})
    assert encoded(**{name: ["a.b"]}) == {name: ["a.b"]}


def test_what_fits_is_passed_on_as_it_is() -> None:
    headers = {"x-tenant": "acme", "x-taskroute-reason": "rejected", "deep": [{"a": None}]}
    assert handed_over(headers) == headers


@pytest.mark.parametrize("foreign", ["x" * 200_000, object(), 2**80])
def test_headers_of_others_give_way_when_they_cannot_be_sent(foreign: object) -> None:
    ours = {"x-taskroute-reason": "too_large", "x-taskroute-original-cc": ["a"]}
    assert handed_over({**ours, "big": foreign}) == {**ours, "x-taskroute-headers-dropped": 1}


def test_originals_give_way_as_well_when_it_is_they_that_are_too_many() -> None:
    ours = {"x-taskroute-reason": "too_large"}
    headers = {**ours, "x-taskroute-original-cc": ["victim"] * 20_000, "a": 1}
    assert handed_over(headers) == {**ours, "x-taskroute-headers-dropped": 2}
