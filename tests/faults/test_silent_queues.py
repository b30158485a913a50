"""A queue that is silent although it has messages: it is consumed anew, whatever goes on beside it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from tests.kit.calls import Calls, logged
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import running
from tests.kit.waiting import DEADLINE, until

from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker
from taskroute.broker.roles import consumed_queue

busy, silent = QueueSpec(name="busy"), QueueSpec(name="silent")
topology = Topology(queues=[busy, silent])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a queue be silent as soon as nothing of it is unsettled."""
    monkeypatch.setattr(consumed_queue, "EARLY_SILENCE", 0.0)


@dataclass
class Site:
    """A worker whose queue `busy` is being worked at."""

    worker: Worker
    publisher: Publisher
    done: Calls

    @property
    def inside(self) -> InsideWorker:
        return InsideWorker(self.worker)

    def publish(self, body: bytes) -> None:
        self.publisher.publish(body, "silent", exchange="")

    def handle(self, body: bytes) -> None:
        self.publish(body)
        self.done.wait_for(body)
        until(lambda: not self.inside.unsettled("silent"))


@contextmanager
def site(url: str, prefetch: int = 4, others: Sequence[QueueSpec] = ()) -> Iterator[Site]:
    begun, go_on, done = threading.Event(), threading.Event(), Calls()

    def work() -> None:
        begun.set()
        assert go_on.wait(DEADLINE)

    def handle(body: bytes) -> None:
        done(body)

    registry = HandlerRegistry()
    registry.add("#", work, queue=busy)
    registry.add("#", handle, queue=silent)
    for other in others:
        registry.add("#", handle, queue=other)
    with running(url, Topology(queues=[busy, silent, *others]), registry, prefetch=prefetch) as (worker, publisher):
        publisher.publish(b"", "busy", exchange="")
        assert begun.wait(DEADLINE)
        yield Site(worker, publisher, done)
        assert worker.stats().connections == 1
        go_on.set()


@pytest.mark.row(65)
def test_forgotten_consumer_is_replaced_beside_a_busy_queue(broker_url: str) -> None:
    """The broker counts a consumer all the same, somebody else's that takes no more."""
    with looking(broker_url) as peer:
        with Publisher(broker_url, topology):
            pass  # which has declared the queues
        peer.publish(b"theirs", "silent")
        held = peer.consume("silent", prefetch=1)
        peer.until(lambda: bool(held))
        with site(broker_url) as here:
            here.handle(b"1")
            here.inside.cancel_unnoticed("silent")
            here.publish(b"2")

            here.inside.probe()

            here.done.wait_for(b"2")


@pytest.mark.row(65)
def test_queue_in_which_messages_wait_is_consumed_anew_first(
    taskroute_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One queue has its turn with each probe; that something is wrong with this one is known already, and logged."""
    caplog.set_level(logging.INFO, "taskroute")
    others = [QueueSpec(name=f"other{number}") for number in range(3)]
    with looking(taskroute_url) as peer, site(taskroute_url, others=others) as here:
        here.handle(b"1")
        peer.consume("silent", prefetch=1)
        here.inside.cancel_unnoticed("silent")
        here.publish(b"theirs")
        here.publish(b"2")

        with logged("consuming queue=silent") as consuming:
            here.inside.probe()
            consuming.wait()

        here.done.wait_for(b"2")


@pytest.mark.row(65)
def test_message_that_was_lost_on_its_way_comes_again(broker_url: str) -> None:
    """It would wait for the end of its channel, and a prefetch of one for it."""
    with site(broker_url, prefetch=1) as here:
        here.handle(b"1")
        lost = here.inside.lose_deliveries("silent")
        here.publish(b"2")
        lost.wait()

        here.inside.probe()

        here.done.wait_for(b"2")


@pytest.mark.row(65)
def test_queue_that_another_one_replaces_at_once_is_compared(broker_url: str) -> None:
    """RabbitMQ ends no consumer over it, and counts one of the other queue."""
    with looking(broker_url) as peer, site(broker_url) as here, logged("queue_differs queue=silent") as differs:
        here.handle(b"1")
        peer.channel.queue_delete("silent")
        peer.queue("silent", x_queue_type="quorum", x_max_length=5)
        until(lambda: differs.calls or peer.channel.queue_declare("silent", passive=True).consumer_count)

        here.inside.probe()

        differs.wait()
        assert here.worker.health().reasons[0].startswith("not consuming silent: queue 'silent': ")
