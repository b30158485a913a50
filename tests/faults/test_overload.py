"""More messages than can be handled, and more than a broker takes."""

from __future__ import annotations

import os
import threading

import psutil
import pytest
from tests.faults.site import Site
from tests.faults.traffic import jobs
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE

from taskroute import (
    BrokerUnavailableError,
    ConfigurationError,
    HandlerRegistry,
    Publisher,
    PublishRejectedError,
    QueueSpec,
    Topology,
    Worker,
)

work = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")])
topology = Topology(exchanges=[jobs], queues=[work])


@pytest.mark.row(31)
def test_backlog_of_100000_puts_at_most_prefetch_in_the_process(
    site: Site, stopwatch: Stopwatch, caplog: pytest.LogCaptureFixture
) -> None:
    """However long the backlog, no more than `prefetch` messages of a queue are in the process."""
    caplog.set_level("WARNING")
    registry, step, begun = HandlerRegistry(), threading.Semaphore(0), threading.Semaphore(0)

    @registry.handler("#", queue=work)
    def slow(body: bytes) -> None:
        begun.release()
        assert step.acquire(timeout=DEADLINE)

    with Publisher(site.url, topology) as publisher:
        body = b"x" * 1000
        for outcome in publisher.publish_many(((body, "a") for _ in range(100_000)), exchange=jobs):
            assert not isinstance(outcome, Exception)

    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    with Worker(site.url, topology, registry, threads=4, prefetch=50) as worker:
        inside = InsideWorker(worker)
        try:
            for _ in range(200):
                assert begun.acquire(timeout=DEADLINE)
                assert inside.open_count <= 50 + 1  # while the first message after a connect is being handled
                step.release()
            grown = process.memory_info().rss - before
            held = int(dict(site.table("list_queues", "name", "messages_unacknowledged"))["work"])
        finally:
            step.release(100_000)  # every handler may end, also those that begin before the worker stops

    stopwatch.note(f"{held} of 100,000 messages in the process, memory {grown / before:+.1%} (promise: 10 %)")
    assert 0 < held <= 50
    assert grown <= before * 0.1


@pytest.mark.row(31)
def test_unlimited_prefetch_is_refused() -> None:
    registry = registry_of(lambda body: None, "#", queue=work)

    for prefetch in (0, -1, 65_536, True):
        with pytest.raises(ConfigurationError, match="prefetch"):
            Worker("memory://", topology, registry, prefetch=prefetch)


@pytest.mark.row(32)
def test_publisher_that_outruns_its_broker_is_refused_at_its_deadline(site: Site, stopwatch: Stopwatch) -> None:
    """A publisher is held back at `max_in_flight`; messages submitted by then are confirmed when the broker answers."""
    proxy = site.proxy()
    publisher = Publisher(site.url_by(proxy), topology, max_in_flight=50)
    publisher.start()

    with proxy.stalled("to_client"):
        futures = [publisher.submit(b"x", "a", exchange=jobs, timeout=DEADLINE) for _ in range(50)]
        with stopwatch.timed(1, "the 51st message is refused"), pytest.raises(BrokerUnavailableError, match="no room"):
            publisher.submit(b"x", "a", exchange=jobs, timeout=1)
        assert not any(future.done() for future in futures)

    for future in futures:
        future.result(DEADLINE)
    publisher.publish(b"x", "a", exchange=jobs)
    publisher.close()


@pytest.mark.row(32)
def test_full_embedded_queue_rejects_the_publisher(taskroute_url: str) -> None:
    full = QueueSpec(name="full", max_length=10, overflow="reject-publish", retry=False, dead_letter=False)

    with Publisher(taskroute_url, Topology(queues=[full])) as publisher:
        outcomes = list(publisher.publish_many([(b"x", "full")] * 100, exchange=""))

    refused = [outcome for outcome in outcomes if isinstance(outcome, PublishRejectedError)]
    assert len(outcomes) - len(refused) in (10, 11)  # a quorum queue takes one more
