"""`taskroute schema --format definitions`, and `taskroute import` of a file."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

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


def test_virtual_host_that_a_format_does_not_know_is_refused(line: CommandLine) -> None:
    ended = line.run("schema", "wiring:routes", "--format", "asyncapi", "--vhost", "shop")

    told = "taskroute schema: --vhost is for --format definitions: leave it out with --format asyncapi\n"
    assert (ended.code, ended.out, ended.err) == (2, "", told)


def test_what_definitions_leave_out_is_said_beside_them(line: CommandLine) -> None:
    line.write(
        "mine.py", "from wiring import *\nbox = QueueSpec(name='box', exclusive=True)\nt = Topology(queues=[box])\n"
    )

    ended = line.run("schema", "mine:t", "--format", "definitions")

    assert json.loads(ended.out) == {"exchanges": [], "queues": [], "bindings": []}
    assert ended.err == "taskroute schema: queue 'box' is left out: it is exclusive, its connection declares it\n"


LIMITS = {"name": "limits", "pattern": "^a", "apply-to": "queues", "priority": 1, "definition": {"max-length": 7}}


def test_import_prints_a_topology_that_exports_the_same_again(line: CommandLine) -> None:
    exported = line.run("schema", "wiring:routes", "--format", "definitions").out
    line.write("definitions.json", exported)

    printed = line.run("import", "definitions.json")
    line.write("printed.py", printed.out)

    assert (printed.code, printed.err) == (0, "")
    assert printed.out == (
        '"""Exchanges and queues that a broker had already, as `taskroute import` printed them."""\n\n'
        "from taskroute import ExchangeSpec, QueueSpec, Topology\n\n"
        'shop = ExchangeSpec(name="shop")\n\n'
        'packing = QueueSpec(name="packing", bindings=[shop.bind("order.*.paid")])\n\n'
        "topology = Topology(exchanges=[shop], queues=[packing])\n"
    )
    assert line.run("schema", "printed:topology", "--format", "definitions").out == exported


def test_import_says_on_stderr_what_is_a_comment(line: CommandLine) -> None:
    line.write("definitions.json", json.dumps({"queues": [], "policies": [LIMITS]}))

    ended = line.run("import", "definitions.json")

    note = "policy 'limits' (queues like '^a', priority 1) is left out: {\"max-length\": 7}"
    assert (ended.code, ended.err) == (0, f"taskroute import: {note}\n")
    assert f"\n# {note}\n" in ended.out


def test_import_does_not_flood_stderr(line: CommandLine) -> None:
    line.write("definitions.json", json.dumps({"queues": [], "policies": [LIMITS] * 30}))

    told = line.run("import", "definitions.json").err.splitlines()

    assert (len(told), told[-1]) == (21, "taskroute import: 10 more are in the comments")


def test_import_reads_stdin(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b'{"queues": []}')))

    assert line.run("import", "-").out.endswith("topology = Topology()\n")


def test_stdin_that_was_closed_is_empty(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert "FILE '-': is empty" in line.run("import", "-").err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "there is nothing to import: name a FILE, or give --url, or set TASKROUTE_URL"),
        ("nowhere.json", "FILE 'nowhere.json': No such file or directory"),
        (".", "FILE '.': Is a directory"),
        ("empty.json", "FILE 'empty.json': is empty: "),
        ("amqp://a:hidden@b/", "FILE is a URL: that is --url"),
        ("empty.json --url amqp://a:hidden@b/", "FILE and --url: name one of them"),
        ("--url memory://", "memory:// has no management API"),
        ("--url http://b/", "--url: a broker URL starts with"),
        ("--url amqps://a:hidden@b/ --api http://b:1", "the password would travel in the clear"),
        ("several.json", "FILE 'several.json': it has several virtual hosts, '/', 'shop': name one with --vhost"),
    ],
)
def test_import_that_cannot_be_done_is_one_line_that_ends_with_2(line: CommandLine, words: str, told: str) -> None:
    queues = [{"name": "a", "durable": True, "auto_delete": False, "vhost": name} for name in ("/", "shop")]
    line.write("several.json", json.dumps({"queues": queues}))
    line.write("empty.json", "")

    ended = line.run("import", *words.split())

    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert ended.err.count("\n") == 1
    assert "hidden" not in ended.err


def test_api_that_is_away_ends_import_with_3(line: CommandLine) -> None:
    ended = line.run("import", "--url", "amqp://a:hidden@127.0.0.1:1/", "--api", "http://127.0.0.1:1")

    assert (ended.code, ended.out) == (3, "")
    assert "the management API at http://127.0.0.1:1 cannot be asked" in ended.err
