"""Letter: what tells one dead letter from another."""

from __future__ import annotations

from typing import Any

import pytest
from tests.kit.dead import letter

from taskroute.operate.dead_letters.letter import Letter, read_letter


def read(properties: dict[str, Any], body: bytes = b"{}", lies_in: str = "orders.dead") -> Letter:
    return read_letter(lies_in, ("", lies_in), properties, body)


ONE = read(letter(1))


@pytest.mark.parametrize(
    ("properties", "body"),
    [
        (letter(1, queue="invoices"), b"{}"),
        (letter(1, failed_at="2026-01-02T03:04:05.679+00:00"), b"{}"),
        ({**letter(1), "message_id": "m2"}, b"{}"),
        (letter(1), b"[]"),
    ],
)
def test_id_changes_with_queue_time_message_id_and_body(properties: dict[str, Any], body: bytes) -> None:
    assert read(properties, body).id != ONE.id


@pytest.mark.parametrize(
    ("properties", "lies_in"),
    [
        (letter(1, replays=2, reason="rejected", handler="shop.other"), "orders.dead"),
        ({**letter(1), "priority": 5}, "orders.dead"),
        (letter(1, failed_at="2026-01-02T04:04:05.678+01:00"), "orders.dead"),
        (letter(1), "graveyard"),
    ],
)
def test_id_stays_whatever_else_changes(properties: dict[str, Any], lies_in: str) -> None:
    """The same moment may be written otherwise, and a letter may have been moved."""
    assert read(properties, lies_in=lies_in).id == ONE.id


def test_id_tells_where_one_part_ends_and_the_next_begins() -> None:
    first = {**letter(1, queue="ab", failed_at=""), "message_id": "c"}
    second = {**letter(1, queue="a", failed_at=""), "message_id": "bc"}

    assert read(first).id != read(second).id
