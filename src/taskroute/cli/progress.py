"""Progress: one line for people at a terminal, which is written over about once a second."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Final, TextIO

from taskroute.cli.report import Report

CLEAR_LINE: Final = "\r\x1b[K"
_TICK: Final = 0.9


def is_watched(stream: TextIO | None = None) -> bool:
    """Return whether somebody looks at what is written to stderr, on a terminal that can write over a line."""
    stream = sys.stderr if stream is None else stream
    try:
        return stream is not None and stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:  # it is closed
        return False


class Progress:
    """Shows what reports say, once a second at most. One thread calls it.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._handled = 0
        self._at = time.monotonic() - _TICK

    def show(self, reports: Sequence[Report], wanted: int) -> None:
        """Write the line anew."""
        now, handled = time.monotonic(), sum(report.handled for report in reports)
        if now - self._at < _TICK:
            return
        rate = max(0, handled - self._handled) / max(now - self._at, 0.001)  # a new process counts from 0
        self._handled, self._at = handled, now
        line = progress_line(reports, wanted=wanted, rate=rate)
        self._write(CLEAR_LINE + line[: shutil.get_terminal_size().columns - 1])

    def close(self) -> None:
        """Leave the line."""
        self._write(CLEAR_LINE)

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            return  # the terminal has gone


def progress_line(reports: Sequence[Report], *, wanted: int, rate: float) -> str:
    """Return what is told in a line, the most important first.

    >>> progress_line([Report(live=True, ready=True, handled=12, failed=1, waiting=5)], wanted=1, rate=6)
    'ready, 12 handled (6/s), 1 failed, 5 waiting'
    """
    ready = sum(report.ready for report in reports)
    state = f"{ready} of {wanted} ready" if wanted > 1 else "ready" if ready else _why_not(reports)
    handled, failed = sum(report.handled for report in reports), sum(report.failed for report in reports)
    parts = [state, f"{handled} handled ({rate:.0f}/s)", f"{failed} failed"]
    waiting = [report.waiting for report in reports if report.waiting is not None]
    return ", ".join([*parts, f"{waiting[-1]} waiting"] if waiting else parts)


def _why_not(reports: Sequence[Report]) -> str:
    reasons = [reason for report in reports for reason in report.reasons]
    return f"not ready ({reasons[0]})" if reasons else "not ready"
