"""Queues that are paused and resumed by hand, on both brokers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from tests.kit.calls import Calls, Events, logged
from tests.kit.inside import InsideWorker, asking_what_is_left_longer
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import (
    CircuitBreaker,
    ConfigurationError,
    HandlerRegistry,
    QueueSpec,
    RetryPolicy,
    Topology,
    UnknownQueueError,
    Worker,
)
from taskroute.instrumentation import Connected, Paused, Resumed

HOUR = 3600


class Handler:
    """Keeps the bodies that it is called with; the first call waits to be let go."""

    def __init__(self) -> None:
        self.called = Calls()
        self.go_on = threading.Event()

    def __call__(self, body: bytes) -> None:
        self.called(int(body))
        assert self.go_on.wait(DEADLINE)


def publish(publisher: Any, count: int, queue: str = "jobs") -> None:
    for number in range(count):
        publisher.publish(b"%d" % number, queue, exchange="")


def kept_of(queue: str, worker: Worker) -> int:
    """Return how many messages of a queue that it has left a worker keeps, once what was on its way has come.

    Counted twice, as `Worker.wait_idle` does: a channel may answer before it writes what it has been given.
    """
    inside = InsideWorker(worker)
    for _ in range(2):
        inside.count_ready(queue)
    return inside.open_count


@pytest.mark.parametrize("kind", ["quorum", "classic"])
@pytest.mark.parametrize("threads", [0, 1])
def test_paused_queue_calls_no_handler_until_it_is_resumed(broker_url: str, kind: Any, threads: int) -> None:
    """What runs ends, what the queue has goes to others, and the worker stays ready."""
    queue = QueueSpec(name="jobs", type=kind)
    handler, others, events = Handler(), Calls(), Events()
    topology, registry = Topology(queues=[queue]), registry_of(handler, "#", queue=queue)

    with running(broker_url, topology, registry, threads=threads, prefetch=3, instrumentation=[events]) as (
        worker,
        publisher,
    ):
        publish(publisher, 6)
        handler.called.wait()
        worker.pause(queue)
        worker.pause("jobs")
        handler.go_on.set()
        inside = InsideWorker(worker)
        until(lambda: worker.stats().handled and not inside.is_handling)  # it is counted before it is settled

        health = worker.health()
        assert (health.ready, health.reasons, health.paused) == (True, (), ("jobs",))
        assert health.warnings == ("queue 'jobs' is paused by hand, until resume('jobs')",)
        assert worker.stats().paused == {"jobs": 1}
        assert events.of(Paused) == [Paused(queue="jobs", failures=0, seconds=None)]
        until(lambda: worker.health().consuming == ())
        kept = kept_of("jobs", worker)
        assert not (kept and kind == "classic")
        with running(broker_url, topology, registry_of(lambda body: others(int(body)), "#", queue=queue)):
            others.wait(5 - kept)
        assert handler.called.calls == [0]

        worker.resume("jobs")
        worker.resume(queue)
        publish(publisher, 3)
        assert worker.wait_idle(DEADLINE)
        assert events.of(Resumed) == [Resumed(queue="jobs")]
        assert worker.health().consuming == ("jobs",)
        assert not worker.health().warnings
        assert worker.stats().connections == 1
    assert sorted(others.calls + handler.called.calls[: 1 + kept]) == list(range(6))


@pytest.mark.parametrize(("version", "is_kept"), [("3.10", True), ("4.3", False)])
def test_quorum_queue_gets_its_messages_back_where_that_costs_no_delivery(
    taskroute_url: str, version: str, is_kept: bool
) -> None:
    url, handler, queue = f"{taskroute_url}?rabbitmq={version}", Handler(), QueueSpec(name="jobs")

    with running(url, Topology(queues=[queue]), registry_of(handler, "#", queue=queue), threads=1, prefetch=3) as (
        worker,
        publisher,
    ):
        publish(publisher, 8)
        handler.called.wait()
        inside = InsideWorker(worker)
        until(lambda: inside.open_count >= 3)
        worker.pause("jobs")
        inside.run_on_session()

        until(lambda: inside.open_count >= 3 if is_kept else inside.open_count == 1)
        handler.go_on.set()


def test_queue_paused_before_the_start_stays_so_through_a_reconnect(broker_url: str) -> None:
    handler, events, queue = Handler(), Events(), QueueSpec(name="jobs")
    handler.go_on.set()
    worker = Worker(
        broker_url, Topology(queues=[queue]), registry_of(handler, "#", queue=queue), instrumentation=[events]
    )

    worker.pause("jobs")
    with worker, looking(broker_url) as peer:
        inside = InsideWorker(worker)
        peer.publish(b"1", "jobs")
        inside.fail_on_session(ConnectionError("lost by the test"))
        events.wait(Connected, generation=2)
        inside.run_on_session()
        assert worker.health().consuming == ()
        assert peer.ready("jobs") == 1

        worker.resume("jobs")
        assert handler.called.wait() == [1]


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_paused_messages_go_back_before_the_broker_takes_them(broker_url: str, kind: Any) -> None:
    """The channel lives on, also where going back counts as a delivery."""
    handler, queue = Handler(), QueueSpec(name="jobs", type=kind)

    with (
        looking(broker_url) as peer,
        running(
            broker_url,
            Topology(queues=[queue]),
            registry_of(handler, "#", queue=queue),
            threads=1,
            prefetch=3,
            consumer_timeout=1,
        ) as (worker, publisher),
    ):
        publish(publisher, 3)
        handler.called.wait()
        worker.pause("jobs")

        assert sorted(peer.receive("jobs", 2).bodies) == [b"1", b"2"]
        handler.go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1


def test_single_active_queue_that_is_paused_goes_to_the_next_worker(broker_url: str) -> None:
    queue = QueueSpec(name="jobs", single_active_consumer=True)
    handler, others = Handler(), Calls()
    handler.go_on.set()
    topology = Topology(queues=[queue])

    with (
        running(broker_url, topology, registry_of(handler, "#", queue=queue)) as (worker, publisher),
        Worker(broker_url, topology, registry_of(lambda body: others(int(body)), "#", queue=queue)),
    ):
        publish(publisher, 1)
        handler.called.wait()
        worker.pause("jobs")
        InsideWorker(worker).count_ready("jobs")  # the answer comes after the broker has ended its consumer
        publish(publisher, 2)

        others.wait(2)
    assert handler.called.calls == [0]


def test_queue_that_would_be_deleted_stays_consumed_while_paused(broker_url: str) -> None:
    handler, queue = Handler(), QueueSpec(name="jobs", auto_delete=True)
    handler.go_on.set()

    with running(broker_url, Topology(queues=[queue]), registry_of(handler, "#", queue=queue)) as (worker, publisher):
        worker.pause("jobs")
        publish(publisher, 3)
        until(lambda: InsideWorker(worker).open_count == 3)
        assert worker.health().consuming == ("jobs",)
        assert not handler.called.calls

        worker.resume("jobs")
        assert worker.wait_idle(DEADLINE)
    assert sorted(handler.called.calls) == [0, 1, 2]


def test_wait_for_idle_says_that_a_paused_queue_has_messages(broker_url: str) -> None:
    handler, queue = Handler(), QueueSpec(name="jobs")
    handler.go_on.set()

    with (
        logged("not_idle") as said,
        running(broker_url, Topology(queues=[queue]), registry_of(handler, "#", queue=queue)) as (worker, publisher),
    ):
        worker.pause("jobs")
        assert worker.wait_idle(DEADLINE)
        assert not said.calls

        publish(publisher, 1)
        idle = in_thread(lambda: worker.wait_idle(DEADLINE))
        assert said.wait() == ["not_idle queue=jobs: it is paused, and has messages"]
        worker.resume("jobs")
        assert idle.result(DEADLINE)


def test_wait_for_idle_that_gives_up_says_what_is_left(taskroute_url: str) -> None:
    """By queue: with the broker, for a retry, and here. A queue with nothing is not named."""
    handler, later = Handler(), RetryPolicy(delays=(HOUR,))
    jobs, empty = QueueSpec(name="jobs", type="classic"), QueueSpec(name="empty")
    failing = QueueSpec(name="failing", type="classic", retry=later)

    def fail() -> None:
        raise LookupError

    registry = registry_of(handler, "#", queue=jobs)
    registry.add("#", fail, queue=failing)
    registry.add("#", fail, queue=empty)
    topology = Topology(queues=[jobs, failing, empty])
    with (
        logged("not_idle") as said,
        running(taskroute_url, topology, registry, threads=1, prefetch=2) as (worker, publisher),
    ):
        publish(publisher, 5)
        handler.called.wait()
        publisher.publish(b"0", "failing", exchange="")
        inside = InsideWorker(worker)
        until(lambda: inside.open_count == 3)
        with asking_what_is_left_longer(DEADLINE):
            assert not worker.wait_idle(0.1)
            handler.go_on.set()
            until(lambda: worker.stats().retried and sum(worker.stats().handled.values()) == 5)
            until(lambda: not inside.open_count)  # one is counted before it is settled
            assert not worker.wait_idle(0.5)

    lines = [line.rpartition(" after=") for line in said.calls]
    assert [line for line, _, _ in lines] == [
        "not_idle queue=jobs ready=3 waiting=0 in_flight=2",
        "not_idle queue=failing ready=0 waiting=0 in_flight=1",
        "not_idle queue=failing ready=0 waiting=1 in_flight=0",
    ]
    for (_, _, after), asked in zip(lines, (0.1, 0.1, 0.5), strict=True):
        assert float(after) >= asked


def test_queue_resumed_by_hand_is_left_to_its_circuit_breaker(taskroute_url: str) -> None:
    """Neither hides the other: it goes on once both let it."""
    is_down, events, handled, queue = True, Events(), Calls(), QueueSpec(name="jobs", retry=False)

    def handle(body: bytes) -> None:
        if is_down:
            raise ConnectionError("down")
        handled(int(body))

    breaker = CircuitBreaker(failures=1, pause=HOUR)
    with running(
        taskroute_url,
        Topology(queues=[queue]),
        registry_of(handle, "#", queue=queue),
        circuit_breaker=breaker,
        threads=1,
        instrumentation=[events],
    ) as (worker, publisher):
        publish(publisher, 3)
        events.wait(Paused, failures=1)
        worker.pause("jobs")
        assert worker.health().ready
        InsideWorker(worker).end_pause("jobs")  # the one message that is tried waits for `resume`
        is_down = False
        assert not events.of(Resumed)

        worker.resume("jobs")
        events.wait(Resumed)
        assert worker.wait_idle(DEADLINE)
        assert worker.health().ready
    assert handled.calls == [1, 2]


@pytest.mark.parametrize("act", [Worker.pause, Worker.resume])
def test_pause_of_a_queue_that_is_not_consumed_is_refused(act: Callable[[Worker, str], None]) -> None:
    registry = HandlerRegistry()
    registry.add("#", lambda: None, queue="jobs")
    worker = Worker("memory://", Topology(queues=[QueueSpec(name="jobs"), QueueSpec(name="mails")]), registry)

    with pytest.raises(ConfigurationError, match=r"does not consume queue 'mails'; it consumes 'jobs'"):
        act(worker, "mails")
    with pytest.raises(UnknownQueueError):
        act(worker, "job")
