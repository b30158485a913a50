"""Faults of async handlers and of mixed plain and async middleware: lost connections, blocked loops, stops."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import running
from tests.kit.specs import media, topology, video
from tests.kit.waiting import DEADLINE, until

from taskroute import (
    CallNext,
    ConfigurationError,
    HandlerRegistry,
    Message,
    Publisher,
    ShutdownTimeoutError,
    Worker,
)
from taskroute.message.delivery import Delivery


class Count:
    """Count the handlers in its block: now, at most, and in all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.now = self.most = self.all = 0

    def __enter__(self) -> None:
        with self._changed:
            self.now += 1
            self.all += 1
            self.most = max(self.most, self.now)
            self._changed.notify_all()

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self.now -= 1
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.all >= count, DEADLINE), self.all


def lose_connection(worker: Worker) -> None:
    """Have the session discard its connection, as after an error on it, and wait for the next one."""
    connections = worker.stats().connections
    InsideWorker(worker).fail_on_session(ConnectionError("a test"))
    until(lambda: worker.stats().connections > connections)


def test_lost_connections_keep_async_handlers_within_prefetch(broker_url: str) -> None:
    """Redelivered messages wait while handlers of a lost connection still run."""
    count, release, done, registry = Count(), threading.Event(), [], HandlerRegistry()

    @registry.handler("#", queue=video)
    async def wait(body: bytes) -> None:
        with count:
            while not release.is_set():
                await asyncio.sleep(0.01)
            done.append(body)

    with running(broker_url, topology, registry, prefetch=4) as (worker, publisher):
        for number in range(10):
            publisher.publish(str(number), "video.a", exchange=media)
        count.wait(4)
        for _ in range(3):
            lose_connection(worker)
            assert not worker.wait_idle(0.2)
        assert count.most == 4

        release.set()
        assert worker.wait_idle(DEADLINE)
        assert count.most == 4

    assert {int(body) for body in done} == set(range(10))


def test_async_handler_that_cancels_itself_is_retried(taskroute_url: str) -> None:
    """It counts as a failure, is dead-lettered at the end and gives its place back."""
    attempts: list[int] = []
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    async def cancel(message: Message) -> None:
        attempts.append(message.attempt)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    with running(taskroute_url, topology, registry, concurrency={video: 1}) as (worker, publisher):
        publisher.publish(b"", "video.a", exchange=media)
        assert worker.wait_idle(DEADLINE)

        assert worker.stats().dead_lettered == {"video": 1}
    assert attempts == [1, 2]


@pytest.mark.parametrize("is_async", [False, True])
def test_handled_messages_are_released_before_their_timeout(taskroute_url: str, is_async: bool) -> None:
    registry = HandlerRegistry()

    def plain(body: bytes) -> None: ...

    async def later(body: bytes) -> None: ...

    registry.add("#", later if is_async else plain, queue=video, timeout=600)

    with running(taskroute_url, topology, registry, threads=2) as (worker, publisher):
        for _ in range(200):
            publisher.publish(b"", "video.a", exchange=media)
        assert worker.wait_idle(DEADLINE)
        gc.collect()

        kept = [each for each in gc.get_objects() if isinstance(each, Delivery)]
        assert len(kept) < 20  # the last one of each thread
        assert InsideWorker(worker).timer_count < 20


def test_overdue_handlers_beside_longer_timeouts_are_reported(taskroute_url: str) -> None:
    release, registry = threading.Event(), HandlerRegistry()
    for number, timeout in enumerate([60, 0.05, 30, 0.15]):

        def wait(body: bytes) -> None:
            release.wait(DEADLINE)

        registry.add(f"video.{number}", wait, queue=video, timeout=timeout)

    with running(taskroute_url, topology, registry, threads=4) as (worker, publisher):
        for number in range(4):
            publisher.publish(b"", f"video.{number}", exchange=media)
        until(lambda: worker.stats().overdue == {"video": 2})
        assert sorted(key for key in "0123" for reason in worker.health().reasons if f"video.{key}" in reason) == [
            "1",
            "3",
        ]

        release.set()
        assert worker.wait_idle(DEADLINE)


def test_message_that_waits_for_a_blocked_loop_is_reported_overdue(taskroute_url: str) -> None:
    begun, release, registry = threading.Event(), threading.Event(), HandlerRegistry()

    @registry.handler("video.blocks", queue=video)
    async def block(body: bytes) -> None:
        begun.set()
        release.wait(DEADLINE)

    @registry.handler("video.waits", queue=video, timeout=0.05)
    async def wait(body: bytes) -> None: ...

    with running(taskroute_url, topology, registry) as (worker, publisher):
        publisher.publish(b"", "video.blocks", exchange=media)
        assert begun.wait(DEADLINE)
        publisher.publish(b"", "video.waits", exchange=media)
        until(lambda: not worker.health().ready)
        (reason,) = worker.health().reasons
        assert "video.waits" in reason

        release.set()
        assert worker.wait_idle(DEADLINE)
        until(lambda: worker.health().ready)


def plain(message: Message, call_next: CallNext) -> Any:
    return call_next(message)


def forgiving(message: Message, call_next: CallNext) -> Any:
    try:
        return call_next(message)
    except Exception:  # noqa: BLE001 - as careless code does
        return None


async def later(message: Message, call_next: CallNext) -> Any:
    return await call_next(message)


@pytest.mark.parametrize("middleware", [[plain], [later], [forgiving, later], [later, plain], [later, plain, later]])
@pytest.mark.parametrize("handler_is_async", [False, True])
def test_worker_stop_with_a_hung_handler_ends_and_names_it(
    taskroute_url: str, middleware: list[Any], handler_is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The stop ends by its deadline with any mix of plain and async code, and the message returns to its queue."""
    begun, release, registry = threading.Event(), threading.Event(), HandlerRegistry()

    def hang(body: bytes) -> None:
        begun.set()
        release.wait(DEADLINE)

    async def hang_on_loop(body: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    registry.add("#", hang_on_loop if handler_is_async else hang, queue=video)
    worker = Worker(taskroute_url, topology, registry, middleware=middleware, shutdown_timeout=0.2)

    worker.start()
    with Publisher(taskroute_url, topology) as publisher:
        publisher.publish(b"m", "video.a", exchange=media)
    assert begun.wait(DEADLINE)
    with pytest.raises(ShutdownTimeoutError, match=r"is handling 'video\.a'"):
        worker.stop()
    release.set()
    inside = InsideWorker(worker)
    inside.wait_loop_ended()
    until(lambda: not inside.is_handling)

    assert "message_failed" not in caplog.text
    assert "settling_failed" not in caplog.text
    with looking(taskroute_url) as peer:
        assert peer.receive("video", 1).bodies == [b"m"]


def test_middleware_that_outlives_its_worker_runs_no_async_handler(
    taskroute_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Plain middleware that calls an async handler after the end of the worker starts no loop and logs no failure."""
    begun, release, registry = threading.Event(), threading.Event(), HandlerRegistry()

    def slow(message: Message, call_next: CallNext) -> Any:
        begun.set()
        release.wait(DEADLINE)
        return call_next(message)

    @registry.handler("#", queue=video)
    async def never(body: bytes) -> None:
        pytest.fail("the worker has ended")

    worker = Worker(taskroute_url, topology, registry, middleware=[slow], shutdown_timeout=0, name="w")

    worker.start()
    with Publisher(taskroute_url, topology) as publisher:
        publisher.publish(b"m", "video.a", exchange=media)
    assert begun.wait(DEADLINE)
    with pytest.raises(ShutdownTimeoutError):
        worker.stop()
    release.set()
    until(lambda: not InsideWorker(worker).is_handling)

    assert "w-loop" not in {thread.name for thread in threading.enumerate()}
    assert "failed" not in caplog.text


@pytest.mark.parametrize("threads", [0, 1])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("wait", [Worker.stop, partial(Worker.wait_idle, timeout=DEADLINE)], ids=["stop", "wait_idle"])
def test_handler_that_stops_or_awaits_its_own_worker_raises(
    taskroute_url: str, wait: Callable[[Worker], object], is_async: bool, threads: int
) -> None:
    """Worker.stop and Worker.wait_idle in a handler raise ConfigurationError at once and stop nothing."""
    ended, registry, errors = threading.Event(), HandlerRegistry(), list[str]()

    def plain(body: bytes) -> None:
        try:
            wait(worker)
        except ConfigurationError as error:
            errors.append(str(error))
        ended.set()

    async def later(body: bytes) -> None:
        plain(body)

    registry.add("#", later if is_async else plain, queue=video)

    with running(taskroute_url, topology, registry, threads=threads, shutdown_timeout=2 * DEADLINE) as (
        worker,
        publisher,
    ):
        publisher.publish(b"m", "video.a", exchange=media)
        assert ended.wait(DEADLINE / 2)
        assert worker.wait_idle(DEADLINE)

        assert worker.health().ready  # nothing has been stopped
        assert sum(worker.stats().handled.values()) == 1
    (error,) = errors
    assert "waits for itself" in error
    assert "another thread" in error
