"""What a worker says of itself, each second, held against what it does: it may not stand still and call itself ready.

A worker's process writes its beats to a file of its own; who watches the broker takes the depths of the queue.
"""

from __future__ import annotations

import json
import os
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from taskroute import Worker

INTERVAL = 1.0
STANDSTILL = 10.0
GAP = 3.0
SHOWN = 3
"""Seconds between samples; that a worker may stand still and give no reason; and past which a sample is too old.

`SHOWN`: how many beats of a standstill's beginning and end are printed.
"""


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker at one moment: whether its handlers work, what was republished so far, and what `health()` says."""

    at: float
    pid: int
    busy: int
    begun: int
    retried: int
    dead_lettered: int
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    paused: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = "; ".join((*self.reasons, *(f"warning: {text}" for text in self.warnings))) or "ready"
        return (
            f"{time.strftime('%H:%M:%S', time.localtime(self.at))} worker {self.pid}: {self.busy} handlers busy, "
            f"{self.begun} begun, {self.retried} retried, {self.dead_lettered} dead-lettered: {said}"
        )


@dataclass(frozen=True, slots=True)
class Depth:
    """How many messages were ready in the queue at one moment, None if the broker did not say."""

    at: float
    ready: int | None


@dataclass(frozen=True)
class Standstill:
    """Beats of one worker between which no handler ran, though messages were ready and it gave no reason.

    `before` is the beat before them, if there was one; `depths` belong to `beats`, one each.
    """

    before: Beat | None
    beats: Sequence[Beat]
    depths: Sequence[int]

    @property
    def key(self) -> tuple[int, float]:
        """Return whose it is and when it began."""
        return self.beats[0].pid, self.beats[0].at

    def sample(self) -> list[str]:
        """Return what the worker said before, at its beginning and at its end."""
        lines = [f"{depth} messages ready; {beat}" for beat, depth in zip(self.beats, self.depths, strict=True)]
        shown = lines if len(lines) <= 2 * SHOWN else [*lines[:SHOWN], "...", *lines[-SHOWN:]]
        return [f"before: {self.before or 'nothing'}", *shown]

    def __str__(self) -> str:
        first, last = self.beats[0], self.beats[-1]
        return (
            f"STOOD STILL for {last.at - first.at:.0f} s and gave no reason, while {min(self.depths)} to "
            f"{max(self.depths)} messages were ready, from: {first}"
        )


class Activity:
    """Counts handlers that run and have begun. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy = self._begun = 0

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Count a handler for as long as the block takes."""
        with self._lock:
            self._busy += 1
            self._begun += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1

    def counts(self) -> tuple[int, int]:
        """Return how many are running, and how many have begun so far."""
        with self._lock:
            return self._busy, self._begun


@contextmanager
def beating(worker: Worker, activity: Activity, folder: Path) -> Iterator[None]:
    """Write a beat each second for as long as the block takes, from a thread of its own."""
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(worker, activity, folder, ended), name="pulse", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _beat(worker: Worker, activity: Activity, folder: Path, ended: threading.Event) -> None:
    with (folder / f"{os.getpid()}.beats").open("ab", buffering=0) as file:  # each line is one write
        while True:
            health, stats = worker.health(), worker.stats()
            busy, begun = activity.counts()
            beat = Beat(
                at=time.time(),
                pid=os.getpid(),
                busy=busy,
                begun=begun,
                retried=sum(stats.retried.values()),
                dead_lettered=sum(stats.dead_lettered.values()),
                reasons=health.reasons,
                warnings=getattr(health, "warnings", ()),
                paused=health.paused,
            )
            file.write(json.dumps(asdict(beat)).encode() + b"\n")
            if ended.wait(INTERVAL):
                return


def read(folder: Path) -> list[Beat]:
    """Return the beats of every worker process, each one's in their order."""
    return [_parsed(line) for path in sorted(folder.glob("*.beats")) for line in path.read_text().splitlines()]


def latest(folder: Path, pid: int) -> Beat | None:
    """Return the last beat of a worker process."""
    path = folder / f"{pid}.beats"
    lines = path.read_text().splitlines() if path.exists() else []
    return _parsed(lines[-1]) if lines else None


def _parsed(line: str) -> Beat:
    fields = json.loads(line)
    lists = {name: tuple(fields[name]) for name in ("reasons", "warnings", "paused")}
    return Beat(**{**fields, **lists})


def standstills(beats: Sequence[Beat], depths: Sequence[Depth], *, limit: float = STANDSTILL) -> list[Standstill]:
    """Return where a worker stood still for longer than `limit` seconds, with messages ready and without a reason.

    Seconds in which the broker did not answer, or the worker itself was frozen, are no evidence.

    Args:
        beats: of one worker after the other, in their order.
        depths: of the queue that they consume, in their order.
        limit: seconds.
    """
    waiting = [0 if beat.busy or beat.reasons or beat.paused else _depth_at(beat.at, depths) for beat in beats]
    found: list[Standstill] = []
    start = 0
    for end in range(1, len(beats) + 1):
        if end < len(beats) and waiting[end - 1] and waiting[end] and _goes_on(beats[end - 1], beats[end]):
            continue
        if waiting[start] and beats[end - 1].at - beats[start].at > limit:
            found.append(Standstill(beats[start - 1] if start else None, beats[start:end], waiting[start:end]))
        start = end
    return found


def _goes_on(before: Beat, beat: Beat) -> bool:
    return before.pid == beat.pid and before.begun == beat.begun and beat.at - before.at <= GAP


def _depth_at(moment: float, depths: Sequence[Depth]) -> int:
    """The last depth before a moment, 0 if there is none or it is too old."""
    index = bisect_right(depths, moment, key=lambda depth: depth.at)
    if index == 0 or moment - depths[index - 1].at > GAP:
        return 0
    return depths[index - 1].ready or 0
