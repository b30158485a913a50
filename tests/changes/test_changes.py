"""Changes of a topology in use, as the page about them says: nothing is lost on the way, and nothing comes twice."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from tests.changes.changes import CHANGES, Change
from tests.changes.load import Load
from tests.faults.ledger import drain
from tests.kit.command_line import CommandLine, Ended
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import until

from taskroute.broker.depths import Depth, ask_depths
from taskroute.broker.url import parse_urls

MODULE = "from taskroute import Topology\ntopology = Topology.model_validate_json({!r})\n"


class Commands:
    """Runs commands for the releases of a change."""

    def __init__(self, line: CommandLine, change: Change, url: str, api: str) -> None:
        self._line = line
        self._where = ("--url", url, "--api", api)
        for number, release in enumerate(change.every):
            line.write(f"release_{number}.py", MODULE.format(release.topology.model_dump_json()))
        assert line.run("lock", "release_0:topology", "--file", "was.json").code == 0

    def run(self, command: str, number: int) -> Ended:
        """Run a command of a release."""
        words = command.replace("TARGET", f"release_{number}:topology").replace("WAS", "was.json").split()
        return self._line.run(*words, *self._where)


@pytest.fixture
def line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.setattr("taskroute.cli.planning.pause", lambda seconds: threading.Event().wait(min(seconds, 1.0)))
    return CommandLine(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_change_under_load_loses_nothing(
    change: Change, line: CommandLine, rabbitmq_url: str, rabbitmq_api: str, stopwatch: Stopwatch
) -> None:
    """Releases are deployed worker by worker, and commands run between them; what was confirmed is handled."""
    commands, load = Commands(line, change, rabbitmq_url, rabbitmq_api), Load(rabbitmq_url, change)
    began = time.monotonic()
    moving: set[int] = set()

    with load.running():
        for number, release in enumerate(change.releases, 1):
            with load.deployed(number):
                if release.refused:
                    early = commands.run(release.commands[0], number)
                    assert (early.code, release.refused in early.out) == (1, True), early
            load.books.in_force |= {str(number)}
            for command in release.commands:
                first = len(load.books.published) - 1
                ended = commands.run(command, number)
                if release.repeats and ended.code == 1:
                    until(lambda command=command, number=number: commands.run(command, number).code == 0)  # type: ignore[misc]
                else:
                    assert ended.code == 0, ended
                if change.moves and command.startswith("apply"):
                    moving.update(range(first, len(load.books.published) + 1))
            load.books.in_force = frozenset({str(number)})
            load.publish_from_now(release.then_publishes)
            load.goes_on()
        plan = commands.run("plan TARGET", len(change.releases))
        assert plan.code == 0, plan

    dead, left = found(rabbitmq_url, change, load)
    figures = load.books.figures(dead, left)
    stopwatch.note(f"{figures}; {time.monotonic() - began:.0f} s")
    assert not figures.problems
    assert not any(left.values())
    assert not figures.unmeant
    assert figures.twice <= moving
    assert not change.keeps_order or figures.out_of_order == 0


def found(url: str, change: Change, load: Load) -> tuple[dict[str, list[bytes]], dict[str, list[bytes]]]:
    """Take what lies in dead-letter queues, and in others, by home. Only those of the last release are there."""
    every = {queue.name for release in change.every for queue in release.topology.all_queues}
    there = {name for name, depth in ask_depths(parse_urls(url), every).items() if isinstance(depth, Depth)}
    assert there == {queue.name for queue in change.releases[-1].topology.all_queues}
    dead: dict[str, list[bytes]] = {}
    left: dict[str, list[bytes]] = {}
    for name in there:
        served = name.removesuffix(".dead").partition(".retry.")[0]
        kind = dead if name.endswith(".dead") else left
        kind.setdefault(load.books.homes[served], []).extend(drain(url, [name]))
    return dead, left
