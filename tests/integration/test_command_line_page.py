"""The page about the command line: each command that it shows prints what it says. So do those of the demo."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.command_line import CommandLine
from tests.kit.command_process import running

from taskroute.broker.embedded.transport import drop
from taskroute.cli.parser import Parser
from taskroute.cli.table import COMMANDS, Command

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "command-line.md").read_text()
PAGES = PAGE + (DOCS / "deployment.md").read_text() + (DOCS / "operations.md").read_text()
SHOWN = re.findall(r"^\$ (?P<command>.*)\n(?P<prints>(?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    drop()
    yield CommandLine(tmp_path, capsys, monkeypatch)
    drop()


def test_each_command_of_the_page_prints_what_it_says(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, prints in SHOWN:
        program, *words = shlex.split(command)
        if program == "cd":
            monkeypatch.chdir(words[0])
        else:
            ended = line.run(*words)

            pattern = re.escape(prints.strip()).replace("…", ".*")
            assert re.fullmatch(pattern, ended.out.strip(), re.DOTALL), f"{command}:\n{ended.out}{ended.err}"


NAMED = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def test_service_of_the_page_is_small_and_runs(tmp_path: Path) -> None:
    """It is the smallest useful one: ten lines, and one command."""
    (program,) = re.findall(r"^```python jobs.py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len([text for text in program.splitlines() if text]) <= 10
    (tmp_path / "jobs.py").write_text(program)

    with running("run", "jobs:service", folder=tmp_path, TASKROUTE_URL="memory://") as service:
        service.wait_for("consuming queue=jobs")
        service.send(signal.SIGTERM)

        assert service.wait() == 0, service.text


@NAMED
def test_command_is_in_the_table_of_the_page(command: Command) -> None:
    assert re.search(rf"^\| `{command.name}[ `].*\| {re.escape(command.help)} \|", PAGE, re.MULTILINE)


@NAMED
def test_each_option_of_a_command_is_on_its_pages(command: Command) -> None:
    parser = Parser()
    command.load().add_arguments(parser)

    options = set(re.findall(r"(?<!\w)--[a-z-]+", parser.format_help())) - {"--help"}

    assert {option for option in options if not re.search(rf"`{option}\b|\s{option}\b", PAGES)} == set()


def test_demo_checks_and_explains_its_example(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = re.findall(r'^"\$bin/taskroute" (.*)$', (ROOT / "scripts" / "demo").read_text(), re.MULTILINE)
    monkeypatch.chdir(ROOT)

    check, explain = [line.run(*command.split()) for command in commands]

    assert (check.code, explain.code) == (0, 0)
    assert "queue 'video_queue'\n    handled by media_pipeline.transcode" in explain.out
