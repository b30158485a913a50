"""Commands that need no broker: check, explain, routes and graph."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest
from tests.kit.command_line import CommandLine

from taskroute.cli.table import COMMANDS
from taskroute.graph.check.code import Code

HOLES = """
from wiring import *

attic = QueueSpec(name="attic", bindings=[shop.bind("order.#")], exclusive=True)
topology = Topology(exchanges=[shop], queues=[packing, attic])
registry.add("late.{number}", lambda number: None, queue="packing")
routes = Routes(topology, registry)
"""
"""An error (a handler that gets nothing) and a warning (a queue that nobody consumes)."""


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    line = CommandLine(tmp_path, capsys, monkeypatch)
    line.write("holes.py", HOLES)
    return line


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("wiring:routes --strict", 0),
        ("holes:routes", 1),
        ("holes:routes --ignore unfed_handler", 0),
        ("holes:routes --ignore unfed_handler --strict", 1),
        ("holes:routes --ignore unfed_handler --ignore unconsumed_queue --strict", 0),
    ],
)
def test_check_fails_for_errors_and_if_strict_for_warnings(line: CommandLine, words: str, code: int) -> None:
    assert line.run("check", *words.split()).code == code


def test_check_tells_findings_and_how_many(line: CommandLine) -> None:
    lines = line.run("check", "holes:routes").out.splitlines()

    assert [text.split(":")[0] for text in lines] == [
        "error unfed_handler",
        "warning unconsumed_queue",
        "1 error, 1 warning",
    ]


def test_check_annotates_a_handler_at_its_line_for_github(line: CommandLine) -> None:
    found = line.run("check", "holes:routes", "--format", "github").out.splitlines()

    assert found[0].startswith("::error file=holes.py,line=6,title=taskroute unfed_handler::holes.<lambda>")
    assert found[1].startswith("::warning title=taskroute unconsumed_queue::queue 'attic': ")


def test_check_answers_programs_in_json(line: CommandLine) -> None:
    document = json.loads(line.run("check", "holes:routes", "--format", "json").out)

    assert document["version"] == 1
    assert [finding["code"] for finding in document["findings"]] == ["unfed_handler", "unconsumed_queue"]
    assert set(document["findings"][0]) == {"code", "severity", "subject", "witness", "message"}


def test_check_finds_handlers_that_no_routes_can_be_made_of(line: CommandLine) -> None:
    line.write(
        "unclear.py",
        "from types import SimpleNamespace\nfrom wiring import *\n"
        "registry.add('order.1.{state}', lambda state: None, queue=packing)\n"
        "app = SimpleNamespace(topology=topology, registry=registry)\n",
    )

    ended = line.run("check", "unclear:app")

    assert ended.code == 1
    assert ended.out.startswith("error ambiguous_handlers: ")


def test_check_finds_what_a_version_of_a_broker_refuses(line: CommandLine) -> None:
    line.write("old.py", "from taskroute import *\ntopology = Topology(queues=[QueueSpec(name='q', durable=False)])\n")

    assert line.run("check", "old:topology", "--broker", "3.13").code == 0
    assert "denied_by_broker" in line.run("check", "old:topology", "--broker", "4.3").out


def test_definition_that_cannot_be_compiled_is_told_in_a_line(line: CommandLine) -> None:
    line.write(
        "app.py",
        "from wiring import *\nregistry.add('a', lambda: None, queue='nowhere')\n"
        "class app: topology, registry = topology, registry\n",
    )

    ended = line.run("check", "app:app")

    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "the topology has no queue 'nowhere'" in ended.err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ("order.7.paid", 0, "handled by wiring.pack ('order.{number}.paid' of queue 'packing') with number='7'"),
        ("order.7.lost", 1, "reaches no queue"),
        ("order.x.paid --body {}", 1, "in queue 'packing' the message is refused, invalid_key: number: int_parsing"),
        ("order.7.paid --body []", 1, "in queue 'packing' the message is refused, invalid_body: body: dict_type"),
        ("order.7.paid --body {}", 0, "in queue 'packing' the message is read"),
        ("order.7.paid --body x --content-type image/png", 1, "refused, unsupported_content"),
        ("packing --exchange=", 1, "no handler takes it"),
    ],
)
def test_explain_tells_whether_a_message_is_handled(line: CommandLine, words: str, code: int, told: str) -> None:
    ended = line.run("explain", "wiring:routes", *words.split())

    assert (ended.code, ended.err) == (code, "")
    assert told in ended.out


def test_explain_leaves_queues_of_other_services_to_them(line: CommandLine) -> None:
    line.write(
        "both.py",
        "from wiring import *\nelsewhere = QueueSpec(name='elsewhere', bindings=[shop.bind('order.#')])\n"
        "routes = Routes(Topology(exchanges=[shop], queues=[packing, elsewhere]), registry)\n",
    )

    assert line.run("explain", "both:routes", "order.7.paid").code == 0
    assert line.run("explain", "both:routes", "order.7.lost").code == 1


def test_explain_finds_a_key_that_one_of_two_queues_cannot_handle(line: CommandLine) -> None:
    line.write(
        "half.py",
        "from wiring import *\nlate = QueueSpec(name='late', bindings=[shop.bind('order.#')])\n"
        "registry.add('order.{number}.late', lambda number: None, queue=late)\n"
        "routes = Routes(Topology(exchanges=[shop], queues=[packing, late]), registry)\n",
    )

    assert line.run("explain", "half:routes", "order.7.paid").code == 1
    assert line.run("explain", "half:routes", "order.7.late").code == 0


def test_explain_answers_programs_in_json(line: CommandLine) -> None:
    document = json.loads(line.run("explain", "wiring:routes", "order.7.paid", "--body", "1", "--format", "json").out)

    assert (document["version"], document["handled"], document["exchange"]) == (1, False, "shop")
    (arrival,) = document["arrivals"]
    assert (arrival["queue"], arrival["handler"], arrival["captures"]) == ("packing", "wiring.pack", {"number": "7"})
    assert arrival["refused"] == "invalid_body: body: dict_type"
    assert document["hops"][0]["binding"]["binding_key"] == "order.*.paid"


def test_headers_are_text_unless_they_are_said_to_be_json(line: CommandLine) -> None:
    line.write(
        "headed.py",
        "from taskroute import *\nx = ExchangeSpec(name='x', type='headers')\n"
        "text = QueueSpec(name='text', bindings=[x.bind(headers={'n': '1'})])\n"
        "number = QueueSpec(name='number', bindings=[x.bind(headers={'n': 1})])\n"
        "topology = Topology(exchanges=[x], queues=[text, number])\n",
    )

    assert "queue 'text'" in line.run("explain", "headed:topology", "k", "--header", "n=1").out
    assert "queue 'number'" in line.run("explain", "headed:topology", "k", "--header", "n:=1").out


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("k --exchange shp", "--exchange 'shp' is not known: did you mean 'shop'?"),
        ("k --header n", "--header 'n' is not NAME=TEXT"),
        ("k --header =1", "--header '=1' is not NAME=TEXT"),
        ("k --header n:=x", "--header 'n:=x': what follows := is not JSON"),
        ("order.1.paid --body x", "--body is neither a file nor JSON: --content-type says"),
        ("order.1.paid --body wiring.py", "--body is not JSON: --content-type says"),
        ("order.1.paid --body @absent", "--body '@absent' cannot be read: No such file"),
        ("", "the following arguments are required: KEY; see taskroute explain --help"),
    ],
)
def test_message_that_cannot_be_read_is_told_in_a_line(line: CommandLine, words: str, complaint: str) -> None:
    ended = line.run("explain", "wiring:routes", *words.split())

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert complaint in ended.err


def test_exchange_must_be_named_where_there_are_several(line: CommandLine) -> None:
    line.write(
        "two.py",
        "from taskroute import *\na, b = ExchangeSpec(name='a'), ExchangeSpec(name='b')\n"
        "event = EventSpec(pattern='jobs.{id}', exchange=b, body=dict)\n"
        "topology = Topology(exchanges=[a, b], events=[event])\n",
    )

    assert "--exchange is needed, as there are several: 'a', 'b'" in line.run("explain", "two:topology", "k").err
    assert "published to exchange 'b'" in line.run("explain", "two:topology", "jobs.1").out


def test_routes_lists_a_queue_from_its_bindings_to_its_dead_letters(line: CommandLine) -> None:
    ended = line.run("routes", "wiring:routes", "--queue", "packing")

    assert ended.out.splitlines() == [
        "packing (quorum)",
        "  from shop: order.*.paid",
        "  order.{number}.paid -> wiring.pack",
        "  failed: packing.retry.1000 -> packing.retry.5000 -> packing.retry.25000 -> packing.dead",
    ]
    assert json.loads(line.run("routes", "wiring:routes", "--format", "json").out)["version"] == 1


def test_unknown_exchange_is_told_which_ones_there_are(line: CommandLine) -> None:
    ended = line.run("explain", "wiring:routes", "order.7.paid", "--exchange", "nope")

    assert ended.err.endswith("--exchange 'nope' is not known: there are '', the default exchange, 'shop'\n")


def test_codes_of_findings_are_told_in_order(line: CommandLine) -> None:
    ended = line.run("check", "wiring:routes", "--ignore", "xyz")

    assert re.findall("'([a-z_]+)'", ended.err.partition("there are")[2]) == sorted(get_args(Code))


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_help_of_a_command_tells_its_exit_codes(line: CommandLine, command: str) -> None:
    assert "exit codes: 0 fine; " in line.run(command, "--help").out


def test_routes_suggests_a_queue_that_may_be_meant(line: CommandLine) -> None:
    ended = line.run("routes", "wiring:routes", "--queue", "paking")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "taskroute routes: --queue 'paking' is not known: did you mean 'packing'?\n"


@pytest.mark.parametrize(
    ("form", "first"),
    [
        ("text", "exchange shop (topic)"),
        ("mermaid", "flowchart LR"),
        ("dot", "digraph taskroute {"),
        ("json", "{"),
        ("svg", "<svg xmlns="),
        ("html", "<!doctype html>"),
    ],
)
def test_graph_is_drawn_in_each_form(line: CommandLine, form: str, first: str) -> None:
    ended = line.run("graph", "wiring:routes", "--format", form)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(first)
    assert "pack" in ended.out


def test_validator_that_raises_shows_its_own_traceback(line: CommandLine) -> None:
    """Code of the user's runs when a body is read, long after its module was imported."""
    line.write(
        "picky.py",
        "from typing import Annotated\nfrom pydantic import AfterValidator\nfrom wiring import *\n"
        "def refuse(value):\n    raise OSError('the disk is on fire')\n"
        "def picky(body: Annotated[dict, AfterValidator(refuse)]): ...\n"
        "registry.add('order.0.paid', picky, queue=packing)\nroutes = Routes(topology, registry)\n",
    )

    ended = line.run("explain", "picky:routes", "order.0.paid", "--body", "{}")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(
        f'Traceback (most recent call last):\n  File "{line.folder}/picky.py", line 5, in refuse'
    )
    assert ended.err.endswith("OSError: the disk is on fire\n")


def test_defect_of_ours_is_told_in_a_line(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskroute.graph.drawing.picture.picture_of", json.JSONDecoder)
    ended = line.run("graph", "wiring:routes")

    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert "this is a defect of taskroute, please report it" in ended.err


@pytest.mark.parametrize("command", ["check interrupted:routes", "graph wiring:routes"])
def test_interrupt_that_became_another_error_is_one(
    line: CommandLine, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 makes a `RuntimeError` of one that comes in a `__set_name__`, while a module is imported."""

    def interrupt(*_: object) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    line.write("interrupted.py", "raise RuntimeError('Error calling __set_name__') from KeyboardInterrupt()\n")
    monkeypatch.setattr("taskroute.graph.drawing.picture.picture_of", interrupt)

    with pytest.raises(KeyboardInterrupt):
        line.run(*command.split())


def test_help_of_check_lists_the_codes_of_findings(line: CommandLine) -> None:
    shown = line.run("check", "--help").out

    assert set(get_args(Code)) <= set(re.findall(r"\w+", shown))
