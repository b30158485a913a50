"""What the command line says on stderr."""

from __future__ import annotations

import pytest

from taskroute.cli.terminal import complain


def test_complaint_is_one_line_without_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong may quote a URL: a spec's name, an answer of the broker."""
    complain("stats", "nothing at\namqp://shop:hidden@rabbit/\x1b[2J")

    (line,) = capsys.readouterr().err.splitlines()
    assert line == "taskroute stats: nothing at amqp://shop:***@rabbit/\\x1b[2J"
