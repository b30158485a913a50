"""Phase: what a worker is doing with its life."""

from __future__ import annotations

from typing import Final, Literal

from taskroute.state_table import StateTable

Phase = Literal["new", "running", "draining", "stopped"]
"""Not started; consuming; consuming no more, while running handlers may finish; done for good."""

PhaseEvent = Literal["start", "stop", "drained"]

PHASE_MOVES: Final[StateTable[Phase, PhaseEvent]] = StateTable(
    "worker",
    {
        ("new", "start"): "running",
        ("new", "stop"): "stopped",
        ("running", "stop"): "draining",
        ("draining", "drained"): "stopped",
    },
)
