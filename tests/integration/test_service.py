"""Service: its parts are opened and closed in their order, inside of a program and as the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute import BrokerUrlError, ConfigurationError, HandlerRegistry, QueueSpec, Service, Topology

JOBS = QueueSpec(name="jobs")
TOPOLOGY = Topology(queues=[JOBS])


def handling_jobs() -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("jobs", queue=JOBS)
    def handle(job: int) -> None: ...

    return registry


def test_running_service_publishes_and_handles(taskroute_url: str) -> None:
    registry, seen = HandlerRegistry(), Calls()

    @registry.handler("jobs", queue=JOBS)
    def handle(job: int) -> None:
        seen(job)

    with Service(TOPOLOGY, registry, url=taskroute_url).running() as running:
        running.publisher.publish(7, "jobs", exchange="")
        assert seen.wait() == [7]
        assert running.worker.health().ready

    assert running.worker.health().reasons == ("stopped",)


def test_service_without_its_worker_only_publishes(taskroute_url: str) -> None:
    with Service(TOPOLOGY, HandlerRegistry(), url=taskroute_url).running(worker=False) as running:
        assert running.publisher.publish(7, "jobs", exchange="").routing_key == "jobs"
        with pytest.raises(ConfigurationError, match="without its worker"):
            running.worker.health()


def test_url_comes_from_the_environment_when_it_runs(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(TOPOLOGY, HandlerRegistry())
    monkeypatch.setenv("TASKROUTE_URL", taskroute_url)

    with service.running(worker=False) as running:
        assert running.publisher.publish(7, "jobs", exchange="").routing_key == "jobs"


@pytest.mark.parametrize(
    ("value", "text"), [("", "set TASKROUTE_URL"), ("redis://x", "TASKROUTE_URL: a broker URL starts with")]
)
def test_unusable_environment_is_refused_at_once(value: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKROUTE_URL", value)

    with pytest.raises(BrokerUrlError, match=text), Service(TOPOLOGY, HandlerRegistry()).running(worker=False):
        raise AssertionError


def test_service_runs_in_a_coroutine_whose_loop_goes_on(taskroute_url: str) -> None:
    """Connecting and stopping wait in another thread."""
    loops: list[asyncio.AbstractEventLoop] = []
    events: list[str] = []

    def lifespan() -> Iterator[None]:
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loops[0]).result(DEADLINE)
        yield
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loops[0]).result(DEADLINE)
        events.append("closed")

    async def main() -> bool:
        loops.append(asyncio.get_running_loop())
        async with Service(TOPOLOGY, handling_jobs(), url=taskroute_url, lifespan=lifespan).running() as running:
            return running.worker.health().ready

    assert asyncio.run(main())
    assert events == ["closed"]


def test_cancelled_start_in_a_coroutine_is_closed_again(taskroute_url: str) -> None:
    events: list[str] = []
    begun, release = threading.Event(), threading.Event()

    def lifespan() -> Iterator[None]:
        begun.set()
        assert release.wait(DEADLINE)
        yield
        events.append("closed")

    opened = Service(TOPOLOGY, handling_jobs(), url=taskroute_url, lifespan=lifespan).running()

    async def serve() -> None:
        async with opened:
            events.append("running")

    async def main() -> None:
        serving = asyncio.create_task(serve())
        await asyncio.to_thread(begun.wait, DEADLINE)
        serving.cancel()
        await asyncio.sleep(0)
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())

    assert events == ["closed"]


def test_url_function_that_raises_is_a_failed_attempt(taskroute_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is asked again, and the text of what it raised, which may be a secret, is told nowhere."""
    asked: list[str] = []

    def url() -> str:
        asked.append("asked")
        if len(asked) < 2:
            raise RuntimeError("secret")
        return taskroute_url

    with caplog.at_level("DEBUG"), Service(TOPOLOGY, HandlerRegistry(), url=url).running(worker=False) as running:
        assert running.publisher.publish(7, "jobs", exchange="").routing_key == "jobs"

    assert len(asked) == 2
    assert "RuntimeError" in caplog.text
    assert "secret" not in caplog.text
