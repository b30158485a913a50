"""`taskroute schema --format definitions`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capsys, monkeypatch)


def test_definitions_are_for_the_virtual_host_that_is_named(line: CommandLine) -> None:
    plain = line.run("schema", "wiring:routes", "--format", "definitions")
    named = line.run("schema", "wiring:routes", "--format", "definitions", "--vhost", "shop")

    assert (plain.code, plain.err) == (0, "")
    assert {each["vhost"] for entities in json.loads(plain.out).values() for each in entities} == {"/"}
    assert named.out == plain.out.replace('"vhost": "/"', '"vhost": "shop"')


def test_what_definitions_leave_out_is_said_beside_them(line: CommandLine) -> None:
    line.write(
        "mine.py", "from wiring import *\nbox = QueueSpec(name='box', exclusive=True)\nt = Topology(queues=[box])\n"
    )

    ended = line.run("schema", "mine:t", "--format", "definitions")

    assert json.loads(ended.out) == {"exchanges": [], "queues": [], "bindings": []}
    assert ended.err == (
        "taskroute schema: not in the definitions: queue 'box' is exclusive: its connection declares it\n"
    )
