"""An exception at any line of what a worker's threads run: it works on, or `health` says that it does not.

What raises there is a debugger, a timeout of another library that raises in foreign threads, the lack of memory, or a
defect. None of it may end a thread unseen, or leave a flag set for which nobody works on.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from types import ModuleType

import pytest
from tests.kit.calls import Calls
from tests.kit.interrupt import Line, Tracer
from tests.kit.waiting import DEADLINE, until

from taskroute import (
    CircuitBreaker,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    RetryPolicy,
    ShutdownTimeoutError,
    TaskrouteError,
    Topology,
    Worker,
)
from taskroute.broker import mailbox
from taskroute.handling import circuit_breaker, fair_queue
from taskroute.worker import (
    admissions,
    async_handlers,
    event_loop,
    in_order,
    notifications,
    pending_retries,
    processor,
    thread_pool,
    timeouts,
    work_queue,
)

MODULES = (
    admissions,
    async_handlers,
    circuit_breaker,
    event_loop,
    fair_queue,
    in_order,
    mailbox,
    notifications,
    pending_retries,
    processor,
    thread_pool,
    timeouts,
    work_queue,
)
QUEUES = ("plain", "async", "failing")
RETRY = RetryPolicy(delays=(0.01,))
TOPOLOGY = Topology(queues=[QueueSpec(name=name, type="classic", retry=RETRY) for name in QUEUES])


class Scene:
    """A worker that is traced, and a publisher that is not. A worker that does not work is replaced by another."""

    def __init__(self, tracer: Tracer, url: str) -> None:
        self._tracer = tracer
        self._url = url
        self._numbers = iter(range(10**9))
        self._pause = threading.Event()
        self.handled = Calls()
        self._registry = HandlerRegistry()
        self._registry.add("#", self._handle, queue="plain", timeout=60)
        self._registry.add("#", self._handle_async, queue="async", timeout=60)
        self._registry.add("#", self._fail, queue="failing")
        self.publisher = Publisher(self._url, TOPOLOGY)
        self.publisher.start()
        self.worker = self._started()

    def _handle(self, body: str) -> None:
        self.handled(body)

    async def _handle_async(self, body: str) -> None:
        await asyncio.sleep(0)
        self.handled(body)

    def _fail(self, body: str) -> None:
        self.handled(body)
        if body.startswith("bad"):
            raise ValueError

    def _started(self) -> Worker:
        with self._tracer.tracing():
            worker = Worker(
                self._url,
                TOPOLOGY,
                self._registry,
                threads=2,
                concurrency={"plain": 1, "failing": 1},
                circuit_breaker={"failing": CircuitBreaker(failures=1, pause=0.01)},
                shutdown_timeout=0.2,
            )
            try:
                worker.start()
            except TaskrouteError:  # an exception has come into the start, and is told
                return self._started()
        return worker

    def send(self, *queues: str, kind: str = "good") -> list[str]:
        bodies = []
        for queue in queues:
            bodies.append(f"{kind} {next(self._numbers)}")
            self.publisher.publish(bodies[-1], queue, exchange="")
        return bodies

    def provoke(self) -> bool:
        """Have messages of each kind handled, then stop the worker and start another; return whether that raised."""
        for send in (lambda: self.send("failing", kind="bad"), lambda: self.send(*QUEUES)):
            bodies = send()
            until(lambda: self._tracer.raised.is_set() or set(bodies) <= set(self.handled.calls))  # noqa: B023
            if self._tracer.raised.is_set():
                return True
        self.replace()
        return self._tracer.raised.is_set()

    def is_well(self) -> bool:
        """Return whether messages of each queue are handled; if not, `health` must say that there is a defect."""
        bodies, until_ = set(self.send(*QUEUES)), time.monotonic() + DEADLINE
        patience = 5  # what does not hinder the others is told at once, too
        while not bodies <= set(self.handled.calls):
            health = self.worker.health()
            assert time.monotonic() < until_, f"it works no more, and health() says {health.reasons}"
            patience -= any(re.search("died|stay unacknowledged", each) for each in health.reasons)
            if not health.live or not patience:
                return False
            self._pause.wait(0.01)
        return self.worker.health().ready

    def replace(self) -> None:
        self.end()
        self.worker = self._started()

    def end(self) -> None:
        with suppress(ShutdownTimeoutError):
            self.worker.stop()


@pytest.fixture
def collected() -> Iterator[None]:
    """Have what a dead thread has left open closed, and complained of, here and not in another test."""
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)  # a worker need not wait for those that were interrupted
    gc.collect()


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
# Where that is an error, what one coroutine would have awaited is kept with it, and complained of in the next test.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.removeprefix("taskroute."))
def test_exception_at_any_line_is_survived_or_told(
    module: ModuleType, caplog: pytest.LogCaptureFixture, taskroute_url: str
) -> None:
    caplog.set_level(logging.CRITICAL, "taskroute")
    caplog.set_level(logging.CRITICAL, "asyncio")
    tracer = Tracer([module])
    scene = Scene(tracer, taskroute_url)
    scene.provoke()

    for line in list(tracer.reached):
        tracer.raise_at(line)
        if scene.provoke() and not _survives(scene, line):
            scene.replace()

    assert tracer.reached
    scene.end()
    scene.publisher.close()


def _survives(scene: Scene, line: Line) -> bool:
    try:
        return scene.is_well()
    except AssertionError as error:
        raise AssertionError(f"{line}: {error}") from error
