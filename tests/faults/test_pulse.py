"""The check of beats finds a worker that stands still and calls itself ready, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.faults import pulse
from tests.faults.pulse import Activity, Beat, Depth
from tests.kit.running import registry_of

from taskroute import QueueSpec, Topology, Worker

IDLE = [Beat(at=second, pid=1, busy=0, begun=7, retried=0, dead_lettered=0) for second in range(20)]
READY = [Depth(second, 5) for second in range(20)]


def test_idle_worker_with_ready_messages_and_no_reason_is_found() -> None:
    (standstill,) = pulse.standstills(IDLE, READY)

    assert (standstill.before, standstill.beats) == (None, IDLE)
    assert str(standstill).startswith("STOOD STILL for 19 s and gave no reason, while 5 to 5 messages were ready, from")


def test_standstill_of_no_more_than_ten_seconds_is_allowed() -> None:
    assert not pulse.standstills(IDLE[:11], READY)
    assert pulse.standstills(IDLE[:12], READY)


@pytest.mark.parametrize(
    "changed",
    [
        lambda beat: replace(beat, busy=1),
        lambda beat: replace(beat, begun=beat.begun + int(beat.at)),
        lambda beat: replace(beat, reasons=("draining",)),
        lambda beat: replace(beat, paused=("work",)),
        lambda beat: replace(beat, at=beat.at * 4),
        lambda beat: replace(beat, pid=int(beat.at) // 10),
    ],
    ids=["busy", "beginning", "with a reason", "paused", "frozen", "two processes"],
)
def test_worker_that_works_or_says_why_not_is_not_found(changed: Callable[[Beat], Beat]) -> None:
    depths = [Depth(second, 5) for second in range(100)]

    assert not pulse.standstills([changed(beat) for beat in IDLE], depths)


def test_one_busy_second_parts_a_standstill() -> None:
    beats = [*IDLE[:10], replace(IDLE[10], busy=1), *IDLE[11:]]
    assert not pulse.standstills(beats, READY)


@pytest.mark.parametrize("ready", [0, None])
def test_empty_queue_or_silent_broker_is_no_evidence(ready: int | None) -> None:
    assert not pulse.standstills(IDLE, [Depth(second, ready) for second in range(20)])
    assert not pulse.standstills(IDLE, READY[:8])
    assert not pulse.standstills(IDLE, [])


def test_each_standstill_is_found_by_itself() -> None:
    beats = [replace(beat, pid=pid) for pid in (1, 2) for beat in IDLE]
    assert [found.beats[0].pid for found in pulse.standstills(beats, READY)] == [1, 2]


def test_sample_of_a_standstill_shows_what_came_before_and_both_ends() -> None:
    working = replace(IDLE[0], busy=2)
    (standstill,) = pulse.standstills([working, *IDLE[1:]], READY)

    before, *lines = standstill.sample()
    assert "2 handlers busy" in before
    assert [line.partition(";")[0] for line in lines] == ["5 messages ready"] * 3 + ["..."] + ["5 messages ready"] * 3
    assert lines[-1].endswith(str(IDLE[-1]))


def test_beats_of_a_worker_are_read_back(tmp_path: Path) -> None:
    jobs = QueueSpec(name="jobs")
    worker = Worker("memory://", Topology(queues=[jobs]), registry_of(lambda: None, "#", queue=jobs))
    activity = Activity()

    with activity.handling(), pulse.beating(worker, activity, tmp_path):
        pass

    (beat,) = pulse.read(tmp_path)
    assert (beat.busy, beat.begun) == (1, 1)
    assert beat.reasons == worker.health().reasons != ()
    assert pulse.latest(tmp_path, beat.pid) == beat
    assert pulse.latest(tmp_path, 0) is None
