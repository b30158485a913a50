"""The phases of a child process, as its parent knows them."""

from __future__ import annotations

from typing import Final, Literal

from taskroute.state_table import StateTable

Phase = Literal["starting", "ready", "draining", "dead"]
PhaseEvent = Literal["serve", "drain", "exit"]

CHILD_MOVES: Final[StateTable[Phase, PhaseEvent]] = StateTable(
    "child process",
    {
        ("starting", "serve"): "ready",
        ("starting", "drain"): "draining",
        ("starting", "exit"): "dead",
        ("ready", "drain"): "draining",
        ("ready", "exit"): "dead",
        ("draining", "exit"): "dead",
    },
)
"""`serve`: it is ready for the first time. What it is right now stands in its last report."""
