"""Report: what a process says of the worker in it, to its parent or to whoever watches."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """How a worker is, and what it has done.

    `live`, `ready`, `reasons`, `warnings` and `connected` as in `Health`; the counts since its start, of attempts.
    `waiting`: messages that are ready in its queues, None if that is not known. `drain_seconds`: what its end takes at
    most.
    """

    live: bool
    ready: bool
    connected: bool = False
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    handled: int = 0
    failed: int = 0
    waiting: int | None = None
    drain_seconds: float = 0.0


NOT_YET = Report(live=True, ready=False, reasons=("starting",))
"""Of a process that has not said anything yet."""
