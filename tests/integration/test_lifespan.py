"""A service's lifespan: opened before its worker starts, closed after it has stopped, and never in silence."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Annotated, Any

import pytest
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE, PROCESS_DEADLINE, in_thread, until

from taskroute import (
    ConfigurationError,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    Resource,
    RunningService,
    Service,
    ShutdownTimeoutError,
    Topology,
)
from taskroute.service.lifespan import Lifespan, TaskLife, ThreadLife
from taskroute.service.opening import Opening
from taskroute.service.service import run
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.signals import StopSignal

JOBS = QueueSpec(name="jobs", retry=False, dead_letter=False)
TOPOLOGY = Topology(queues=[JOBS])
TIMEOUT = 0.2


class Pool:
    """Tells where it was opened, used and closed."""

    def __init__(self, seen: Calls) -> None:
        self.seen = seen
        self.say("open")

    def say(self, what: str) -> None:
        self.seen(what, threading.current_thread().name)


def taking_pool() -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("plain", queue=JOBS)
    def plain(pool: Annotated[Pool, Resource()]) -> None:
        pool.say("plain")

    @registry.handler("async", queue=JOBS)
    async def async_(pool: Annotated[Pool, Resource()]) -> None:
        pool.say("async")

    return registry


def generator(seen: Calls) -> Callable[[], Iterator[Pool]]:
    def pools() -> Iterator[Pool]:
        pool = Pool(seen)
        yield pool
        pool.say("close")

    return pools


def async_generator(seen: Calls) -> Callable[[], AsyncIterator[Pool]]:
    async def pools() -> AsyncIterator[Pool]:
        pool = Pool(seen)
        task = asyncio.current_task()
        yield pool
        assert asyncio.current_task() is task
        pool.say("close")

    return pools


def service(lifespan: Any, url: str = "memory://lifespan", registry: HandlerRegistry | None = None) -> Service:
    registry = taking_pool() if registry is None else registry
    return Service(TOPOLOGY, registry, url=url, lifespan=lifespan, worker={"threads": 1})


@pytest.mark.parametrize("decorate", [lambda it: it, contextmanager])
def test_plain_lifespan_is_open_while_handlers_run(decorate: Any, taskroute_url: str) -> None:
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler("jobs", queue=JOBS)
    def handle(job: int, pool: Annotated[Pool, Resource()]) -> None:
        pool.say("used")

    with service(decorate(generator(seen)), taskroute_url, registry).running() as running:
        running.publisher.publish(1, "jobs", exchange="")
        assert running.worker.wait_idle(DEADLINE)

    assert seen.calls == [
        ("open", "taskroute-worker-lifespan"),
        ("used", "taskroute-worker-handler-0"),
        ("close", "taskroute-worker-lifespan"),
    ]


@pytest.mark.parametrize("decorate", [lambda it: it, asynccontextmanager])
def test_async_lifespan_lives_in_one_task_on_the_loop_of_handlers(decorate: Any, taskroute_url: str) -> None:
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler("jobs", queue=JOBS)
    async def handle(job: int, pool: Annotated[Pool, Resource()]) -> None:
        pool.say("used")

    with service(decorate(async_generator(seen)), taskroute_url, registry).running() as running:
        running.publisher.publish(1, "jobs", exchange="")
        assert running.worker.wait_idle(DEADLINE)

    assert seen.calls == [(what, "taskroute-worker-loop") for what in ("open", "used", "close")]
    until(lambda: "taskroute-worker-loop" not in {thread.name for thread in threading.enumerate()})


def test_background_tasks_of_a_lifespan_outlive_the_handlers(taskroute_url: str) -> None:
    """What a pool runs in the background is not cancelled with the handlers, for which it may still be needed."""
    seen, begun, registry = Calls(), threading.Event(), HandlerRegistry()

    @registry.handler("jobs", queue=JOBS)
    async def handle(job: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen("handler cancelled")

    async def lifespan() -> AsyncIterator[None]:
        background = asyncio.create_task(asyncio.Event().wait())
        yield
        seen(f"background cancelled {background.done()}")
        background.cancel()

    made = service(lifespan, taskroute_url, registry).replace(worker={"shutdown_timeout": 0.1})
    with made.running() as running:
        running.publisher.publish(1, "jobs", exchange="")
        assert begun.wait(DEADLINE)
        with pytest.raises(ShutdownTimeoutError, match="is handling"):
            running.worker.stop()

    assert seen.calls == ["handler cancelled", "background cancelled False"]


def test_handlers_end_before_the_lifespan_and_the_publisher_after_it(taskroute_url: str) -> None:
    seen, begun, release, registry = Calls(), threading.Event(), threading.Event(), HandlerRegistry()

    @registry.handler("jobs", queue=JOBS)
    def handle(job: int) -> None:
        begun.set()
        assert release.wait(DEADLINE)
        seen("handled")

    def lifespan(publisher: Publisher) -> Iterator[None]:
        yield
        seen(publisher.publish(2, "jobs", exchange="").routing_key)

    with service(lifespan, taskroute_url, registry).running() as running:
        running.publisher.publish(1, "jobs", exchange="")
        assert begun.wait(DEADLINE)

        def release_in_the_end() -> None:
            until(lambda: running.worker.health().reasons == ("draining",))
            release.set()

        ending = in_thread(release_in_the_end)

    ending.result(DEADLINE)
    assert seen.calls == ["handled", "jobs"]


def test_lifespan_can_have_the_publisher(taskroute_url: str) -> None:
    def lifespan(publisher: Publisher) -> Iterator[Publisher]:
        yield publisher

    given: list[object] = []
    registry = HandlerRegistry()

    @registry.handler("jobs", queue=JOBS)
    def handle(job: int, same: Annotated[Publisher, Resource()], publisher: Publisher) -> None:
        given.extend([same, publisher])

    with service(lifespan, taskroute_url, registry).running() as running:
        running.publisher.publish(1, "jobs", exchange="")
        assert running.worker.wait_idle(DEADLINE)
        assert given == [running.publisher] * 2


def test_service_without_its_worker_leaves_the_lifespan_closed(taskroute_url: str) -> None:
    seen = Calls()

    with service(generator(seen), taskroute_url).running(worker=False):
        pass

    assert seen.calls == []


# --- what goes wrong ---


class BrokenError(Exception):
    pass


def break_() -> None:
    raise BrokenError


def fails_to_open() -> Iterator[Pool]:
    break_()
    yield Pool(Calls())


async def fails_to_open_async() -> AsyncIterator[Pool]:
    break_()
    yield Pool(Calls())


def fails_to_close() -> Iterator[Pool]:
    yield Pool(Calls())
    raise BrokenError


async def fails_to_close_async() -> AsyncIterator[Pool]:
    yield Pool(Calls())
    raise BrokenError


def yields_twice() -> Iterator[Pool]:
    yield Pool(Calls())
    yield Pool(Calls())


async def yields_twice_async() -> AsyncIterator[Pool]:
    yield Pool(Calls())
    yield Pool(Calls())


def yields_nothing() -> Iterator[Pool]:
    yield from ()


async def yields_nothing_async() -> AsyncIterator[Pool]:
    for pool in yields_nothing():
        yield pool


def yields_something_else() -> Iterator[str]:
    yield "secret"


async def is_no_generator() -> None: ...
def takes_an_app(app: object) -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("lifespan", "error", "text"),
    [
        (fails_to_open, BrokenError, r"raised while lifespan .*\.fails_to_open was opened"),
        (fails_to_open_async, BrokenError, r"raised while lifespan .*\.fails_to_open_async was opened"),
        (fails_to_close, BrokenError, r"raised while lifespan .*\.fails_to_close was closed"),
        (fails_to_close_async, BrokenError, r"raised while lifespan .*\.fails_to_close_async was closed"),
        (yields_twice, ConfigurationError, r"lifespan .*\.yields_twice yields more than once"),
        (yields_twice_async, ConfigurationError, r"lifespan .*\.yields_twice_async yields more than once"),
        (yields_nothing, ConfigurationError, r"lifespan .*\.yields_nothing yields nothing"),
        (yields_nothing_async, ConfigurationError, r"lifespan .*\.yields_nothing_async yields nothing"),
        (contextmanager(yields_twice), ConfigurationError, "yields more than once"),
        (
            yields_something_else,
            ConfigurationError,
            r"plain .*asks for Pool .*, and the resources are a str",
        ),
        (is_no_generator, ConfigurationError, "returned a coroutine: write a generator function"),
        (lambda: None, ConfigurationError, "returned a NoneType: write a generator function"),
        (takes_an_app, ConfigurationError, "nothing feeds parameter 'app'"),
    ],
)
def test_lifespan_that_goes_wrong_is_an_error_that_names_it(lifespan: Any, error: type[Exception], text: str) -> None:
    before = set(threading.enumerate())

    with pytest.raises(error, match=text), service(lifespan).running():
        pass

    until(lambda: not [each for each in set(threading.enumerate()) - before if each.name.startswith("taskroute")])


def test_lifespan_with_its_brackets_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="lifespan must be a function, and is a generator"):
        service(yields_twice())


def test_lifespan_is_closed_after_an_error_of_the_program() -> None:
    """What follows the yield runs, although nothing stands around it."""
    seen = Calls()

    with pytest.raises(BrokenError), service(generator(seen)).running():
        raise BrokenError

    assert [what for what, _ in seen.calls] == ["open", "close"]


def test_handlers_that_ask_in_vain_are_told_before_anything_is_opened() -> None:
    nowhere = service(None, "amqp://guest:guest@127.0.0.1:1/")

    with pytest.raises(ConfigurationError, match="give a Service a lifespan that yields it"), nowhere.running():
        pass


def test_plain_lifespan_that_hangs_in_closing_is_left_alone() -> None:
    release = threading.Event()
    life = ThreadLife(Opening(lambda: 1, lambda: release.wait(DEADLINE), is_async=False), "hangs")
    lifespan = Lifespan("a.b", life, TIMEOUT)

    assert lifespan.open(lambda opened: opened.result(DEADLINE)) == 1
    with pytest.raises(ShutdownTimeoutError, match=r"lifespan a\.b was not closed within 0\.2 s"):
        lifespan.close()

    release.set()


def test_async_lifespan_that_hangs_in_closing_is_cancelled() -> None:
    cancelled: list[bool] = []

    async def open_() -> int:
        return 1

    async def close() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    loop = EventLoop("hangs")
    lifespan = Lifespan("a.b", TaskLife(Opening(open_, close, is_async=True), loop), TIMEOUT)

    assert lifespan.open(lambda opened: opened.result(DEADLINE)) == 1
    with pytest.raises(ShutdownTimeoutError, match=r"lifespan a\.b was not closed within 0\.2 s"):
        lifespan.close()

    until(lambda: cancelled)  # the loop may come to it later than its caller gives it up
    loop.stop()
    assert loop.join(DEADLINE)


def test_async_lifespan_is_closed_behind_a_handler_that_blocked_its_loop() -> None:
    """What has it closed comes while the handlers are about to be cancelled, and is none of them."""
    seen, begun, release = Calls(), threading.Event(), threading.Event()

    async def open_() -> None: ...

    async def close() -> None:
        seen("closed")

    async def block() -> None:
        begun.set()
        release.wait(DEADLINE)

    loop = EventLoop("blocked")
    life = TaskLife(Opening(open_, close, is_async=True), loop)
    life.start().result(DEADLINE)
    loop.run(block())
    assert begun.wait(DEADLINE)

    loop.stop()
    closed = life.close(DEADLINE)
    release.set()

    closed.result(DEADLINE)
    assert seen.calls == ["closed"]
    assert loop.join(DEADLINE)


def test_stop_in_another_thread_ends_a_service_that_is_still_opening() -> None:
    """Such as that of a time limit, which knows the worker before it is started."""
    seen, workers = Calls(), Calls()

    async def opens_for_ever() -> AsyncIterator[Pool]:
        seen("opening")
        try:
            await asyncio.Event().wait()
            yield Pool(seen)
        finally:
            seen("closed")

    @contextmanager
    def watch(running: RunningService) -> Iterator[None]:
        workers(running.worker)
        yield

    with closing(StopSignal()) as stop_signal:
        running = in_thread(lambda: run(service(opens_for_ever), stop_signal, watch))
        seen.wait_for("opening")

        workers.wait()[0].stop()
        running.result(DEADLINE)

    assert seen.calls == ["opening", "closed"]


PROGRAM = """
import asyncio, sys, time
from typing import Annotated
from taskroute import HandlerRegistry, QueueSpec, Resource, Service, Topology
jobs = QueueSpec(name="jobs")
registry = HandlerRegistry()

@registry.handler("jobs", queue=jobs)
def handle(job: int, pool: Annotated[str, Resource()]) -> None: ...

async def lifespan():
    print("opening", flush=True)
    try:
        {opening}
        yield "pool"
    finally:
        print("closing", flush=True)
        {closing}
        print("closed", flush=True)

Service(Topology(queues=[jobs]), registry, lifespan=lifespan, url="memory://").run()
print("ended", flush=True)
"""


@contextmanager
def program(*, opening: str = "pass", closing: str = "pass") -> Iterator[subprocess.Popen[str]]:
    text = PROGRAM.format(opening=opening, closing=closing)
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", text], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "opening\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_signal_ends_a_service_that_is_still_opening() -> None:
    with program(opening="await asyncio.Event().wait()") as process:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PROCESS_DEADLINE)

    assert (rest, process.returncode) == ("closing\nclosed\nended\n", 0)


def test_signal_has_a_service_close_its_lifespan() -> None:
    with program() as process:
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=PROCESS_DEADLINE)

    assert (rest, process.returncode) == ("closing\nclosed\nended\n", 0)


def test_second_signal_ends_a_service_that_is_closing() -> None:
    with program(closing="await asyncio.Event().wait()") as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "closing\n"
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PROCESS_DEADLINE)

    assert process.returncode == -signal.SIGTERM


def test_worker_that_is_stopped_while_its_service_opens_ends_the_run() -> None:
    """By another thread, which knows nothing of the run."""
    is_opening = threading.Event()

    async def endless() -> AsyncIterator[None]:
        is_opening.set()
        await asyncio.sleep(10**6)
        yield

    @contextmanager
    def watch(running: RunningService) -> Iterator[None]:
        def stop() -> None:
            assert is_opening.wait(DEADLINE)
            running.worker.stop()

        stopping = in_thread(stop)
        yield
        stopping.result(DEADLINE)

    registry = HandlerRegistry()
    registry.add("#", lambda body: None, queue=JOBS)

    with closing(StopSignal()) as stop_signal:
        run(Service(TOPOLOGY, registry, url="memory://", lifespan=asynccontextmanager(endless)), stop_signal, watch)

    assert is_opening.is_set()
