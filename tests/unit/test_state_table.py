"""StateTable, and that the page about the architecture shows the tables of the code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from taskroute.broker.link import LINK_MOVES
from taskroute.broker.moving import MOVING_MOVES
from taskroute.broker.roles.consumed_queue import QUEUE_MOVES
from taskroute.broker.roles.submission import SUBMISSION_MOVES
from taskroute.cli.supervisor.child_phase import CHILD_MOVES
from taskroute.handling.circuit_breaker import CIRCUIT_MOVES
from taskroute.state_table import IllegalMoveError, StateTable
from taskroute.worker.phase import PHASE_MOVES

PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"
TABLES: Mapping[str, StateTable[Any, Any]] = {
    "new": PHASE_MOVES,
    "down": LINK_MOVES,
    "left": QUEUE_MOVES,
    "queued": SUBMISSION_MOVES,
    "staying": MOVING_MOVES,
    "closed": CIRCUIT_MOVES,
    "starting": CHILD_MOVES,
}
"""By the state in which each machine begins."""

tables = pytest.mark.parametrize(("start", "table"), TABLES.items(), ids=[table.subject for table in TABLES.values()])


def markdown(table: StateTable[Any, Any]) -> str:
    """Return the table as the page shows it: a row for each state with a way out, a column for each event."""
    states, events = (list(dict.fromkeys(names)) for names in zip(*table.moves, strict=True))
    rows = [[table.subject, *(f"`{event}`" for event in events)], ["---"] * (len(events) + 1)]
    rows += [[f"**{state}**", *(table.moves.get((state, event), "") for event in events)] for state in states]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def test_move_missing_from_the_table_raises_with_state_and_event() -> None:
    door = StateTable("door", {("shut", "open"): "ajar"})
    assert door.after("shut", "open") == "ajar"

    with pytest.raises(IllegalMoveError, match="a door that is ajar cannot open"):
        door.after("ajar", "open")


def test_table_ignores_later_changes_of_its_mapping() -> None:
    moves = {("shut", "open"): "ajar"}
    door = StateTable("door", moves)

    moves.clear()

    assert door.after("shut", "open") == "ajar"


@tables
def test_every_state_of_a_table_can_be_reached(start: str, table: StateTable[str, str]) -> None:
    reached, pending = {start}, [start]

    while pending:
        here = pending.pop()
        following = {after for (state, _), after in table.moves.items() if state == here} - reached
        reached |= following
        pending += following

    assert reached == {state for state, _ in table.moves} | set(table.moves.values())


@tables
def test_architecture_shows_the_table_of_the_code(start: str, table: StateTable[str, str]) -> None:
    assert markdown(table) in PAGE.read_text(), f"docs/architecture.md must have this table:\n{markdown(table)}"
