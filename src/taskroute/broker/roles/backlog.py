"""Backlogs: how many messages are ready in each queue that is consumed, as the broker said last."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from taskroute.exported import exported_by


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Backlog:
    """How many messages of a queue were ready, for any consumer, when the broker said so `age` seconds ago."""

    ready: int
    age: float


class _Answer(NamedTuple):
    ready: int
    at: float


class Backlogs:
    """The last answers. The session's thread changes them, any thread may read them.

    Args:
        tell: is told of each answer, and None of a queue of which nothing is known any more.
    """

    def __init__(self, tell: Callable[[str, int | None], object]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._answers: dict[str, _Answer] = {}

    def note(self, queue: str, ready: int) -> None:
        """Take an answer."""
        answer = _Answer(ready, time.monotonic())
        with self._lock:
            self._answers[queue] = answer
        self._tell(queue, ready)

    def forget(self, queue: str) -> None:
        """Take note that what the broker said of a queue need not be so any more."""
        with self._lock:
            known = self._answers.pop(queue, None)
        if known is not None:
            self._tell(queue, None)

    def forget_all(self) -> None:
        """Do the same for every queue."""
        with self._lock:
            queues = list(self._answers)
        for queue in queues:
            self.forget(queue)

    def ready(self, queue: str) -> int:
        """Return how many messages waited in a queue; 0 if that is not known."""
        with self._lock:
            answer = self._answers.get(queue)
        return 0 if answer is None else answer.ready

    def now(self) -> Mapping[str, Backlog]:
        """Return what is known, by queue."""
        with self._lock:
            answers = dict(self._answers)
        now = time.monotonic()
        return {queue: Backlog(answer.ready, now - answer.at) for queue, answer in answers.items()}
