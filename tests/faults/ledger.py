"""A ledger: what processes did, written by themselves, and a checker that says what was lost, made up or repeated.

Each process appends a short line for each event with one `write`, which survives its being killed. What is left in the
broker at the end is drained by a client that has nothing in common with the library: pika.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pika

Event = Literal["attempted", "confirmed", "failed", "started", "raised", "done"]


def body_of(number: str) -> bytes:
    """A body that carries its id and a hash of it."""
    return json.dumps({"id": number, "hash": hashlib.sha256(number.encode()).hexdigest()}).encode()


class Ledger:
    """Appends events to a file of this process's own in a folder that all share. Any thread."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / f"{os.getpid()}.ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, event: Event, number: str, attempt: int = 0) -> None:
        """Note one event, and which attempt of a worker it belongs to."""
        os.write(self._file, f"{event} {number} {os.getpid()} {attempt} {time.time():.3f}\n".encode())

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)


@dataclass(frozen=True)
class Entries:
    """What the ledgers of all processes say, by event: how often each message."""

    counts: Mapping[str, Counter[str]]

    def of(self, event: Event) -> Counter[str]:
        """How often each message had this event."""
        return self.counts.get(event, Counter())


def read(folder: Path) -> Entries:
    """Read all ledgers of a folder. A last line that was cut short by a kill cannot be: each is one write."""
    counts: dict[str, Counter[str]] = {}
    for path in folder.glob("*.ledger"):
        for line in path.read_text().splitlines():
            event, number, *_ = line.split()
            counts.setdefault(event, Counter())[number] += 1
    return Entries(counts)


class Follower:
    """Follows the ledgers of a folder while they are written, reading only what is new. One thread.

    Args:
        folder: of the ledgers.
        retries: how many attempts at a message are followed by another one.
    """

    def __init__(self, folder: Path, retries: int) -> None:
        self._folder = folder
        self._retries = retries
        self._read: Counter[Path] = Counter()
        self._counts: Counter[str] = Counter()
        self._began: set[tuple[str, int]] = set()
        self._failed: set[tuple[str, int]] = set()

    def count(self, event: Event) -> int:
        """Return how often an event has happened so far."""
        self._follow()
        return self._counts[event]

    def awaited(self) -> frozenset[tuple[str, int]]:
        """Return the attempts, by message and number, that a failure has promised and that have not begun."""
        self._follow()
        return frozenset(self._failed)

    def _follow(self) -> None:
        for path in self._folder.glob("*.ledger"):
            with path.open("rb") as file:
                file.seek(self._read[path])
                read = file.read()
            new = read[: read.rfind(b"\n") + 1]  # a line that is being written is read the next time
            self._read[path] += len(new)
            for line in new.decode().splitlines():
                event, number, _, attempt, _ = line.split()
                self._counts[event] += 1
                if event == "started":
                    self._began.add((number, int(attempt)))
                elif event == "raised" and int(attempt) <= self._retries:
                    self._failed.add((number, int(attempt) + 1))
        self._failed -= self._began  # another process may have begun, and its file been read first


@dataclass(frozen=True)
class Verdict:
    """What the checker found. `problems` is empty if the contract was kept."""

    confirmed: int
    done: int
    dead: int
    left: int
    recovered: int
    duplicates: int
    problems: Sequence[str] = field(default_factory=tuple)

    def __str__(self) -> str:
        return (
            f"{self.confirmed} confirmed, {self.done} done, {self.dead} dead-lettered, {self.left} left in queues, "
            f"{self.recovered} unconfirmed and yet done, {self.duplicates} handled again; "
            + ("; ".join(self.problems) or "nothing lost, nothing made up")
        )


def check(
    entries: Entries,
    *,
    dead: Iterable[bytes] = (),
    left: Iterable[bytes] = (),
    max_duplicates: int,
    min_confirmed: int,
    max_done_and_dead: int = 0,
) -> Verdict:
    """Compare what was confirmed with what became of it.

    Args:
        dead: bodies found in dead-letter queues.
        left: bodies found in any other queue.
        max_duplicates: how many handlings, and dead letters, of a message that had one before are within the promise.
        min_confirmed: fewer make the run worthless.
        max_done_and_dead: messages that may be both, one for each crash.
    """
    problems: list[str] = []
    dead_ids, left_ids = _ids(dead, problems), _ids(left, problems)
    attempted, confirmed, done = entries.of("attempted"), entries.of("confirmed"), entries.of("done")
    lost = confirmed.keys() - done.keys() - dead_ids.keys() - left_ids.keys()
    unexpected = (done.keys() | dead_ids.keys() | left_ids.keys()) - attempted.keys()
    duplicates = sum(count - 1 for ends in (done, dead_ids) for count in ends.values())
    both = done.keys() & dead_ids.keys()
    if lost:
        problems.append(f"LOST {len(lost)}: {_some(lost)}")
    if unexpected:
        problems.append(f"UNEXPECTED {len(unexpected)}: {_some(unexpected)}")
    if duplicates > max_duplicates:
        problems.append(f"DUPLICATED {duplicates} times, the bound is {max_duplicates}")
    if len(both) > max_done_and_dead:
        problems.append(f"BOTH done and dead-lettered {len(both)}: {_some(both)}")
    if len(confirmed) < min_confirmed:
        problems.append(f"VACUOUS: {len(confirmed)} confirmed, at least {min_confirmed} are needed")
    return Verdict(
        confirmed=len(confirmed),
        done=len(done),
        dead=sum(dead_ids.values()),
        left=sum(left_ids.values()),
        recovered=len(done.keys() - confirmed.keys()),
        duplicates=duplicates,
        problems=tuple(problems),
    )


def drain(url: str, queues: Iterable[str]) -> list[bytes]:
    """Take every message that is ready in `queues`, by an independent client."""
    bodies: list[bytes] = []
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        for queue in queues:
            while (answer := channel.basic_get(queue))[0] is not None:
                bodies.append(answer[2])
                channel.basic_ack(answer[0].delivery_tag)
    finally:
        connection.close()
    return bodies


def _ids(bodies: Iterable[bytes], problems: list[str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for body in bodies:
        number = json.loads(body)["id"]
        if body != body_of(number):
            problems.append(f"CHANGED: the body of {number}")
        found[number] += 1
    return found


def _some(ids: Iterable[str]) -> str:
    shown = sorted(ids)
    return ", ".join(shown[:10]) + (", ..." if len(shown) > 10 else "")
