"""Workers and publishers killed at every crash point; the ledger says whether a message is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.faults import processes, service
from tests.faults.crash_points import POINTS
from tests.faults.site import Site
from tests.kit.stopwatch import Stopwatch

COUNT = 60


def run(target: Callable[..., object], site: Site, *arguments: Any, **options: Any) -> int:
    """Run in a process of its own until it has ended and the broker knows it; the exit code."""
    exitcode = processes.run(target, site.url, *arguments, **options)
    site.wait_unconsumed()
    return exitcode


@pytest.mark.row(39)
@pytest.mark.parametrize("point", [point for point in POINTS if point != "publish_sent"])
def test_worker_killed_at_a_crash_point_loses_no_message(
    point: str, site: Site, tmp_path: Path, stopwatch: Stopwatch
) -> None:
    """A worker killed at any crash point loses no message and repeats at most `prefetch` of them."""
    assert run(service.run_publisher, site, tmp_path, count=COUNT) == 0

    assert run(service.run_worker, site, tmp_path, crash=point, nth=2) == -signal.SIGKILL
    assert run(service.run_worker, site, tmp_path, until_idle=True) == 0

    verdict = service.verdict(
        site.url, tmp_path, max_duplicates=service.PREFETCH, min_confirmed=COUNT, max_done_and_dead=0
    )
    stopwatch.note(str(verdict))
    assert verdict.problems == ()
    expected = sum(not service.fails_always(str(number)) for number in range(1, COUNT + 1))
    assert verdict.done == expected
    assert COUNT - expected <= verdict.dead <= COUNT - expected + service.PREFETCH
    assert verdict.left == 0


def test_worker_killed_before_its_acknowledgement_handles_again(site: Site, tmp_path: Path) -> None:
    assert run(service.run_publisher, site, tmp_path, count=COUNT) == 0

    assert run(service.run_worker, site, tmp_path, crash="before_ack") == -signal.SIGKILL
    assert run(service.run_worker, site, tmp_path, until_idle=True) == 0

    assert service.verdict(site.url, tmp_path, max_duplicates=service.PREFETCH, min_confirmed=COUNT).duplicates >= 1


@pytest.mark.row(39)
@pytest.mark.parametrize("nth", [1, 2])
def test_publisher_killed_after_a_write_loses_no_confirmed_message(
    nth: int, site: Site, tmp_path: Path, stopwatch: Stopwatch
) -> None:
    code = run(service.run_publisher, site, tmp_path, count=COUNT, crash="publish_sent", nth=nth)
    assert code == -signal.SIGKILL

    assert run(service.run_worker, site, tmp_path, until_idle=True) == 0

    verdict = service.verdict(site.url, tmp_path, max_duplicates=0, min_confirmed=0)
    stopwatch.note(str(verdict))
    assert verdict.problems == ()


@pytest.mark.row(39)
def test_worker_killed_between_retry_and_acknowledgement_loses_nothing(site: Site, tmp_path: Path) -> None:
    """A worker killed after a retry is confirmed and before its acknowledgement makes a duplicate, never a loss."""
    publish = partial(run, service.run_publisher, site, tmp_path, count=COUNT)
    assert publish() == 0

    for _ in range(3):
        assert run(service.run_worker, site, tmp_path, crash="retry_confirmed") == -signal.SIGKILL
    assert run(service.run_worker, site, tmp_path, until_idle=True) == 0

    assert service.verdict(site.url, tmp_path, max_duplicates=3 * service.PREFETCH, min_confirmed=COUNT).problems == ()
