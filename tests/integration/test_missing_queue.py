"""A queue that is deleted, replaced or refused while a worker consumes it: its neighbours notice nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.kit.calls import Calls, Events, logged
from tests.kit.inside import InsideWorker
from tests.kit.peer import Peer, looking
from tests.kit.running import running
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, Topology, TopologyMismatchError, Worker
from taskroute.broker.embedded.channel import Channel
from taskroute.instrumentation import Received
from taskroute.message.delivery import Delivery
from taskroute.worker.work_queue import WorkQueue

one = QueueSpec(name="one")
two = QueueSpec(name="two", type="classic")
topology = Topology(queues=[one, two])


class Handlers:
    """Handlers of both queues. Those of bodies that begin with `slow` wait for `go_on`."""

    def __init__(self) -> None:
        self.go_on, self.begun, self.done = threading.Event(), Calls(), Calls()
        self.registry = HandlerRegistry()
        for queue in (one, two):
            self.registry.add("#", self.handle, queue=queue)

    def handle(self, body: bytes) -> None:
        self.begun(body)
        if body.startswith(b"slow"):
            assert self.go_on.wait(DEADLINE)
        self.done(body)


@contextmanager
def handling(url: str, **options: Any) -> Iterator[tuple[Handlers, Worker, Publisher, Peer]]:
    handlers = Handlers()
    with looking(url) as peer, running(url, topology, handlers.registry, **options) as (worker, publisher):
        yield handlers, worker, publisher, peer


def test_deleted_queue_is_declared_and_consumed_again_alone(broker_url: str) -> None:
    """What runs for its neighbour is not run again, and what ran for the deleted queue ends without harm."""
    with handling(broker_url) as (handlers, worker, publisher, peer), logged("queue_missing queue=two") as missing:
        for body in (b"slow 1", b"2", b"slow 3"):
            publisher.publish(body, "one", exchange="")
        publisher.publish(b"slow 4", "two", exchange="")
        handlers.begun.wait(4)

        peer.channel.queue_delete("two.dead")
        peer.channel.queue_delete("two")
        missing.wait()
        until(lambda: worker.health().ready)
        publisher.publish(b"5", "two", exchange="")
        handlers.done.wait_for(b"5")
        assert peer.ready("two.dead") == 0

        handlers.go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1
        assert worker.health().ready

    assert Counter(handlers.begun.calls) == Counter([b"slow 1", b"2", b"slow 3", b"slow 4", b"5"])


@pytest.mark.parametrize("mode", ["verify", "skip"])
def test_deleted_queue_that_may_not_be_declared_is_waited_for(mode: Any, broker_url: str) -> None:
    with Publisher(broker_url, topology):
        pass

    with handling(broker_url, declare=mode) as (handlers, worker, publisher, peer):
        peer.channel.queue_delete("two")
        until(lambda: not worker.health().ready)
        publisher.publish(b"1", "one", exchange="")
        handlers.done.wait_for(b"1")
        assert worker.health().consuming == ("one",)
        assert worker.wait_idle(DEADLINE)
        (reason,) = worker.health().reasons
        assert reason.startswith("not consuming two: queue 'two':")

        peer.queue("two", x_queue_type="classic")
        peer.publish(b"2", "two")
        handlers.done.wait_for(b"2")
        until(lambda: worker.health().ready)
        assert worker.stats().connections == 1


def test_queue_replaced_by_another_one_is_left_alone(broker_url: str) -> None:
    """An operator has declared it anew with other arguments: it is not consumed, and the field is named."""
    with handling(broker_url) as (handlers, worker, publisher, peer):

        def replace() -> None:
            peer.channel.queue_delete("two")
            peer.queue("two", x_queue_type="classic", x_max_length=5)

        with logged("queue_differs queue=two") as differs:
            InsideWorker(worker).run_on_session(replace)  # which would declare it anew in between
            differs.wait_until(lambda lines: any("x-max-length" in line for line in lines))

        publisher.publish(b"1", "one", exchange="")
        handlers.done.wait_for(b"1")

        (reason,) = worker.health().reasons
        assert "x-max-length" in reason
        assert worker.stats().connections == 1


def test_queue_missing_at_the_start_ends_a_worker_that_may_not_declare(broker_url: str) -> None:
    worker = Worker(broker_url, topology, Handlers().registry, declare="skip")

    with pytest.raises(TopologyMismatchError, match="queue 'one'"):
        worker.start()


def test_queue_in_exclusive_use_is_waited_for_alone(broker_url: str) -> None:
    """Another consumer has it to itself: the worker starts, and consumes it once that one is gone."""
    with looking(broker_url) as owner, Publisher(broker_url, topology):
        owner.channel.basic_consume("two", "owner", exclusive=True, callback=lambda _: None)

        with handling(broker_url) as (handlers, worker, publisher, _):
            assert worker.health().consuming == ("one",)
            assert "in exclusive use" in worker.health().reasons[0]
            publisher.publish(b"1", "one", exchange="")
            handlers.done.wait_for(b"1")

            owner.channel.basic_cancel("owner")
            publisher.publish(b"2", "two", exchange="")
            handlers.done.wait_for(b"2")
            assert worker.stats().connections == 1


def test_cause_of_a_missing_queue_is_told_while_it_is_asked_for(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue is there again each time, before the broker refuses its consumer."""
    told, consume = Calls(), Channel.basic_consume
    with looking(taskroute_url) as owner, Publisher(taskroute_url, topology):
        owner.channel.basic_consume("two", "owner", exclusive=True, callback=lambda _: None)

        with handling(taskroute_url) as (_, worker, _, _):

            def tell_and_consume(*arguments: Any, **options: Any) -> Any:
                told(worker.health().reasons)
                return consume(*arguments, **options)

            monkeypatch.setattr(Channel, "basic_consume", tell_and_consume)
            for (reason,) in told.wait(2):
                assert reason.startswith("not consuming two: ")
                assert "in exclusive use" in reason


def test_exchange_deleted_with_the_last_binding_is_declared_again(broker_url: str) -> None:
    fleeting = ExchangeSpec(name="fleeting", auto_delete=True)
    queue = QueueSpec(name="two", type="classic", bindings=[fleeting.bind("#")])
    handlers = Handlers()
    with (
        looking(broker_url) as peer,
        logged("queue_missing queue=two") as missing,
        running(broker_url, Topology(exchanges=[fleeting], queues=[one, queue]), handlers.registry, queues=[queue]) as (
            worker,
            publisher,
        ),
    ):
        peer.channel.queue_delete("two")
        missing.wait()
        until(lambda: worker.health().ready)

        publisher.publish(b"1", "a", exchange=fleeting)
        handlers.done.wait_for(b"1")
        assert worker.stats().connections == 1


def test_probe_of_a_queue_that_is_gone_costs_no_connection(rabbitmq_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """It may be asked about before the end of its consumer is read."""
    caplog.set_level("DEBUG", logger="taskroute")
    with handling(rabbitmq_url) as (handlers, worker, publisher, _), logged("probe_failed") as failed:
        inside = InsideWorker(worker)

        inside.probe_for("nowhere")
        failed.wait()
        inside.cancel_unnoticed("one")
        inside.probe()
        until(lambda: worker.stats().missed_consumers == 1)

        publisher.publish(b"1", "one", exchange="")
        handlers.done.wait_for(b"1")
        assert worker.stats().connections == 1


@pytest.mark.parametrize("queue", [one, two], ids=str)
def test_stop_gives_back_at_once_what_nobody_has_begun(queue: QueueSpec, broker_url: str) -> None:
    """Another worker has the prefetched messages while the handlers of this one still run."""
    handlers = Handlers()
    with looking(broker_url) as peer, Publisher(broker_url, topology) as publisher:
        for body in (b"slow 1", b"2", b"3", b"4"):
            publisher.publish(body, queue.name, exchange="")
        worker = Worker(broker_url, topology, handlers.registry, threads=1, prefetch=10, queues=[queue])
        worker.start()
        handlers.begun.wait()
        until(lambda: InsideWorker(worker).open_count == 4)

        stopped = in_thread(worker.stop)
        assert peer.receive(queue.name, 3).bodies == [b"2", b"3", b"4"]

        assert not stopped.done()
        handlers.go_on.set()
        stopped.result(DEADLINE)
        assert worker.stats().connections == 1
        assert peer.ready(queue.name) == 0

    assert handlers.done.calls == [b"slow 1"]


def test_stop_gives_back_last_what_comes_last(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that was on its way when the worker was stopped goes back after those that waited."""
    handlers, events, held, close = Handlers(), Events(), threading.Event(), WorkQueue.close

    def close_while_one_comes(work: WorkQueue) -> list[Delivery]:
        waiting = close(work)
        held.set()
        events.wait(Received, 4)
        return waiting

    monkeypatch.setattr(WorkQueue, "close", close_while_one_comes)
    options: dict[str, Any] = {"threads": 1, "prefetch": 10, "queues": [one], "instrumentation": [events]}
    with looking(broker_url) as peer, Publisher(broker_url, topology) as publisher:
        for body in (b"slow 1", b"2", b"3"):
            publisher.publish(body, "one", exchange="")
        with Worker(broker_url, topology, handlers.registry, **options) as worker:
            events.wait(Received, 3)
            handlers.begun.wait()
            InsideWorker(worker).hold(held)
            publisher.publish(b"4", "one", exchange="")

            stopped = in_thread(worker.stop)
            given_back = peer.receive("one", 3).bodies
            handlers.go_on.set()
            stopped.result(DEADLINE)

    assert given_back == [b"2", b"3", b"4"]
