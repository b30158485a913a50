"""Progress: how many letters are done, in one line of a terminal, and at the end of an interrupted run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from taskroute.cli.progress import CLEAR_LINE, is_watched
from taskroute.cli.signals import interrupting
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

    def tell_interrupt(self, more: str) -> None:
        """Say how far it came."""
        how_far = f"{self._done:,} of {self._of:,} letters are done, the others stay" if self._of else "nothing is done"
        complain("dead", f"interrupted: {how_far}{more}")


@contextmanager
def counted(more: Callable[[], str] = str) -> Iterator[Counted]:
    """Count for as long as the block takes. What an interrupt ends is told, SIGTERM too.

    Args:
        more: returns what else there is to say of an interrupted run.
    """
    progress = Counted()
    try:
        with interrupting():
            yield progress
    except KeyboardInterrupt as interrupt:
        progress.close()
        progress.tell_interrupt("".join((*(f"; {note}" for note in getattr(interrupt, "__notes__", ())), more())))
        raise
    else:
        progress.close()
