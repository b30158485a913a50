"""How long tests wait for what other threads and processes do, and how."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, TypeVar

T = TypeVar("T")

CLUSTER_DEADLINE: Final = 180.0
"""Seconds that a test waits for a cluster to be in order again."""

DEADLINE: Final = 30.0
"""Seconds that a test waits for something before it fails; as a rule it comes much sooner."""

PROCESS_DEADLINE: Final = 60.0
"""The same for a process of its own, which must start first."""


def until(condition: Callable[[], object], within: float = DEADLINE) -> None:
    """Ask for a condition again and again until it holds: for state that no event announces."""
    pause, deadline = threading.Event(), time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it has not happened in time"
        pause.wait(0.01)


def until_slow(condition: Callable[[], object]) -> None:
    """The same for what takes a process of its own to find out, and a cluster a minute or two to come to."""
    deadline = time.monotonic() + CLUSTER_DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it has not happened in time"


def in_thread(call: Callable[[], T]) -> Future[T]:
    """Begin a call in a thread of its own; return the future of what it returns or raises."""
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the test asks for it
            outcome.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return outcome
