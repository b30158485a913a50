"""The backlog: how many messages are ready in the queues that a worker consumes, as the broker says by the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from tests.kit.calls import Events
from tests.kit.embedded import broker_of, hidden
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import running
from tests.kit.waiting import DEADLINE, until

from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker
from taskroute.instrumentation import Connected, Counted

jobs = QueueSpec(name="jobs", retry=False, dead_letter=False)
other = QueueSpec(name="other", type="classic", retry=False, dead_letter=False)
topology = Topology(queues=[jobs, other])


class Here:
    """Handlers that hang until the end of a test, and what is heard of their worker."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()
        self.events, self.registry = Events(), HandlerRegistry()
        for queue in topology.queues:
            self.registry.add("#", self.hang, queue=queue)

    def hang(self, body: bytes) -> None:
        self.begun.set()
        assert self.release.wait(DEADLINE)

    def heard(self, queue: str) -> list[int | None]:
        """What was told of a queue so far."""
        return [event.ready for event in self.events.of(Counted, queue=queue)]


@pytest.fixture
def here() -> Iterator[Here]:
    here = Here()
    yield here
    here.release.set()


def ready(worker: Worker) -> dict[str, int]:
    return {queue: backlog.ready for queue, backlog in worker.stats().backlog.items()}


def test_backlog_is_what_the_broker_said_last_and_absent_before(broker_url: str, here: Here) -> None:
    with running(broker_url, topology, here.registry, prefetch=1, instrumentation=[here.events]) as (worker, publisher):
        for _ in range(3):
            publisher.publish(b"", "jobs", exchange="")
        assert here.begun.wait(DEADLINE)
        assert ready(worker) == {}

        InsideWorker(worker).probe()

        here.events.wait(Counted, queue="other", ready=0)
        assert here.events.wait(Counted, queue="jobs").ready == 2
        assert ready(worker) == {"jobs": 2, "other": 0}
        assert 0 <= worker.stats().backlog["jobs"].age < DEADLINE
        here.release.set()


def test_backlog_of_a_paused_queue_is_asked_for_too(taskroute_url: str, here: Here) -> None:
    """It grows while nobody takes it: that is when somebody looks."""
    with running(taskroute_url, topology, here.registry) as (worker, publisher):
        worker.pause(jobs)
        inside = InsideWorker(worker)
        inside.run_on_session()
        publisher.publish(b"", "jobs", exchange="")

        inside.probe()

        assert ready(worker) == {"jobs": 1, "other": 0}
        assert worker.stats().missed_consumers == 0


def test_paused_queue_that_is_gone_hides_no_lost_consumer(broker_url: str, here: Here) -> None:
    """The broker closes the channel over it, with the answers that have not come yet."""
    with Worker(broker_url, topology, here.registry, instrumentation=[here.events]) as worker:
        inside = InsideWorker(worker)
        worker.pause(jobs)
        inside.probe()
        here.events.wait(Counted, queue="jobs", ready=0)
        with looking(broker_url) as peer:
            peer.channel.queue_delete("jobs")
        inside.cancel_unnoticed("other")

        inside.probe()

        until(lambda: worker.stats().missed_consumers == 1)
        until(lambda: here.heard("jobs") == [0, None])
        assert "jobs" not in ready(worker)


def test_backlog_of_a_lost_connection_is_not_known(taskroute_url: str, here: Here) -> None:
    with Worker(taskroute_url, topology, here.registry, instrumentation=[here.events]) as worker:
        inside = InsideWorker(worker)
        inside.probe()
        assert ready(worker) == {"jobs": 0, "other": 0}

        broker_of(taskroute_url).close_connections()
        here.events.wait(Connected, generation=2)
        assert ready(worker) == {}
        assert (here.heard("jobs"), here.heard("other")) == ([0, None], [0, None])

        inside.probe()
        assert ready(worker) == {"jobs": 0, "other": 0}

    assert ready(worker) == {}
    assert here.heard("jobs") == [0, None, 0, None]


def test_backlog_of_a_queue_that_is_lost_or_hidden_is_not_known(taskroute_url: str, here: Here) -> None:
    with (
        Publisher(taskroute_url, topology),
        Worker(taskroute_url, topology, here.registry, declare="skip", instrumentation=[here.events]) as worker,
    ):
        inside = InsideWorker(worker)
        inside.probe()
        with looking(taskroute_url) as peer:
            peer.channel.queue_delete("jobs")
        with hidden("other"):
            inside.probe()

        assert ready(worker) == {}
        assert (here.heard("jobs"), here.heard("other")) == ([0, None], [0, None])
