"""Alone: a service in this process, with nobody above it: what else it does while it runs."""

from __future__ import annotations

import math
import sys
import threading
import time
from typing import Any, Final

from taskroute.cli.probes.answers import of_one
from taskroute.cli.progress import Progress
from taskroute.cli.serving.metrics import exposition
from taskroute.cli.serving.serving import Serving

_TICK: Final = 1.0


class Answers:
    """What a server of probes asks of a process. Called on its threads."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving

    def health(self) -> dict[str, Any]:
        """Return what `/live` and `/ready` show."""
        return of_one(self._serving.report())

    def metrics(self) -> str:
        """Return what `/metrics` shows."""
        return exposition(None)


def run_alone(serving: Serving, *, max_time: float | None, is_watched: bool) -> int:
    """Run it until a signal, or until its limits are reached; return the exit code. In the main thread."""
    ended = threading.Event()
    attendant = threading.Thread(
        target=_attend, args=(serving, ended, max_time, is_watched), name="taskroute-attendant", daemon=True
    )
    attendant.start()
    try:
        return serving.run()
    finally:
        ended.set()
        attendant.join()


def _attend(serving: Serving, ended: threading.Event, max_time: float | None, is_watched: bool) -> None:
    """Let it drain when its time is over, and show its progress. On a thread of its own."""
    until = math.inf if max_time is None else time.monotonic() + max_time
    progress = Progress(sys.stderr) if is_watched else None
    while not ended.wait(_pause(until - time.monotonic(), is_watched=is_watched)):
        if time.monotonic() >= until:
            serving.drain()
            until = math.inf
        if progress is not None:
            progress.show([serving.report(with_depths=True)], 1)
    if progress is not None:
        progress.close()


def _pause(left: float, *, is_watched: bool) -> float | None:
    """Return the seconds until there is something to do; None: not before the end."""
    pause = max(0.0, min(left, _TICK if is_watched else math.inf))
    return None if pause == math.inf else min(pause, threading.TIMEOUT_MAX)
