"""EventLoop: coroutines of other threads, cancelled in order at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from taskroute.event_loop import EventLoop

DEADLINE = 30.0


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop("a-loop")
    yield loop
    loop.stop()
    assert loop.join(DEADLINE)


async def name() -> str:
    return threading.current_thread().name


def test_the_thread_comes_into_being_with_the_first_coroutine(loop: EventLoop) -> None:
    assert "a-loop" not in {thread.name for thread in threading.enumerate()}
    assert loop.submit(name()).result(DEADLINE) == "a-loop"


def test_what_came_just_before_the_end_is_begun_and_sees_that_it_is_cancelled(loop: EventLoop) -> None:
    told: list[str] = []
    go_on = threading.Event()

    async def block() -> None:
        go_on.wait(DEADLINE)

    async def late() -> None:
        told.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    loop.run(block())
    loop.run(late())
    loop.stop()
    go_on.set()
    assert loop.join(DEADLINE)
    assert told == ["begun", "cancelled"]


def test_an_exit_in_a_task_that_a_handler_has_left_behind_does_not_end_the_loop(
    loop: EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[asyncio.Task[None]] = []

    async def leave() -> None:
        async def exit_() -> None:
            raise SystemExit

        left.append(asyncio.create_task(exit_()))

    loop.submit(leave()).result(DEADLINE)
    assert loop.submit(name()).result(DEADLINE) == "a-loop"
    assert isinstance(left[0].exception(), SystemExit)
    assert "loop_interrupted error=SystemExit" in caplog.text
