"""EventLoop: coroutines of other threads, cancelled in order at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future

import pytest
from tests.kit.waiting import DEADLINE

from taskroute.worker.event_loop import EventLoop


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


def test_what_is_begun_while_others_are_cancelled_is_cancelled_too(loop: EventLoop) -> None:
    told: list[str] = []
    begun = threading.Event()

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append("late")

    async def first() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            loop.run(late())
            told.append("first")

    loop.run(first())
    assert begun.wait(DEADLINE)
    loop.stop()
    assert loop.join(DEADLINE)
    assert told == ["first", "late"]


def test_an_exit_of_one_that_is_cancelled_does_not_keep_the_others_from_ending(loop: EventLoop) -> None:
    told: list[str] = []

    async def exit_() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise SystemExit

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(10):
                await asyncio.sleep(0)
            told.append("slow")

    for each in (exit_(), slow()):
        loop.run(each)
    loop.submit(name()).result(DEADLINE)
    loop.stop()
    assert loop.join(DEADLINE)
    assert told == ["slow"]


@pytest.mark.parametrize("is_begun", [False, True])
def test_what_comes_after_the_end_is_dropped_and_who_waits_for_it_is_told(is_begun: bool) -> None:
    loop = EventLoop("a-loop")
    if is_begun:
        loop.submit(name()).result(DEADLINE)
    loop.stop()
    assert loop.join(DEADLINE)
    loop.run(name())  # type: ignore[arg-type]
    with pytest.raises(CancelledError):
        loop.submit(name()).result(DEADLINE)
    assert "a-loop" not in {thread.name for thread in threading.enumerate()}


def test_a_loop_that_is_stopped_by_its_own_thread_is_not_waited_for(loop: EventLoop) -> None:
    async def join() -> bool:
        loop.stop()
        return loop.join(DEADLINE)

    assert not loop.submit(join()).result(DEADLINE)


def test_whatever_comes_while_the_loop_ends_is_run_cancelled_or_dropped_and_who_waits_is_told() -> None:
    async def wait(number: int) -> None:
        await asyncio.sleep(60 * (number % 2))

    for _ in range(20):
        loop = EventLoop("a-loop")
        results: list[Future[None]] = []

        def post(loop: EventLoop = loop, results: list[Future[None]] = results) -> None:
            results.extend(loop.submit(wait(number)) for number in range(50))

        threads = [threading.Thread(target=post) for _ in range(2)]
        for thread in threads:
            thread.start()
        loop.stop()
        loop.stop()
        for thread in threads:
            thread.join(DEADLINE)
        assert loop.join(DEADLINE)
        assert [result.done() for result in results] == [True] * 100


def test_a_second_stop_leaves_generators_the_time_to_be_closed(loop: EventLoop) -> None:
    left: list[AsyncIterator[int]] = []
    running: list[asyncio.AbstractEventLoop] = []
    told: list[str] = []
    closing, go_on = threading.Event(), asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closing.set()
            await go_on.wait()
            told.append("closed")

    async def leave() -> None:
        running.append(asyncio.get_running_loop())
        left.append(numbers())
        await anext(left[0])

    loop.submit(leave()).result(DEADLINE)
    loop.stop()
    assert closing.wait(DEADLINE)
    loop.stop()
    running[0].call_soon_threadsafe(go_on.set)
    assert loop.join(DEADLINE)
    assert told == ["closed"]
