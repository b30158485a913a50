"""Async handlers beside plain ones, under the same limits, retries, timeouts and shutdown; publishing from a loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from tests.kit.gate import Gate
from tests.kit.inside import InsidePublisher, InsideWorker
from tests.kit.peer import looking
from tests.kit.running import running
from tests.kit.specs import Video, media, topology, video
from tests.kit.waiting import DEADLINE, until

from taskroute import (
    BrokerUnavailableError,
    CallNext,
    ClosedError,
    HandlerRegistry,
    Message,
    Publisher,
    Receipt,
    ShutdownTimeoutError,
    UnroutableError,
    Worker,
)
from taskroute.broker.roles.submission import Submission
from taskroute.publisher.window import Window


def test_async_and_plain_handlers_share_a_queue(broker_url: str) -> None:
    """An async handler runs on the worker's loop, a plain one on a handler thread."""
    seen: list[Any] = []
    registry = HandlerRegistry()

    @registry.handler("video.{action}", queue=video)
    async def transcode(task: Video, action: str) -> None:
        await asyncio.sleep(0)
        seen.append((task.id, action, threading.current_thread().name))

    @registry.handler("video.plain", queue=video)
    def plain(task: Video) -> None:
        seen.append((task.id, "plain", threading.current_thread().name.rstrip("0123456789")))

    with running(broker_url, topology, registry, threads=2, name="w") as (worker, publisher):
        publisher.publish(Video(id=1), "video.upload", exchange=media)
        publisher.publish(Video(id=2), "video.plain", exchange=media)
        assert worker.wait_idle(DEADLINE)
        stats = worker.stats()

    assert sorted(seen) == [(1, "upload", "w-loop"), (2, "plain", "w-handler-")]
    assert sum(stats.handled.values()) == 2


@pytest.mark.parametrize("threads", [0, 2])
def test_waiting_async_handlers_run_at_once_up_to_prefetch(broker_url: str, threads: int) -> None:
    """Async handlers that wait hold no handler thread; only the prefetch limits how many run."""
    gate, done = Gate(), list[int]()
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    async def wait(body: Video) -> None:
        await gate.stand()
        done.append(body.id)

    with running(broker_url, topology, registry, threads=threads, prefetch=5) as (worker, publisher):
        for number in range(12):
            publisher.publish(Video(id=number), "video.a", exchange=media)
        gate.wait(5)
        assert not worker.wait_idle(0.2)
        assert gate.most <= 5 + 1  # the first message comes alone, before the queue has its whole prefetch

        InsideWorker(worker).run_on_loop(gate.open()).result(DEADLINE)
        assert worker.wait_idle(DEADLINE)

    assert sorted(done) == list(range(12))


def test_async_handler_error_is_retried_then_dead_lettered(broker_url: str) -> None:
    """An exit in a handler, and the cancellation of a task that it awaits, are errors like any other."""
    attempts: list[int] = []
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    async def fail(message: Message) -> None:
        attempts.append(message.attempt)
        if message.routing_key == "video.exit":
            raise SystemExit
        if message.routing_key == "video.cancelled":  # a task that the handler awaits, not the handler
            task = asyncio.ensure_future(asyncio.sleep(60))
            task.cancel()
            await task
        raise ValueError

    with running(broker_url, topology, registry) as (worker, publisher):
        for key in ("video.error", "video.exit", "video.cancelled"):
            publisher.publish({}, key, exchange=media)
        assert worker.wait_idle(DEADLINE)
        stats = worker.stats()

    assert sorted(attempts) == [1, 1, 1, 2, 2, 2]
    assert stats.retried == {"video": 3}
    assert stats.dead_lettered == {"video": 3}


def test_async_handler_is_cancelled_at_its_timeout_and_retried(broker_url: str) -> None:
    """A TimeoutError that the handler itself raises counts as handler_error."""
    cancelled: list[int] = []
    registry = HandlerRegistry()

    @registry.handler("video.slow", queue=video, timeout=0.05)
    async def slow(message: Message) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(message.attempt)
            raise

    @registry.handler("video.own", queue=video, timeout=60, retry=False)
    async def own(message: Message) -> None:
        raise TimeoutError("the handler's own")

    with running(broker_url, topology, registry) as (worker, publisher):
        publisher.publish({}, "video.slow", exchange=media)
        publisher.publish({}, "video.own", exchange=media)
        assert worker.wait_idle(DEADLINE)

        until(lambda: worker.health().ready)  # its loop may be late, and forgets a handler last of all
    assert cancelled == [1, 2]
    with looking(broker_url) as peer:
        dead = peer.get_all("video.dead")
    reasons = {message.properties["application_headers"]["x-taskroute-reason"] for message in dead}
    assert reasons == {"handler_timeout", "handler_error"}


def test_async_handler_that_blocks_its_loop_is_reported_overdue(taskroute_url: str) -> None:
    release, begun, registry = threading.Event(), threading.Event(), HandlerRegistry()

    @registry.handler("#", queue=video, timeout=0.01)
    async def block(body: bytes) -> None:
        begun.set()
        release.wait(DEADLINE)  # blocks the loop

    with running(taskroute_url, topology, registry) as (worker, publisher):
        publisher.publish(b"", "video.a", exchange=media)
        assert begun.wait(DEADLINE)
        until(lambda: worker.stats().overdue == {"video": 1})
        (reason,) = worker.health().reasons
        assert "video.a" in reason

        release.set()
        assert worker.wait_idle(DEADLINE)
        until(lambda: worker.health().ready)


def test_worker_stop_lets_running_async_handlers_finish(broker_url: str) -> None:
    gate, done, registry = Gate(), list[int](), HandlerRegistry()

    @registry.handler("#", queue=video)
    async def wait(body: Video) -> None:
        await gate.stand()
        done.append(body.id)

    with Publisher(broker_url, topology) as publisher:
        with Worker(broker_url, topology, registry, prefetch=3) as worker:
            for number in range(3):
                publisher.publish(Video(id=number), "video.a", exchange=media)
            gate.wait(3)
            inside = InsideWorker(worker)
            inside.call_later(0.1, lambda: inside.run_on_loop(gate.open()))

        assert sorted(done) == [0, 1, 2]
        assert sum(worker.stats().handled.values()) == 3


def test_worker_stop_deadline_cancels_handler_and_requeues_message(
    broker_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An async handler that is cancelled by the end of the worker has not failed."""
    gate, cleaned, registry = Gate(), list[int](), HandlerRegistry()

    @registry.handler("#", queue=video)
    async def wait(body: Video) -> None:
        try:
            await gate.stand()
        finally:
            cleaned.append(body.id)

    worker = Worker(broker_url, topology, registry, shutdown_timeout=0.2, name="w")

    worker.start()
    with Publisher(broker_url, topology) as publisher:
        publisher.publish(Video(id=7), "video.a", exchange=media)
    gate.wait(1)
    with pytest.raises(ShutdownTimeoutError, match=r"w-loop is handling 'video.a'"):
        worker.stop()
    InsideWorker(worker).wait_loop_ended()

    assert cleaned == [7]
    assert "message_failed" not in caplog.text
    with looking(broker_url) as peer:
        assert peer.receive("video", 1).bodies == [b'{"id":7}']


def test_plain_and_async_middleware_wrap_both_kinds_of_handler(broker_url: str) -> None:
    seen: list[str] = []
    registry = HandlerRegistry()

    def plain(message: Message, call_next: CallNext) -> Any:
        seen.append(f"plain {message.routing_key}")
        return call_next(message)

    async def later(message: Message, call_next: CallNext) -> Any:
        seen.append(f"later {message.routing_key}")
        return await call_next(message)

    @registry.handler("video.plain", queue=video)
    def on_plain(body: bytes) -> None:
        seen.append("on plain")

    @registry.handler("video.later", queue=video)
    async def on_later(body: bytes) -> None:
        seen.append("on later")

    for middleware in ([plain, later], [later, plain]):
        seen.clear()
        with running(broker_url, topology, registry, threads=1, middleware=middleware) as (worker, publisher):
            for key in ("plain", "later"):
                publisher.publish(b"", f"video.{key}", exchange=media)
                assert worker.wait_idle(DEADLINE)
        first, second = (layer.__name__ for layer in middleware)
        assert seen == [
            line
            for key in ("plain", "later")
            for line in (f"{first} video.{key}", f"{second} video.{key}", f"on {key}")
        ]


def test_publish_async_returns_a_receipt_or_raises(broker_url: str) -> None:
    """Coroutines share a small window; an unroutable message and a closed publisher raise."""

    async def main(publisher: Publisher) -> list[Any]:
        with pytest.raises(UnroutableError):
            await publisher.publish_async({}, "nowhere", exchange=media)
        jobs = (publisher.publish_async(Video(id=n), "video.a", exchange=media) for n in range(50))
        return await asyncio.gather(*jobs)

    publisher = Publisher(broker_url, topology, max_in_flight=4)

    with publisher:
        receipts = asyncio.run(main(publisher))
        assert all(isinstance(receipt, Receipt) for receipt in receipts)
    with pytest.raises(ClosedError):
        asyncio.run(main(publisher))

    with looking(broker_url) as peer:
        assert peer.ready("video") == 50


def test_publish_async_without_room_raises_at_its_timeout(taskroute_url: str) -> None:
    """A coroutine that is cancelled while it waits for room is not published and takes no room."""

    async def main(publisher: Publisher) -> None:
        first = asyncio.ensure_future(publisher.publish_async({}, "video.a", exchange=media))
        await asyncio.sleep(0)
        with pytest.raises(BrokerUnavailableError, match="no room"):
            await publisher.publish_async({}, "video.a", exchange=media, timeout=0.1)
        waiting = asyncio.ensure_future(publisher.publish_async({}, "video.a", exchange=media, timeout=DEADLINE))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        InsidePublisher(publisher).unblock()
        assert isinstance(await first, Receipt)

    with Publisher(taskroute_url, topology, max_in_flight=1) as publisher:
        InsidePublisher(publisher).block()
        asyncio.run(main(publisher))
        assert publisher.wait_idle(DEADLINE)


def test_publish_async_waits_for_room_in_turn_without_a_thread(taskroute_url: str) -> None:
    """Coroutines that wait for room use no thread of the loop's executor; cancelled ones leave the line."""

    async def main(publisher: Publisher) -> None:
        tasks = [
            asyncio.ensure_future(publisher.publish_async(Video(id=n), "video.a", exchange=media, timeout=DEADLINE))
            for n in range(100)
        ]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(asyncio.to_thread(threading.active_count), DEADLINE / 2) < 50
        for task in tasks[10::2]:
            task.cancel()
        await asyncio.sleep(0)
        assert InsidePublisher(publisher).awaiting_room <= 8 + 45  # cancelled coroutines are not kept
        InsidePublisher(publisher).unblock()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes[10:]] == [asyncio.CancelledError, Receipt] * 45

    with Publisher(taskroute_url, topology, max_in_flight=2) as publisher:
        InsidePublisher(publisher).block()
        asyncio.run(main(publisher))
        assert publisher.wait_idle(DEADLINE)


def submission() -> Submission:
    return Submission(exchange="", routing_key="", body=b"", properties={}, message_id="", mandatory=True, deadline=0)


def test_window_keeps_the_room_of_a_waiter_whose_turn_it_is() -> None:
    """Threads that come before it has run do not take its place, so that it need not begin to wait again."""

    async def main() -> None:
        window, first, waiting = Window(1), submission(), submission()
        assert window.enter(first, 0)
        waiter = asyncio.ensure_future(window.enter_async(waiting, DEADLINE))
        await asyncio.sleep(0)

        first.future.set_result(Receipt("", "", ""))
        assert not window.enter(submission(), 0)

        assert window.unsettled() == (waiting,)
        assert await waiter

    asyncio.run(main())


def test_window_that_is_closed_takes_no_waiter_in() -> None:
    async def main() -> None:
        window, first = Window(1), submission()
        assert window.enter(first, 0)
        waiter = asyncio.ensure_future(window.enter_async(submission(), DEADLINE))
        await asyncio.sleep(0)

        assert window.close() == (first,)

        assert not await waiter

    asyncio.run(main())


def test_window_room_of_a_cancelled_waiter_goes_to_the_next() -> None:
    async def main() -> None:
        window, first = Window(1), submission()
        assert window.enter(first, 0)
        second, third = (asyncio.ensure_future(window.enter_async(submission(), DEADLINE)) for _ in range(2))
        await asyncio.sleep(0)
        first.future.set_result(Receipt("", "", ""))  # gives its room to the second, which has not run yet
        second.cancel()
        assert await third
        with pytest.raises(asyncio.CancelledError):
            await second

    asyncio.run(main())
