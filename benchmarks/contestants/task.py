"""What every contestant is given: a broker, a number of messages, the messages themselves, and a meter."""

from __future__ import annotations

import gc
import itertools
import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

EXCHANGE = "bench"
QUEUE = "bench"
KEYS = ("video.upload", "video.delete", "audio.upload", "audio.delete")
DEADLINE = 600.0
"""Seconds after which a contestant counts as stuck."""


@dataclass(frozen=True)
class Task:
    """One run of one contestant. `options` are the part's, and mean something to the contestant alone."""

    url: str
    count: int
    options: dict[str, int | float | str | bool] = field(default_factory=dict)


def fields(number: int) -> dict[str, object]:
    """The fields of one message, some 230 bytes as JSON."""
    return {
        "id": number,
        "file": f"/media/incoming/2026/11/{number:08}/holiday-at-the-lake.mp4",
        "user": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "size": 734003200 + number,
        "tags": ["holiday", "lake", "family"],
        "note": "please keep the original sound",
    }


def messages(count: int) -> Iterator[tuple[bytes, str]]:
    """Bodies and routing keys."""
    return ((json.dumps(fields(number)).encode(), KEYS[number % len(KEYS)]) for number in range(count))


def prepared(things: Iterable[T]) -> list[T]:
    """Make a list of what is to be published, which the garbage collector then leaves alone: it is the benchmark's."""
    made = list(things)
    gc.collect()
    gc.freeze()
    return made


class Meter:
    """Counts handled messages from any thread, and tells how long they took from the first to the last."""

    def __init__(self, count: int) -> None:
        self.done = threading.Event()
        self._count = count
        self._numbers = itertools.count(1)  # whose `next` is atomic
        self._began = self._ended = 0.0

    def __call__(self) -> int:
        """One message is handled; which one it was, from 1."""
        number = next(self._numbers)
        if number == 1:
            self._began = time.perf_counter()
        if number == self._count:
            self._ended = time.perf_counter()
            self.done.set()
        return number

    def wait(self) -> None:
        """Wait for the last one."""
        if not self.done.wait(DEADLINE):
            raise TimeoutError(f"not {self._count} messages within {DEADLINE} s")

    def result(self) -> dict[str, float]:
        """Messages a second."""
        return rate(self._count - 1, self._ended - self._began)


def rate(count: int, seconds: float) -> dict[str, float]:
    """The result of doing something `count` times."""
    return {"rate": count / seconds}
