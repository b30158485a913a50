"""`taskroute lock`: the contract as a file, and what changed since."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine

FILE = "taskroute.lock.json"
NARROWER = "from wiring import *\nbound = [shop.bind('order.7.paid')]\n"
NARROWER += "topology = Topology(queues=[QueueSpec(name='packing', bindings=bound)])\n"
NARROWER += "routes = Routes(topology, registry)\n"
"""The same service with a binding that lets in fewer keys."""

LOST = "lost:packing:order.{number}.paid"


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    line = CommandLine(tmp_path, capsys, monkeypatch)
    line.write("narrower.py", NARROWER)
    assert line.run("lock", "wiring:routes").out == "a new contract: taskroute.lock.json is written\n"
    return line


def test_lock_writes_the_contract_and_checking_finds_nothing(line: CommandLine) -> None:
    ended = line.run("lock", "wiring:routes", "--check", "--strict")

    assert (ended.code, ended.out) == (0, "nothing differs\n")
    assert '    {"exchange": "shop", "queue": "packing", "key": "order.*.paid"}\n' in (line.folder / FILE).read_text()


def test_check_tells_what_is_lost_with_its_key_and_the_way_out(line: CommandLine) -> None:
    ended = line.run("lock", "narrower:routes", "--check")

    assert ended.code == 1
    lost, *others = ended.out.splitlines()
    assert lost.startswith("lost: handler 'order.{number}.paid' of queue 'packing': the key 'order.x.paid' from ")
    assert others == [
        f"  if it is meant: --allow '{LOST}'",
        "compatible: binding 'shop -> packing: order.7.paid' is new, and harms nobody",
        "1 lost, 1 compatible: taskroute.lock.json is not up to date: run taskroute lock",
    ]


def test_lock_writes_nothing_that_loses_a_key_unless_it_is_allowed(line: CommandLine) -> None:
    before = (line.folder / FILE).read_text()

    refused = line.run("lock", "narrower:routes")

    assert (refused.code, (line.folder / FILE).read_text()) == (1, before)
    assert refused.out.endswith("taskroute.lock.json is not written\n")

    allowed = line.run("lock", "narrower:routes", "--allow", LOST)

    assert allowed.code == 0
    assert f'"allow": "{LOST}"' in (line.folder / FILE).read_text()


def test_allowance_is_honoured_until_its_key_is_handled_again(line: CommandLine) -> None:
    (line.folder / "first.json").write_text((line.folder / FILE).read_text())
    line.run("lock", "narrower:routes", "--allow", LOST)

    meant = line.run("lock", "narrower:routes", "--check", "--was", "first.json", "--strict")
    back = line.run("lock", "wiring:routes")

    assert (meant.code, meant.out.splitlines()[0].partition(":")[0]) == (0, "allowed lost")
    assert (back.code, json.loads((line.folder / FILE).read_text())["allowed"]) == (0, [])
    assert line.run("lock", "narrower:routes", "--check").code == 1


def test_check_compares_with_each_earlier_release(line: CommandLine) -> None:
    (line.folder / "first.json").write_text((line.folder / FILE).read_text())
    line.run("lock", "narrower:routes", "--allow", LOST)
    contract = json.loads((line.folder / FILE).read_text())
    (line.folder / FILE).write_text(json.dumps({**contract, "allowed": []}))

    (line.folder / "second.json").write_text((line.folder / FILE).read_text())
    earlier = ("--was", "first.json", "--was", "second.json")

    ended = line.run("lock", "narrower:routes", "--check", *earlier, "--format", "json")

    found = json.loads(ended.out)
    assert (ended.code, found["version"]) == (1, 1)
    first = found["differences"][0]
    assert (first["code"], first["key"], first["was"]) == ("lost", "order.x.paid", "first.json")


def test_check_annotates_the_line_of_the_file_for_github(line: CommandLine) -> None:
    entry = next(text for text in (line.folder / FILE).read_text().splitlines() if "{number}" in text)
    number = (line.folder / FILE).read_text().splitlines().index(entry) + 1

    ended = line.run("lock", "narrower:routes", "--check", "--format", "github")

    lost, new = ended.out.splitlines()
    assert lost.startswith(f"::error file=taskroute.lock.json,line={number},title=taskroute lost::handler 'order.")
    assert new.startswith("::notice file=taskroute.lock.json,title=taskroute compatible::binding ")


def test_check_annotates_no_line_of_a_file_that_something_else_has_formatted(line: CommandLine) -> None:
    (line.folder / FILE).write_text(json.dumps(json.loads((line.folder / FILE).read_text()), indent=8))

    ended = line.run("lock", "narrower:routes", "--check", "--format", "github")

    assert ended.out.startswith("::error file=taskroute.lock.json,title=taskroute lost::handler 'order.")


def test_check_annotates_the_line_of_the_handler_for_any_queue_or_of_the_queue(line: CommandLine) -> None:
    anywhere = "from wiring import *\nregistry = HandlerRegistry()\n"
    line.write("any.py", anywhere + "registry.add('order.#', lambda: None)\nroutes = Routes(topology, registry)\n")
    line.write("none.py", anywhere + "routes = Routes(Topology(exchanges=[shop]), registry)\n")
    line.run("lock", "any:routes", "--file", "any.json")
    rows = (line.folder / "any.json").read_text().splitlines()

    def told(target: str) -> str:
        return line.run("lock", target, "--check", "--file", "any.json", "--format", "github").out.splitlines()[0]

    line.write("other.py", anywhere + "registry.add('order.7.#', lambda: None)\nroutes = Routes(topology, registry)\n")
    handler = next(at for at, row in enumerate(rows, 1) if "order.#" in row)
    queue = next(at for at, row in enumerate(rows, 1) if '"name": "packing"' in row)
    assert told("other:routes").startswith(f"::error file=any.json,line={handler},")
    assert told("none:routes").startswith(f"::error file=any.json,line={queue},")


def test_strict_check_fails_for_a_file_that_is_not_up_to_date(line: CommandLine) -> None:
    more = "registry.add('order.1.paid', lambda: None, queue=packing)\nroutes = Routes(topology, registry)\n"
    line.write("wider.py", "from wiring import *\n" + more)

    lenient = line.run("lock", "wider:routes", "--check")
    strict = line.run("lock", "wider:routes", "--check", "--strict")

    assert (lenient.code, strict.code, lenient.out) == (0, 1, strict.out)
    assert strict.out.endswith("1 compatible: taskroute.lock.json is not up to date: run taskroute lock\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "taskroute.lock.json: the file is empty"),
        ("[]", "taskroute.lock.json: it is no JSON object"),
        ("{", "taskroute.lock.json, line 1: it is not JSON"),
        ("{}", "taskroute.lock.json: it has no version"),
        ('{\n  "version": 2\n}', "taskroute.lock.json, line 2: version 2: this taskroute reads version 1"),
        ('{\n  "version": true\n}', "taskroute.lock.json, line 2: version true"),
        ('{\n  "version": 1,\n<<<<<<< ours\n', "taskroute.lock.json, line 3: a merge conflict"),
        ('{\n  "version": 1,\n  "handler": []\n}', "line 3: there is no section 'handler'; did you mean 'handlers'?"),
        ('{\n  "version": 1,\n  "events": {}\n}', "line 3: events: it is no list"),
        ('{\n  "version": 1,\n  "queues": [\n    {"nam": "x"}\n  ]\n}', "line 4: queues[0]: "),
        ('{"version": 1, "queues": [{"name": "q", "type": "classic", "ttl": 1}]}', "there is no field 'ttl'"),
        ('{"version": 1, "queues": [1]}', "queues[0]: it is no object"),
        ('{"version": 1, "queues": [], "queues": []}', "'queues' is there twice"),
        ('{"version": 1, "bindings": [{"exchange": "a", "queue": "q"}]}', "the exchange 'a', which is not in it"),
        ('{"version": 1, "handlers": [{"pattern": "a.{"}]}', "'{' is not a capture"),
        ("[" * 100_000, "taskroute.lock.json: it is nested too deeply"),
        ('{"version": ' + "1" * 5000 + "}", "taskroute.lock.json: it is not JSON"),
    ],
)
def test_broken_contract_is_told_in_a_line_with_its_place(line: CommandLine, text: str, told: str) -> None:
    (line.folder / FILE).write_text(text)

    ended = line.run("lock", "wiring:routes", "--check")

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert told in ended.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--check --file none.json", "--check: there is no 'none.json': write it with taskroute lock, and commit it"),
        ("--was none.json", "--was 'none.json' cannot be read: No such file or directory"),
        ("--was .", "--was '.' cannot be read: Is a directory"),
        ("--allow lost", "--allow: 'lost' is not CODE:NAME, for example lost:orders"),
        ("--allow lots:packing", "did you mean 'lost'?"),
        ("--allow lost:packing", "--allow 'lost:packing': there is no such difference: nothing has to be allowed"),
    ],
)
def test_what_cannot_be_done_is_told_with_the_way_out(line: CommandLine, words: str, told: str) -> None:
    ended = line.run("lock", "wiring:routes", *words.split())

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert told in ended.err


def test_file_that_is_no_text_is_told(line: CommandLine) -> None:
    (line.folder / FILE).write_bytes(b"\xff\xfe")

    ended = line.run("lock", "wiring:routes", "--check")

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "it is not UTF-8, so it is no contract" in ended.err
