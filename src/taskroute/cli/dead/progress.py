"""Progress: how many letters are done, in one line of a terminal, and at the end of an interrupted run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from taskroute.cli.progress import CLEAR_LINE, is_watched
from taskroute.cli.terminal import complain

_TICK: Final = 0.2


class Counted:
    """Counts letters that are done, and shows it where somebody looks."""

    def __init__(self) -> None:
        self._done = self._of = 0
        self._is_watched = is_watched()
        self._shown_at = 0.0

    def __call__(self, done: int, of: int) -> None:
        """Take note of one more."""
        self._done, self._of = done, of
        if self._is_watched and time.monotonic() - self._shown_at >= _TICK:
            self._shown_at = time.monotonic()
            print(f"{CLEAR_LINE}{done:,} of {of:,} done", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line."""
        if self._is_watched:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)

    def tell_interrupt(self) -> None:
        """Say how far it came."""
        complain("dead", f"interrupted: {self._done:,} of {self._of:,} letters are done, the others stay")


@contextmanager
def counted() -> Iterator[Counted]:
    """Count for as long as the block takes. What an interrupt ends is told."""
    progress = Counted()
    try:
        yield progress
    except KeyboardInterrupt:
        progress.close()
        progress.tell_interrupt()
        raise
    else:
        progress.close()
