"""How long awaited events take: a report for people, on which no test depends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.kit.waiting import DEADLINE


class Stopwatch:
    """Measures how long awaited events take, for the report at the end of the run.

    Args:
        note: takes a line of the report.
    """

    def __init__(self, note: Callable[[str], object]) -> None:
        self.note = note

    def within(self, bound: float, event: Callable[[float], object], what: str) -> None:
        """Wait for an event. `bound` is the promise in seconds; a machine that is busy may take a multiple of that."""
        began, deadline = time.monotonic(), max(3 * bound, DEADLINE)
        assert event(deadline), f"{what}: not within {deadline} s"
        self.note(f"{what}: {time.monotonic() - began:.2f} s (promise: {bound:g} s)")

    @contextmanager
    def timed(self, bound: float, what: str) -> Iterator[None]:
        """Note how long the block takes, which has a deadline of its own."""
        began = time.monotonic()
        yield
        self.note(f"{what}: {time.monotonic() - began:.2f} s (promise: {bound:g} s)")
