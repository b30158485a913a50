"""What came of failed messages: letters that say the wrong reason, and letters that came back late."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pika
import pika.exceptions

LATE = 5.0
"""Seconds past its delay from which a letter is late."""


@dataclass(frozen=True)
class Letter:
    """A message in a dead-letter queue."""

    body: bytes
    reason: str | None
    attempt: object

    @property
    def number(self) -> str:
        """Return the id that its body carries."""
        return str(json.loads(self.body)["id"])


def take(url: str, queue: str) -> list[Letter]:
    """Take every letter that is ready, by an independent client; none from a queue that is not there."""
    letters: list[Letter] = []
    with (
        closing(pika.BlockingConnection(pika.URLParameters(url))) as connection,
        suppress(pika.exceptions.ChannelClosedByBroker),
    ):
        channel = connection.channel()
        while (answer := channel.basic_get(queue))[0] is not None:
            method, properties, body = answer
            headers = properties.headers or {}
            letters.append(Letter(body, headers.get("x-taskroute-reason"), headers.get("x-taskroute-attempt")))
            channel.basic_ack(method.delivery_tag)
    return letters


def wrong(letters: Iterable[Letter], *, belongs: Callable[[str], bool], attempts: int) -> list[str]:
    """Return what is wrong with letters of handlers that raise.

    Args:
        letters: found.
        belongs: whether a message fails for good.
        attempts: after how many of them.
    """
    problems = []
    for letter in letters:
        if not belongs(letter.number):
            problems.append(f"MISPLACED: {letter.number} is a dead letter ({letter.reason}), and would have succeeded")
        elif (letter.reason, letter.attempt) != ("handler_error", attempts):
            problems.append(f"REASON: {letter.number} says {letter.reason!r} after attempt {letter.attempt!r}")
    return problems


@dataclass(frozen=True)
class Lateness:
    """How long letters took past their delay: how many came back, how many were late, and the latest one's seconds."""

    came_back: int
    late: int
    longest: float


def lateness(folder: Path, delays: Sequence[float]) -> Lateness:
    """Measure from the ledgers of a folder how late each message came back for its next attempt."""
    raised: dict[tuple[str, int], float] = {}
    started: dict[tuple[str, int], list[float]] = defaultdict(list)
    for path in folder.glob("*.ledger"):
        for line in path.read_text().splitlines():
            event, number, _, attempt, at = line.split()
            key, moment = (number, int(attempt)), float(at)
            if event == "raised":
                raised[key] = min(moment, raised.get(key, moment))
            elif event == "started":
                started[key].append(moment)
    past = [
        min(again) - failed - delays[attempt - 1]
        for (number, attempt), failed in raised.items()
        if (again := started.get((number, attempt + 1)))
    ]
    return Lateness(len(past), sum(seconds > LATE for seconds in past), max(past, default=0.0))
