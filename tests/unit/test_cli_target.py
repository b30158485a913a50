"""Targets of the command line: which objects they may be, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize(
    "target", ["routes", "topology", "service", "holder", "holders.inner", "worker", "make --factory", "Made --factory"]
)
def test_target_may_be_anything_that_has_a_topology(line: CommandLine, target: str) -> None:
    line.write(
        "objects.py",
        "from types import SimpleNamespace\nfrom taskroute import Service, Worker\nfrom wiring import *\n"
        "service = Service(topology, registry)\n"
        "holder = SimpleNamespace(topology=topology, registry=registry)\n"
        "holders = SimpleNamespace(inner=holder)\n"
        "worker = Worker('memory://', topology, registry)\n"
        "def make(): return holder\n"
        "class Made:\n    def __init__(self): self.topology, self.registry = topology, registry\n",
    )

    ended = line.run("check", *f"objects:{target}".split())

    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("wirin:routes", "there is no module 'wirin' in {}: did you mean 'wiring'?"),
        ("elsewhere:routes", "there is no module 'elsewhere' in {}: start in the folder that has it"),
        ("wiring.py:routes", "there is no module 'wiring.py' in {}: did you mean 'wiring'?"),
        ("shop/wiring.py:routes", "there is no module 'shop/wiring' in {}: did you mean 'shop.wiring'?"),
        ("wiring:rutes", "wiring has no 'rutes': did you mean 'routes'?"),
        ("wiring:topology.cues", "wiring.topology has no 'cues': did you mean 'queues'?"),
        ("wiring:nothing", "wiring has no 'nothing'\n"),
        ("wiring", "names no object: write wiring:topology, wiring:routes"),
        ("wiring:", "is not module:object"),
        (":routes", "is not module:object"),
        (".wiring:routes", "is not module:object"),
        ("amqp://host/", "TARGET is a URL: that is --url, and TARGET is module:object"),
        ("u:p@host/", "TARGET is a URL: that is --url, and TARGET is module:object"),
        ("wiring:packing", "is a QueueSpec, not a Service, Routes, a Topology, a Worker, or"),
        ("wiring:pack", "is a function: with --factory it is called"),
        ("wiring:topology --factory", "--factory: wiring:topology is no function, but a Topology: leave --factory out"),
        ("wiring:pack --factory", "--factory: wiring:pack is called without arguments: missing"),
        ("wiring:routes --app-dir nowhere", "--app-dir 'nowhere' is no folder"),
        ("ends:routes", "ends ended the program (3) when imported: put what runs under if __name__"),
    ],
)
def test_target_that_is_none_is_told_in_a_line(line: CommandLine, words: str, complaint: str) -> None:
    line.write("ends.py", "raise SystemExit(3)")

    ended = line.run("check", *words.split())

    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert complaint.format(line.folder) in ended.err
    assert ended.err.startswith("taskroute check: ")


@pytest.mark.parametrize(
    ("source", "traceback"),
    [
        (
            "import absent\n",
            'Traceback (most recent call last):\n  File "{}/broken.py", line 1, in <module>\n    import absent\n',
        ),
        ("x = (\n", "  File \"{}/broken.py\", line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed\n"),
        (
            "def broken():\n    1 / 0\n",
            'Traceback (most recent call last):\n  File "{}/broken.py", line 2, in broken\n',
        ),
    ],
)
def test_error_of_the_users_code_shows_its_traceback(line: CommandLine, source: str, traceback: str) -> None:
    line.write("broken.py", source)

    ended = line.run("check", "broken:broken", "--factory")

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(traceback.format(line.folder))


def test_error_of_a_spec_ends_its_traceback_in_the_users_line(line: CommandLine) -> None:
    """Neither the library's frames nor those of pydantic, which calls it, say anything to the user."""
    line.write("broken.py", "import taskroute\n\n\ntaskroute.QueueSpec(name='q', bindings=3)\n")

    ended = line.run("check", "broken:queue")

    files = [text for text in ended.err.splitlines() if "File" in text]
    assert files == [f'  File "{line.folder}/broken.py", line 4, in <module>']
    assert "TopologyError: QueueSpec 'q': bindings: write a list" in ended.err


def test_error_below_another_shows_both_without_our_frames(line: CommandLine) -> None:
    line.write("broken.py", "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise OSError('x') from error\n")

    ended = line.run("check", "broken:queue")

    assert ended.err.count("broken.py") == 2
    assert "direct cause" in ended.err
    assert "/taskroute/" not in ended.err


def test_what_a_module_prints_is_not_in_the_output(line: CommandLine) -> None:
    line.write("chatty.py", "print('hello')\nfrom wiring import routes\n")

    ended = line.run("check", "chatty:routes", "--format", "json")

    assert ended.out.startswith("{")
    assert ended.err == "hello\n"
