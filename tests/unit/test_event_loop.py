"""EventLoop: coroutines that other threads submit, cancelled in order at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar

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


def test_thread_starts_with_the_first_coroutine(loop: EventLoop) -> None:
    assert "a-loop" not in {thread.name for thread in threading.enumerate()}
    assert loop.submit(name()).result(DEADLINE) == "a-loop"


def test_coroutine_run_just_before_stop_begins_and_is_cancelled(loop: EventLoop) -> None:
    events: list[str] = []
    resume = threading.Event()

    async def block() -> None:
        resume.wait(DEADLINE)

    async def late() -> None:
        events.append("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    loop.run(block())
    loop.run(late())
    loop.stop()

    resume.set()
    assert loop.join(DEADLINE)

    assert events == ["begun", "cancelled"]


def test_exit_in_an_abandoned_task_does_not_end_the_loop(loop: EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    """A handler may create a task and end before it."""
    left: list[asyncio.Task[None]] = []

    async def leave() -> None:
        async def exit_() -> None:
            raise SystemExit

        left.append(asyncio.create_task(exit_()))

    loop.submit(leave()).result(DEADLINE)

    assert loop.submit(name()).result(DEADLINE) == "a-loop"
    assert isinstance(left[0].exception(), SystemExit)
    assert "loop_interrupted error=SystemExit" in caplog.text


def test_coroutine_run_during_cancellation_is_cancelled_too(loop: EventLoop) -> None:
    events: list[str] = []
    begun = threading.Event()

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            events.append("late")

    async def first() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            loop.run(late())
            events.append("first")

    loop.run(first())
    assert begun.wait(DEADLINE)

    loop.stop()
    assert loop.join(DEADLINE)

    assert events == ["first", "late"]


def test_exit_of_a_cancelled_coroutine_lets_the_others_end(loop: EventLoop) -> None:
    events: list[str] = []

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
            events.append("slow")

    for each in (exit_(), slow()):
        loop.run(each)
    loop.submit(name()).result(DEADLINE)

    loop.stop()
    assert loop.join(DEADLINE)

    assert events == ["slow"]


@pytest.mark.parametrize("is_begun", [False, True])
def test_coroutine_after_the_end_is_dropped_or_cancelled(is_begun: bool) -> None:
    """`run` drops it, `submit` cancels its future, and neither starts a thread again."""
    loop = EventLoop("a-loop")
    if is_begun:
        loop.submit(name()).result(DEADLINE)
    loop.stop()
    assert loop.join(DEADLINE)

    loop.run(name())  # type: ignore[arg-type]
    with pytest.raises(CancelledError):
        loop.submit(name()).result(DEADLINE)
    assert "a-loop" not in {thread.name for thread in threading.enumerate()}


def test_join_from_the_thread_of_the_loop_does_not_wait(loop: EventLoop) -> None:
    async def join() -> bool:
        loop.stop()
        return loop.join(DEADLINE)

    assert not loop.submit(join()).result(DEADLINE)


def test_future_submitted_while_the_loop_ends_is_always_done() -> None:
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


def test_second_stop_lets_async_generators_close(loop: EventLoop) -> None:
    left: list[AsyncIterator[int]] = []
    running: list[asyncio.AbstractEventLoop] = []
    events: list[str] = []
    closing, resume = threading.Event(), asyncio.Event()

    async def numbers() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closing.set()
            await resume.wait()
            events.append("closed")

    async def leave() -> None:
        running.append(asyncio.get_running_loop())
        left.append(numbers())
        await anext(left[0])

    loop.submit(leave()).result(DEADLINE)
    loop.stop()
    assert closing.wait(DEADLINE)

    loop.stop()
    running[0].call_soon_threadsafe(resume.set)
    assert loop.join(DEADLINE)

    assert events == ["closed"]


def test_coroutine_that_is_run_sees_no_variable_of_another_thread(loop: EventLoop) -> None:
    """What a plain handler has set is not known to async handlers of other messages, which its thread begins."""
    tenant = ContextVar("tenant", default="nobody")
    seen: Future[str] = Future()

    async def look() -> None:
        seen.set_result(tenant.get())

    async def look_and_return() -> str:
        return tenant.get()

    token = tenant.set("acme")
    loop.run(look())

    assert seen.result(DEADLINE) == "nobody"
    assert loop.submit(look_and_return()).result(DEADLINE) == "acme"  # its thread waits: it is the same message
    tenant.reset(token)
