"""A worker's threads: what cannot start, what is raised where nobody takes it, and who waits for whom."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatch
from types import FrameType
from typing import Any

import pytest
from tests.kit.calls import Calls, logged
from tests.kit.fork import run_in_fork
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import (
    CircuitBreaker,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    RetryPolicy,
    Topology,
    Worker,
)
from taskroute.handling.dispatch import Dispatcher
from taskroute.handling.settle import settle
from taskroute.instrumentation import Event, Instrumentation, Paused, Resumed
from taskroute.message.delivery import Delivery
from taskroute.worker import processor
from taskroute.worker.work_queue import WorkQueue

jobs = QueueSpec(name="jobs", retry=False)
topology = Topology(queues=[jobs])


class Alien(BaseException):
    """No `Exception`, as timeouts of other libraries and failures of test frameworks are none."""


@contextmanager
def no_thread_for(monkeypatch: pytest.MonkeyPatch, name: str, times: int | None = None) -> Iterator[None]:
    """Have the system give no thread to one whose name is like this: at all, or the first times."""
    start, left = threading.Thread.start, [times]

    def refuse(thread: threading.Thread) -> None:
        if fnmatch(thread.name, name) and left[0] != 0:
            left[0] = None if left[0] is None else left[0] - 1
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        yield


def threads_of(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def send(publisher: Publisher, *bodies: str, queue: str = "jobs") -> None:
    for body in bodies:
        publisher.publish(body, queue, exchange="")


# --- threads that cannot be started ---


@pytest.mark.parametrize("missing", ["brief-handler-7", "brief"])
def test_start_without_a_thread_leaves_none_and_may_be_repeated(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    """It is a handler thread, or that of the session, for which the system has none."""
    seen = Calls()
    worker = Worker(taskroute_url, topology, registry_of(seen_body(seen), "#", queue=jobs), name="brief")

    for _ in range(2):
        with no_thread_for(monkeypatch, missing), pytest.raises(RuntimeError, match="can't start new thread"):
            worker.start()
        assert threads_of("brief") == []
        assert worker.health().reasons == ("not started",)

    with worker, Publisher(taskroute_url, topology) as publisher:
        send(publisher, "a")
        seen.wait_for("a")


def test_async_message_without_a_thread_for_the_loop_is_handled_later(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "PAUSE", 0.01)
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler("#", queue=jobs)
    async def handle(body: str) -> None:
        seen(body)

    with running(taskroute_url, topology, registry, concurrency={"jobs": 1}) as (worker, publisher):
        with no_thread_for(monkeypatch, "*-loop", times=2), logged("handling_put_off") as lines:
            send(publisher, "a", "b")
            assert sorted(seen.wait(2)) == ["a", "b"]
        assert worker.wait_idle(DEADLINE)
        assert lines.calls
        assert worker.health().ready


def test_thread_that_cannot_be_replaced_costs_no_connection(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again with the next handler that hangs, and nothing is delivered twice."""
    go_on, seen = threading.Event(), Calls()

    def handle(body: str) -> None:
        seen(body)
        go_on.wait(DEADLINE)

    registry = registry_of(handle, "#", queue=jobs, timeout=0.05)
    with running(taskroute_url, topology, registry, threads=2) as (worker, publisher):
        with no_thread_for(monkeypatch, "*-handler-*"), logged("thread_not_replaced") as lines:
            send(publisher, "a")
            lines.wait()
        send(publisher, "b", "c", "d")
        seen.wait(4)  # both threads hang, and both are replaced

        go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert sorted(seen.calls) == ["a", "b", "c", "d"]
        assert worker.stats().connections == 1


# --- what is raised where nobody takes it ---


def test_alien_exception_in_a_hook_ends_no_thread(taskroute_url: str) -> None:
    class Raising(Instrumentation):
        def on_event(self, event: Event) -> None:
            raise Alien

    seen = Calls()
    registry = registry_of(seen_body(seen), "#", queue=jobs)
    options: dict[str, Any] = {"threads": 2, "instrumentation": [Raising()]}
    with running(taskroute_url, topology, registry, **options) as (worker, publisher):
        send(publisher, *"abcdef")
        seen.wait(6)

        assert worker.wait_idle(DEADLINE)
        assert worker.health().ready


def test_exception_of_a_log_handler_harms_no_message(taskroute_url: str) -> None:
    """Neither that over the line of the failed message, nor over a hook that fails, nor over a connection."""

    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise Alien

    class Failing(Instrumentation):
        def on_event(self, event: Event) -> None:
            raise ValueError

    def fail(body: str) -> None:
        raise ValueError

    handler, log = Raising(), logging.getLogger("taskroute")
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        registry = registry_of(fail, "#", queue=jobs)
        with running(taskroute_url, topology, registry, instrumentation=[Failing()]) as (worker, publisher):
            send(publisher, *"abc")

            assert worker.wait_idle(DEADLINE)
            assert worker.depths() == {"jobs.dead": 3}
            assert worker.health().ready
    finally:
        log.removeHandler(handler)
        log.setLevel(logging.NOTSET)


@pytest.mark.parametrize("error", [MemoryError, Alien])
def test_defect_in_settling_is_told_and_holds_no_other_message_back(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """The message stays unacknowledged, its place under the limit is given back, and `wait_idle` knows of it."""
    seen, errors = Calls(), [error]

    def defective(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return settle(*arguments)

    def fail(body: str) -> None:
        seen(body)
        raise ValueError

    monkeypatch.setattr(processor, "settle", defective)
    with running(taskroute_url, topology, registry_of(fail, "#", queue=jobs), concurrency={"jobs": 1}) as parts:
        worker, publisher = parts
        send(publisher, *"abc")
        seen.wait(3)
        until(lambda: worker.depths() == {"jobs.dead": 2})
        until(lambda: worker.health().reasons)  # its place was given back before it was left

        assert worker.health().reasons == (
            "1 messages of queue 'jobs' stay unacknowledged until the connection closes",
        )
        assert not worker.wait_idle(0.1)

        until(lambda: InsideWorker(worker).unsettled("jobs") == 1)  # or the others would be delivered again, too
        InsideWorker(worker).fail_on_session(ConnectionError("a test"))
        assert worker.wait_idle(DEADLINE)  # it was delivered again
        assert worker.depths() == {"jobs.dead": 3}
        assert worker.health().ready


def test_message_that_was_just_settled_is_not_told_as_lost(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread still has it for a moment."""
    done, settled, go_on = WorkQueue.done, threading.Event(), threading.Event()

    def done_slowly(work: WorkQueue, delivery: Delivery) -> None:
        done(work, delivery)
        settled.set()
        go_on.wait(DEADLINE)

    monkeypatch.setattr(WorkQueue, "done", done_slowly)
    with (
        logged("delivery_lost") as lost,
        running(taskroute_url, topology, registry_of(lambda body: None, "#", queue=jobs), threads=1) as parts,
    ):
        worker, publisher = parts
        send(publisher, "a")
        assert settled.wait(DEADLINE)
        InsideWorker(worker).fail_on_session(ConnectionError("a test"))
        until(lambda: worker.stats().connections == 2)
        go_on.set()

    assert lost.calls == []


def test_defect_before_a_handler_gives_its_place_to_the_next_message(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, dispatch, errors = Calls(), Dispatcher.dispatch, [MemoryError]

    def defective(dispatcher: Dispatcher, delivery: Delivery) -> Any:
        if errors:
            raise errors.pop()
        return dispatch(dispatcher, delivery)

    monkeypatch.setattr(Dispatcher, "dispatch", defective)
    registry = registry_of(seen_body(seen), "#", queue=jobs)
    with running(taskroute_url, topology, registry, concurrency={"jobs": 1}) as (worker, publisher):
        send(publisher, *"abc")

        assert seen.wait(2) == ["b", "c"]
        assert "stay unacknowledged" in worker.health().reasons[0]


def test_task_factory_that_raises_loses_no_message(taskroute_url: str) -> None:
    seen, registry, errors = Calls(), HandlerRegistry(), [MemoryError]

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if errors:
            raise errors.pop()
        return asyncio.Task(coroutine, loop=loop, **options)

    @registry.handler("#", queue=jobs)
    async def handle(body: str) -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        seen(body)

    with running(taskroute_url, topology, registry, threads=1) as (worker, publisher):
        for count, body in enumerate("abc", 1):
            send(publisher, body)
            seen.wait(count)

        assert worker.wait_idle(DEADLINE)
        assert not errors


# --- who waits for whom ---


def test_hooks_and_log_handlers_may_publish_and_ask_for_health(taskroute_url: str) -> None:
    """They are called at starts and stops, failures and pauses, and by no thread that holds a lock."""
    audit = QueueSpec(name="audit", retry=False)
    queues, seen = Topology(queues=[jobs, audit]), Calls()
    auditor = Publisher(taskroute_url, queues)

    def tell() -> None:
        auditor.submit("told", "audit", exchange="")
        seen(worker.health().ready, worker.stats().connections)

    class Telling(Instrumentation):
        def on_event(self, event: Event) -> None:
            tell()

    class Shipping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "taskroute.worker":
                tell()

    def fail(body: str) -> None:
        raise ValueError

    worker = Worker(
        taskroute_url,
        queues,
        registry_of(fail, "#", queue=jobs, timeout=3600),
        circuit_breaker=CircuitBreaker(failures=1, pause=0.01),
        instrumentation=[Telling()],
    )
    handler, log = Shipping(), logging.getLogger("taskroute")
    log.addHandler(handler)
    try:
        with auditor, worker:
            send(auditor, *"abc")
            assert worker.wait_idle(DEADLINE)
            assert worker.depths() == {"jobs.dead": 3}
    finally:
        log.removeHandler(handler)

    assert len(seen.calls) > 10


@contextmanager
def stopping(worker: Worker, begun: Callable[[], object]) -> Iterator[Future[None]]:
    """Have another thread stop a worker, and wait until that has begun."""
    stop = in_thread(worker.stop)
    until(begun)
    yield stop


def held(seen: Calls) -> tuple[Callable[[str], None], threading.Event]:
    """Return a handler that is held up until an event is set."""
    go_on = threading.Event()

    def handle(body: str) -> None:
        seen(body)
        assert go_on.wait(DEADLINE)

    return handle, go_on


def test_run_and_a_second_stop_return_when_the_first_stop_is_done(taskroute_url: str) -> None:
    seen = Calls()
    handle, go_on = held(seen)
    worker = Worker(taskroute_url, topology, registry_of(handle, "#", queue=jobs))
    run = in_thread(worker.run)
    with Publisher(taskroute_url, topology) as publisher:
        send(publisher, "a")
    seen.wait()

    with stopping(worker, lambda: InsideWorker(worker).is_stopping) as first:
        second = in_thread(worker.stop)
        InsideWorker(worker).note_end()  # of one session, which `run` hears of, before the others are at their end
        assert not any(call.done() for call in (first, second, run))

        go_on.set()
        for call in (second, run):
            call.result(DEADLINE)
            assert worker.health().reasons == ("stopped",)
            assert not InsideWorker(worker).session.is_alive
        first.result(DEADLINE)


def test_stop_goes_on_after_an_interrupted_one(taskroute_url: str) -> None:
    seen = Calls()
    handle, go_on = held(seen)
    worker = Worker(taskroute_url, topology, registry_of(handle, "#", queue=jobs))
    worker.start()
    with Publisher(taskroute_url, topology) as publisher:
        send(publisher, "a")
    seen.wait()

    def interrupt() -> None:
        until(lambda: InsideWorker(worker).is_stopping)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        worker.stop()
    interrupting.result(DEADLINE)
    assert worker.health().reasons == ("draining",)

    go_on.set()
    worker.stop()
    assert worker.health().reasons == ("stopped",)
    assert not InsideWorker(worker).session.is_alive


def test_stop_in_a_signals_handler_does_not_wait_for_the_stop_it_interrupts(taskroute_url: str) -> None:
    seen = Calls()
    handle, go_on = held(seen)
    worker = Worker(taskroute_url, topology, registry_of(handle, "#", queue=jobs))
    worker.start()
    with Publisher(taskroute_url, topology) as publisher:
        send(publisher, "a")
    seen.wait()

    def on_signal(number: int, frame: FrameType | None) -> None:
        worker.stop()
        go_on.set()

    def interrupt() -> None:
        until(lambda: InsideWorker(worker).is_stopping)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, on_signal)
    try:
        interrupting = in_thread(interrupt)
        worker.stop()
        interrupting.result(DEADLINE)
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert worker.health().reasons == ("stopped",)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # from Python 3.12 on: that is what it is about
def test_fork_while_locks_are_held_hangs_no_call_of_the_child(taskroute_url: str) -> None:
    """The child looks whose worker it is before it takes a lock."""
    worker = Worker(taskroute_url, topology, registry_of(lambda body: None, "#", queue=jobs))
    worker.start()

    def use_in_child() -> list[object]:
        asks = (worker.stats, worker.start, worker.run, worker.depths, lambda: worker.wait_idle(1))
        told = [name_of_error(ask) for ask in asks]
        worker.stop()
        return [*told, worker.health().live, *worker.health().reasons]

    with InsideWorker(worker).locks_held():
        answers = run_in_fork(use_in_child)
    worker.stop()

    belongs = "this worker belongs to the process that this one was forked from"
    assert answers == repr([*["ClosedError"] * 5, False, belongs])


def name_of_error(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - its name is asked for
        return type(error).__name__
    return "none"


# --- what one message leaves to another ---


def test_context_of_a_plain_handler_is_not_that_of_an_async_one(taskroute_url: str) -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")
    seen, registry = Calls(), HandlerRegistry()
    queues = Topology(queues=[QueueSpec(name=name, retry=False) for name in ("plain", "async")])

    @registry.handler("#", queue="plain")
    def plain(body: str) -> None:
        user.set(body)

    @registry.handler("#", queue="async")
    async def asynchronous(body: str) -> None:
        seen(user.get())

    with running(taskroute_url, queues, registry, threads=1) as (worker, publisher):
        send(publisher, "alice", queue="plain")
        assert worker.wait_idle(DEADLINE)
        send(publisher, "", queue="async")
        assert seen.wait() == ["nobody"]


def test_idle_threads_keep_no_delivery_alive(taskroute_url: str) -> None:
    begun = threading.Barrier(4)

    def handle(body: str) -> None:
        begun.wait(DEADLINE)

    kept = QueueSpec(name="kept", retry=False)
    registry = registry_of(handle, "#", queue=kept, timeout=60)
    with running(taskroute_url, Topology(queues=[kept]), registry, threads=4) as (worker, publisher):
        send(publisher, *"abcdefgh", queue="kept")
        assert worker.wait_idle(DEADLINE)

        def are_kept() -> bool:
            return any(isinstance(each, Delivery) and each.queue == "kept" for each in gc.get_objects())

        until(lambda: not are_kept())


def test_retry_that_fails_at_once_again_is_still_expected_back(taskroute_url: str) -> None:
    """The note that a retry is back comes before it can fail again, and is not taken for that of the next one."""
    queue = QueueSpec(name="jobs", retry=RetryPolicy(delays=(0.05,)))
    seen = Calls()

    def fail(body: str) -> None:
        seen(body)
        raise ValueError

    with (
        running(taskroute_url, Topology(queues=[queue]), registry_of(fail, "#", queue=queue)) as (worker, publisher),
        InsideWorker(worker).noting_deliveries() as notes,
    ):
        send(publisher, "a")
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)

    assert notes == ["lined up", "returned", "lined up"]


def test_pause_is_told_before_the_end_of_it_though_a_hook_is_slow(taskroute_url: str) -> None:
    told, resumed = Calls(), threading.Event()

    class Slow(Instrumentation):
        def on_event(self, event: Event) -> None:
            if isinstance(event, Paused):
                assert resumed.wait(DEADLINE)  # until the other message is handled
            if isinstance(event, Paused | Resumed):
                told(type(event).__name__)

    def handle(body: str) -> None:
        if body == "bad":
            raise ValueError

    options: dict[str, Any] = {
        "threads": 2,
        "circuit_breaker": CircuitBreaker(failures=1, pause=0.01),
        "instrumentation": [Slow()],
    }
    with running(taskroute_url, topology, registry_of(handle, "#", queue=jobs), **options) as (worker, publisher):
        send(publisher, "bad")
        until(lambda: worker.stats().paused)  # or "good", on the other thread, may end first, and ends no pause then
        send(publisher, "good")
        until(lambda: not worker.health().paused)
        resumed.set()
        assert told.wait(2) == ["Paused", "Resumed"]


@pytest.mark.parametrize("seconds", [1e10, 1e300])
def test_times_longer_than_python_can_wait_are_taken(taskroute_url: str, seconds: float) -> None:
    """They used to be taken and to end in an OverflowError after the message was written."""
    seen = Calls()
    registry = registry_of(seen_body(seen), "#", queue=jobs, timeout=seconds)
    worker = Worker(taskroute_url, topology, registry, circuit_breaker=CircuitBreaker(pause=seconds))
    worker.start(seconds)
    with Publisher(taskroute_url, topology, timeout=seconds) as publisher:
        send(publisher, "a")
        publisher.publish("b", "jobs", exchange="", timeout=seconds)
        seen.wait(2)

        assert worker.wait_idle(seconds)
        assert worker.depths(timeout=seconds) == {"jobs.dead": 0}
        publisher.close(seconds)
    worker.stop()


def seen_body(seen: Calls) -> Callable[[str], None]:
    def handle(body: str) -> None:
        seen(body)

    return handle
