"""Life: how a worker begins and ends, one caller at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskroute.errors import ClosedError
from taskroute.worker.phase import PHASE_MOVES, Phase, PhaseEvent


class Life:
    """Begins and ends a worker. Any thread may call, a signal's handler too.

    Callers take turns, so that whoever asks for the end returns when there is one, whoever has brought it about.
    A signal's handler that interrupts the caller whose turn it is would wait for itself: it only leaves word.

    Args:
        start: starts the threads; what it has done is undone where it raises.
        drain: ends them, and returns what hung. It may be interrupted, and is called again then.
    """

    def __init__(self, start: Callable[[], None], drain: Callable[[], list[str]]) -> None:
        self._start = start
        self._drain = drain
        self._turn = threading.RLock()
        self._depth = 0  # of callers on the thread whose turn it is
        self._phase: Phase = "new"
        self._has_begun = False
        self._is_end_asked = False

    @property
    def phase(self) -> Phase:
        """What the worker is doing."""
        return self._phase

    def begin(self) -> bool:
        """Start the threads, and return whether they run now: not if the end was asked for before.

        Raises:
            ClosedError: it has begun before.
        """
        with self._taking_turn() as is_first:
            if self.phase == "stopped" and not self._has_begun:
                return False
            if self.phase != "new" or not is_first:
                raise ClosedError("a worker is started once: make a new one")
            self._start()
            self._has_begun = True
            self._move("start")
        if self._is_end_asked:
            self.end()
            return False
        return True

    def end(self) -> list[str]:
        """End what runs, and return what hung. If another caller does that already, wait for it and return nothing."""
        with self._taking_turn() as is_first:
            self._is_end_asked = True
            if not is_first or self.phase == "stopped":
                return []
            if self.phase == "new":
                self._move("stop")
                return []
            if self.phase == "running":  # or else an earlier call was interrupted in what follows
                self._move("stop")
            hung = self._drain()
            self._move("drained")
            return hung

    @contextmanager
    def _taking_turn(self) -> Iterator[bool]:
        """Wait for the caller's turn. False: it is this thread's already, and a signal has interrupted it."""
        with self._turn:
            self._depth += 1
            try:
                yield self._depth == 1
            finally:
                self._depth -= 1

    def _move(self, event: PhaseEvent) -> None:
        self._phase = PHASE_MOVES.after(self._phase, event)
