"""The line of progress: only where it can be written over, within the width, and without failing."""

from __future__ import annotations

import io

import pytest

from taskroute.cli.progress import CLEAR_LINE, Progress, is_watched
from taskroute.cli.report import Report


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


BUSY = Report(live=True, ready=True, handled=123_456, failed=7, waiting=1_000_000)


@pytest.mark.parametrize(("name", "expected"), [("xterm", True), ("dumb", False)])
def test_only_a_terminal_that_can_clear_a_line_is_watched(
    name: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", name)

    assert is_watched(Terminal()) is expected
    assert is_watched(io.StringIO()) is False


def test_line_fits_into_forty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    terminal = Terminal()
    progress = Progress(terminal)

    progress.show([BUSY, BUSY], 2)

    shown = terminal.getvalue().removeprefix(CLEAR_LINE)
    assert shown.startswith("2 of 2 ready, 246912 handled")
    assert len(shown) < 40
    assert "\n" not in shown


def test_terminal_that_has_gone_ends_nothing() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    terminal.close()

    progress.show([BUSY], 1)
    progress.close()


def test_closed_stderr_is_not_watched() -> None:
    closed = io.StringIO()
    closed.close()

    assert not is_watched(closed)
