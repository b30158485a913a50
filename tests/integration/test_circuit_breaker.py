"""Queues whose handlers keep failing are paused and tried again, on both brokers.

Most pauses here last an hour, and the test ends them, so that no assertion depends on when a pause ends.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import BaseModel
from tests.kit.calls import Calls, Events
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE, until

from taskroute import (
    CircuitBreaker,
    ConfigurationError,
    ExchangeSpec,
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    Reject,
    Retry,
    Topology,
    Worker,
)
from taskroute.instrumentation import Connected, Paused, Resumed

HOUR = 3600
jobs = QueueSpec(name="jobs", retry=False)
other = QueueSpec(name="other", retry=False)


class Job(BaseModel):
    number: int


class Service:
    """The service that handlers call: each call fails until `is_up` is set."""

    def __init__(self) -> None:
        self.is_up = False
        self.called = Calls()
        self.done = Calls()

    def __call__(self, message: Message) -> None:
        number = Job.model_validate_json(message.body).number
        self.called(number)
        if not self.is_up:
            raise ConnectionError("down")
        self.done((number, message.redelivered))

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.done.calls]


class Site:
    """A worker with a circuit breaker, its events, and a publisher."""

    def __init__(self, worker: Worker, publisher: Publisher, events: Events) -> None:
        self.worker, self.publisher, self.events = worker, publisher, events
        self.inside = InsideWorker(worker)

    def publish(self, *numbers: int, queue: QueueSpec = jobs) -> None:
        for number in numbers:
            self.publisher.publish(Job(number=number), queue.name, exchange="")

    def end_pause(self) -> None:
        self.inside.end_pause("jobs")

    def wait_left(self, pauses: int = 1) -> None:
        """Wait until a pause has begun, and the consumer is cancelled."""
        self.events.wait(Paused, pauses)
        self.inside.run_on_session()
        assert self.worker.health().consuming == ()

    def wait_begun(self, service: Service) -> int:
        """Wait until a pause has begun and no handler runs any more; return how many have been called."""
        self.events.wait(Paused)
        until(lambda: "in hand" not in self.inside.left_behind())
        return len(service.called.calls)


@contextmanager
def site(
    url: str,
    handle: Callable[..., object],
    *queues: QueueSpec,
    pause: float = HOUR,
    failures: int = 2,
    backlog: int = 0,
    timeout: float | None = None,
    **options: Any,
) -> Iterator[Site]:
    queues = queues or (jobs,)
    events, topology = Events(), Topology(queues=queues)
    registry = registry_of(handle, "#", queue=queues[0], timeout=timeout)
    breaker = CircuitBreaker(failures=failures, pause=pause)
    usual: dict[str, Any] = {"threads": 1, "prefetch": 4, "circuit_breaker": breaker, "instrumentation": [events]}
    worker = Worker(url, topology, options.pop("registry", registry), **usual | options)
    with Publisher(url, topology) as publisher:
        here = Site(worker, publisher, events)
        here.publish(*range(backlog))
        with worker:
            yield here


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_failing_queue_is_paused_then_resumed(broker_url: str, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Other workers take the messages of a paused queue, and no message is delivered twice."""
    caplog.set_level("INFO", logger="taskroute")
    queue = jobs.model_copy(update={"type": kind})
    service, elsewhere = Service(), Service()
    elsewhere.is_up = True
    healthy = HandlerRegistry()
    healthy.add("#", elsewhere, queue=queue)

    with site(broker_url, service, queue, backlog=20) as here:
        assert here.events.wait(Paused) == Paused(queue="jobs", failures=2, seconds=HOUR)
        here.wait_left()
        health = here.worker.health()
        assert (health.live, health.ready, health.connected, health.paused) == (True, False, True, ("jobs",))
        (reason,) = health.reasons
        assert reason.startswith("queue 'jobs' is paused for 3")
        assert reason.endswith("s more, after 2 failures in a row")
        assert here.worker.stats().paused == {"jobs": 1}

        with Worker(broker_url, Topology(queues=[queue]), healthy) as other_worker:
            elsewhere.done.wait(18 - 4)
            kept = here.inside.waiting("jobs")
            until(lambda: here.inside.unsettled("jobs") == kept)  # the two that have failed are settled
            elsewhere.done.wait(18 - kept)
            assert kept
            assert len(other_worker.health().consuming) == 1
        assert service.called.calls == [0, 1]  # no handler of the paused worker ran meanwhile

        service.is_up = True
        here.end_pause()
        assert here.events.wait(Resumed) == Resumed(queue="jobs")
        assert here.worker.wait_idle(DEADLINE)
        here.publish(20)
        assert here.worker.wait_idle(DEADLINE)
        assert here.worker.health().ready
        assert here.worker.stats().connections == 1

    assert sorted(service.numbers + elsewhere.numbers) == list(range(2, 21))
    # No message was delivered twice: a pause takes nothing of its delivery limit.
    assert not any(redelivered for _, redelivered in service.done.calls + elsewhere.done.calls)
    assert [line for line in caplog.messages if line.startswith("queue_")] == [
        f"queue_paused queue=jobs failures=2 seconds={HOUR}",
        "queue_resumed queue=jobs",
    ]
    assert prefetches(caplog)[-1] == 4  # the whole prefetch again


def test_each_pause_ends_with_one_trial_until_a_message_is_handled(broker_url: str) -> None:
    service = Service()

    with site(broker_url, service, threads=3) as here:
        here.publish(*range(30))
        begun = here.wait_begun(service)  # three threads may have begun three
        for pauses in range(2, 8):
            here.end_pause()
            assert here.events.wait(Paused, pauses).failures > 2
            assert len(service.called.calls) == begun + pauses - 1
        service.is_up = True
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)

        assert here.worker.stats().paused == {"jobs": 7}
    assert len(service.done.calls) == 30 - begun - 6


def test_paused_queue_resumes_by_itself_after_its_pause(broker_url: str) -> None:
    service = Service()

    def handle(message: Message) -> None:
        service.is_up = len(service.called.calls) >= 3  # here: the pauses go on while the test's thread waits
        service(message)

    with site(broker_url, handle, pause=0.1) as here:
        here.publish(*range(10))
        here.events.wait(Paused, 2)
        assert here.worker.wait_idle(DEADLINE)
        here.events.wait(Resumed)

        assert here.worker.health().ready
    tried = set(service.called.calls).difference(service.numbers)
    assert sorted(service.numbers) == sorted(set(range(10)).difference(tried))


def test_paused_queue_leaves_other_queues_consumed(broker_url: str) -> None:
    service, seen, registry = Service(), Calls(), HandlerRegistry()
    registry.add("#", service, queue=jobs)
    registry.add("#", lambda body: seen(body["number"]), queue=other)

    with site(broker_url, service, jobs, other, registry=registry, circuit_breaker={"jobs": CircuitBreaker()}) as here:
        here.publish(*range(20))
        here.events.wait(Paused)
        here.publish(*range(50), queue=other)
        seen.wait(50)
        here.inside.run_on_session()

        health = here.worker.health()
        assert (health.consuming, health.paused) == (("other",), ("jobs",))
    assert len(service.called.calls) == CircuitBreaker().failures


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_new_connection_does_not_consume_a_paused_queue(
    broker_url: str, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A pause outlives its connection, and afterwards the queue has its whole prefetch."""
    caplog.set_level("INFO", logger="taskroute")
    service = Service()
    queue = jobs.model_copy(update={"type": kind})

    with site(broker_url, service, queue, backlog=10) as here:
        for pauses in (1, 2):
            here.wait_left(pauses)
            begun = len(service.called.calls)
            here.inside.fail_on_session(ConnectionError("lost by the test"))
            here.events.wait(Connected, session="taskroute-worker", generation=pauses + 1)
            here.inside.run_on_session()
            assert here.worker.health().consuming == ()
            assert here.inside.unsettled("jobs") == 0
            assert len(service.called.calls) == begun
            service.is_up = pauses == 2
            here.end_pause()  # the first time, the trial fails again
        here.events.wait(Resumed)
        service.called.wait_until(set(range(10)).issubset)  # some may be those of a lost connection for a while
        assert here.worker.wait_idle(DEADLINE)
        assert here.worker.health().ready

        here.publish(10, 11, 12)
        assert here.worker.wait_idle(DEADLINE)
        assert prefetches(caplog)[-1] == 4  # the whole prefetch, from the first message that was not delivered before

    assert set(service.called.calls) == set(range(13))


def test_trial_lost_with_its_connection_is_made_with_another_message(broker_url: str) -> None:
    service = Service()
    entered, release = threading.Event(), threading.Event()
    blocker = HandlerRegistry()
    blocker.add("#", service, queue=jobs)

    @blocker.handler("#", queue=other)
    def block() -> None:
        entered.set()
        assert release.wait(DEADLINE)

    with site(broker_url, service, jobs, other, registry=blocker) as here:
        here.publish(*range(6))
        here.events.wait(Paused)
        here.publish(0, queue=other)
        assert entered.wait(DEADLINE)  # it holds the one thread, so that the trial must wait
        here.end_pause()
        here.inside.fail_on_session(ConnectionError("lost by the test"))  # the trial's delivery is lost as well
        here.events.wait(Connected, session="taskroute-worker", generation=2)
        service.is_up = True
        release.set()
        here.events.wait(Resumed)
        until(lambda: set(service.numbers) >= {2, 3, 4, 5})  # those of the lost connection come when it has ended
        assert here.worker.wait_idle(DEADLINE)


def test_worker_stop_during_a_pause_requeues_its_messages(broker_url: str) -> None:
    service = Service()

    with site(broker_url, service) as here:
        here.publish(*range(10))
        here.events.wait(Paused)

    with looking(broker_url) as peer:
        left = peer.receive("jobs", 8)
        assert peer.ready("jobs") == 0
    assert sorted(Job.model_validate_json(body).number for body in left.bodies) == list(range(2, 10))
    assert service.called.calls == [0, 1]


def test_worker_with_messages_in_a_paused_queue_is_not_idle(broker_url: str) -> None:
    service = Service()

    with site(broker_url, service, failures=1) as here:
        here.publish(0)
        here.wait_left()
        assert here.worker.wait_idle(DEADLINE)  # nothing is left
        here.publish(1)  # it stays with the broker
        assert not here.worker.wait_idle(0.2)
        service.is_up = True
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)

    assert service.numbers == [1]


@pytest.mark.parametrize("verdict", ["reject", "unreadable"])
def test_rejected_or_unreadable_messages_leave_the_breaker_unchanged(broker_url: str, verdict: str) -> None:
    """Neither counts as a failure of the handler, and neither ends a pause."""
    is_down, begun = threading.Event(), Calls()

    def handle(job: Job) -> None:
        begun(job.number)
        if is_down.is_set():
            raise ConnectionError
        if verdict == "reject" and job.number < 0:
            raise Reject("no such thing")

    def publish_bad(here: Site) -> None:
        if verdict == "reject":
            here.publish(-1)
        else:
            here.publisher.publish(b"{", "jobs", exchange="", content_type="application/json")

    with site(broker_url, handle, failures=1) as here:
        for _ in range(5):
            publish_bad(here)
        assert here.worker.wait_idle(DEADLINE)
        assert here.worker.health().ready

        is_down.set()
        here.publish(1)
        here.events.wait(Paused)
        is_down.clear()
        for _ in range(5):
            publish_bad(here)
        here.publish(2)
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)  # each is a trial, until message 2 is handled
        here.events.wait(Resumed)
        assert here.worker.stats().dead_lettered == {"jobs": 11}

    assert begun.calls[-1] == 2


def test_retry_verdict_and_async_timeout_count_as_failures(broker_url: str) -> None:
    async def handle(job: Job) -> None:
        if job.number == 0:
            raise Retry
        await asyncio.sleep(HOUR)

    with site(broker_url, handle, timeout=0.05) as here:
        here.publish(0, 1)
        here.events.wait(Paused)

        until(lambda: here.worker.stats().dead_lettered == {"jobs": 2})


def test_hung_handler_counts_as_a_failure_at_its_timeout(broker_url: str) -> None:
    begun, release, shop = Calls(), threading.Event(), ExchangeSpec(name="shop")
    queue = jobs.model_copy(update={"bindings": (shop.bind("quick"),)})

    def hang(job: Job) -> None:
        begun(job.number)
        assert release.wait(DEADLINE)

    registry = registry_of(hang, "jobs", queue=queue, timeout=0.05)
    registry.add(
        "quick", lambda body: begun(body["number"]), queue=queue
    )  # which has time, however busy the machine is

    with site(broker_url, hang, queue, threads=2, registry=registry) as here:
        here.publish(0, 1)
        assert here.events.wait(Paused).failures == 2
        here.publish(2)
        here.end_pause()
        here.events.wait(Paused, 2)  # the trial hangs as well
        here.publisher.publish(Job(number=3), "quick", exchange=shop)
        here.end_pause()
        here.events.wait(Resumed)
        assert here.worker.health().paused == ()

        release.set()
        assert here.worker.wait_idle(DEADLINE)
        assert here.worker.stats().paused == {"jobs": 2}

    assert sorted(begun.calls) == [0, 1, 2, 3]


@pytest.mark.parametrize("threads", [0, 2])
def test_failing_async_handlers_pause_their_queue(broker_url: str, threads: int) -> None:
    service = Service()

    async def handle(message: Message) -> None:
        await asyncio.sleep(0)
        service(message)

    with site(broker_url, handle, threads=threads, backlog=20) as here:
        begun = here.wait_begun(service)
        assert begun <= 4 + 2  # those that had begun when the second failed
        service.is_up = True
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)
        here.events.wait(Resumed)

    assert len(service.done.calls) == 20 - begun


def test_failing_handlers_on_the_session_thread_pause_their_queue(broker_url: str) -> None:
    service = Service()

    with site(broker_url, service, threads=0, backlog=20) as here:
        here.events.wait(Paused)
        here.inside.run_on_session()
        assert service.called.calls == [0, 1]
        service.is_up = True
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)

    assert service.numbers == list(range(2, 20))


# --- queues that a consumer must not leave ---


def test_paused_single_active_consumer_keeps_its_place_and_order(broker_url: str) -> None:
    """A single active consumer is paused without a cancel, which would give the queue to another worker.

    Both have one prefetch: from RabbitMQ 4.0 on the largest one is next in line.
    """
    queue = jobs.model_copy(update={"single_active_consumer": True})
    service, elsewhere, standby = Service(), Service(), HandlerRegistry()
    elsewhere.is_up = True
    standby.add("#", elsewhere, queue=queue)

    with (
        site(broker_url, service, queue) as here,
        Worker(broker_url, Topology(queues=[queue]), standby, prefetch=4),
    ):
        here.publish(*range(20))
        here.events.wait(Paused)
        here.inside.run_on_session()
        assert here.worker.health().consuming == ("jobs",)
        assert not here.worker.health().ready
        assert elsewhere.called.calls == []
        service.is_up = True
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)

    assert service.numbers == list(range(2, 20))


def test_paused_auto_delete_queue_keeps_its_messages(broker_url: str) -> None:
    """An auto-delete queue is paused without a cancel, which would delete it."""
    queue = QueueSpec(name="jobs", auto_delete=True, retry=False)
    service = Service()

    with site(broker_url, service, queue) as here:
        here.publish(*range(10))
        here.events.wait(Paused)
        here.inside.run_on_session()
        service.is_up = True
        here.end_pause()
        assert here.worker.wait_idle(DEADLINE)

        assert here.worker.stats().connections == 1
    assert service.numbers == list(range(2, 10))


# --- what must not happen ---


def test_paused_queue_is_not_reported_as_a_missed_consumer(broker_url: str) -> None:
    """An answer to a probe that is about a cancelled consumer is ignored."""
    service = Service()

    with site(broker_url, service) as here:
        ((queue, answer),) = here.inside.probe_unanswered()
        here.publish(*range(10))
        here.wait_left()
        here.inside.probe()  # asks about no queue
        here.inside.run_on_session(lambda: answer(queue, 0))  # an answer from after the cancel
        service.is_up = True
        here.end_pause()
        here.events.wait(Resumed)
        here.inside.run_on_session()
        here.inside.run_on_session(lambda: answer(queue, 0))  # an answer about the consumer before the pause
        assert here.worker.wait_idle(DEADLINE)

        assert (here.worker.stats().missed_consumers, here.worker.stats().connections) == (0, 1)


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_frequent_pauses_keep_unsettled_messages_within_prefetch(
    broker_url: str, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker has the prefetch and one message on trial at most, however often the queue is paused."""
    caplog.set_level("INFO", logger="taskroute")
    queue = jobs.model_copy(update={"type": kind})
    most, calls = [0], []
    lock = threading.Lock()

    def flap(job: Job) -> None:
        with lock:
            calls.append(job.number)
            most[0] = max(most[0], here.inside.unsettled("jobs"))
            good = len(calls) % 3 == 0
        if not good:
            raise ConnectionError

    with site(broker_url, flap, queue, threads=2, prefetch=10, failures=1, pause=0.05, backlog=60) as here:
        assert here.worker.wait_idle(DEADLINE)

        assert here.worker.stats().paused["jobs"] >= 15
        assert here.worker.stats().connections == 1
        assert here.inside.unsettled("jobs") == 0
    assert sorted(calls) == list(range(60))
    assert most[0] <= 10 + 1
    assert set(prefetches(caplog)) <= {1, *range(5, 11)}


def prefetches(caplog: pytest.LogCaptureFixture) -> list[int]:
    """The prefetch of each time that the queue was consumed, from the log."""
    consumed = [line for line in caplog.messages if line.startswith("consuming queue=jobs")]
    return [int(line.split(" ")[2].removeprefix("prefetch=")) for line in consumed]


def test_unconfirmed_republishes_count_towards_the_prefetch(broker_url: str) -> None:
    """A paused queue takes no message on trial while as many as its prefetch wait for their republish."""
    service, queue = Service(), jobs.model_copy(update={"type": "classic"})

    # No heartbeat wakes the session within the test's time.
    with site(broker_url, service, queue, failures=1, prefetch=3, backlog=20, heartbeat=600) as here:
        with here.inside.republishing_held():
            for pauses in (1, 2, 3):
                here.wait_left(pauses)
                here.end_pause()
            # No trial has come, though the third pause is over.
            assert here.inside.unsettled("jobs") == len(service.called.wait(3)) == 3
            assert here.worker.health().consuming == ()
            service.is_up = True
        here.events.wait(Resumed)
        assert here.worker.wait_idle(DEADLINE)

    assert service.numbers == list(range(3, 20))


def test_circuit_breaker_of_another_type_is_refused(taskroute_url: str) -> None:
    registry = registry_of(lambda body: None, "#", queue=jobs)

    with pytest.raises(ConfigurationError, match="CircuitBreaker"):
        Worker(taskroute_url, Topology(queues=[jobs]), registry, circuit_breaker=5)  # type: ignore[arg-type]
