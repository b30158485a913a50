"""What the command line says of the nodes that it is about to talk to. No connection is made."""

from __future__ import annotations

import pytest

from taskroute.cli.broker import nodes_of


def test_password_in_the_clear_to_a_broker_is_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """The library's log says it too, but commands keep that off the terminal."""
    nodes_of(["amqp://shop:hidden@broker.example/", "amqp://shop:hidden@127.0.0.1/"], None)

    warned = "taskroute: amqp://shop@broker.example:5672/: the password and every message travel in the clear; "
    assert capsys.readouterr().err == f"{warned}use amqps://\n"
