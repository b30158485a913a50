"""The check of letters finds wrong reasons, letters that do not belong there, and those that came back late."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.faults.ledger import body_of
from tests.faults.letters import Lateness, Letter, lateness, wrong


def test_letters_of_messages_that_fail_for_good_are_right() -> None:
    letters = [Letter(body_of(number), "handler_error", 3) for number in ("7", "17", "7")]
    assert wrong(letters, belongs=lambda number: number.endswith("7"), attempts=3) == []


@pytest.mark.parametrize(
    ("letter", "problem"),
    [
        (Letter(body_of("7"), "invalid_body", 3), "REASON: 7 says 'invalid_body' after attempt 3"),
        (Letter(body_of("7"), "handler_error", 2), "REASON: 7 says 'handler_error' after attempt 2"),
        (Letter(body_of("7"), None, None), "REASON: 7 says None after attempt None"),
        (Letter(body_of("8"), "rejected", 3), "MISPLACED: 8 is a dead letter (rejected), and would have succeeded"),
    ],
)
def test_wrong_reason_attempt_and_place_are_found(letter: Letter, problem: str) -> None:
    assert wrong([letter], belongs=lambda number: number.endswith("7"), attempts=3) == [problem]


def test_letters_that_come_back_long_after_their_delay_are_counted(tmp_path: Path) -> None:
    """Processes share the messages; a second copy of an attempt makes a letter no later."""
    (tmp_path / "1.ledger").write_text(
        "attempted 1 10 0 99.0\nstarted 1 1 1 100.0\nraised 1 1 1 100.5\n"
        "started 2 1 1 100.0\nraised 2 1 1 100.0\nstarted 3 1 1 100.0\nraised 3 1 1 100.0\n"
    )
    (tmp_path / "2.ledger").write_text("started 1 2 2 107.5\nstarted 2 2 2 100.5\nstarted 2 2 2 190.0\n")

    assert lateness(tmp_path, delays=(1.0, 2.0)) == Lateness(came_back=2, late=1, longest=6.0)
