"""Rounds: contestants take turns, each in a process and a virtual host of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from tests.kit.rabbitmq import Node

from benchmarks.contestants.inside import left_in_queues
from benchmarks.contestants.task import DEADLINE, Task
from benchmarks.contestants.taskroute_client import fill
from benchmarks.parts import Contestant, Part

ROOT = Path(__file__).parent.parent
PYTHONS = {
    "own": ROOT / os.environ.get("VENV", ".venv") / "bin/python",
    "peers": ROOT / os.environ.get("VENV_PEERS", ".venv-peers") / "bin/python",
}

Metrics = dict[str, float]
Round = dict[str, Metrics]
"""What each contestant measured, by its name."""


def play(part: Part, count: int, node: Node | None) -> Iterator[tuple[str, Metrics]]:
    """One round: each contestant once, in their order."""
    for contestant in part.contestants:
        messages = max(part.least, int(count * contestant.share))
        yield contestant.name, _run(contestant, messages, node if part.broker else None, empties=part.empties)


def _run(contestant: Contestant, count: int, node: Node | None, *, empties: bool) -> Metrics:
    with _vhost(node) as url:
        task = Task(url, count, dict(contestant.options))  # type: ignore[arg-type]
        if contestant.fill or contestant.declare:
            fill(task if contestant.fill else replace(task, count=0))
        measured = _call(contestant.environment, contestant.run, task)
        if contestant.fill:
            _check_left(contestant, task, 0)
        elif contestant.declare:
            _check_left(contestant, task, 0 if empties else count)
        return measured


def _check_left(contestant: Contestant, task: Task, expected: int) -> None:
    """The broker's own count: what a process has not acknowledged before it ended is back in its queue."""
    left = left_in_queues(task)["messages"]
    if left != expected:
        raise RuntimeError(f"{contestant.name} has left {left:.0f} messages in the queue, not {expected}")


@contextlib.contextmanager
def _vhost(node: Node | None) -> Iterator[str]:
    if node is None:
        yield ""
    else:
        with node.vhost() as url:
            yield url


def _call(environment: str, run: str, task: Task) -> Mapping[str, float] | Metrics:
    done = subprocess.run(
        [PYTHONS[environment], "-m", "benchmarks.contestants", run, json.dumps(asdict(task))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{run} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])
