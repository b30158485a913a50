"""A queue that takes the place of another one: workers consume both, and no message comes to both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE, until

from taskroute import ExchangeSpec, Message, Publisher, QueueSpec, RetryPolicy, Topology

shop = ExchangeSpec(name="shop")
bindings = [shop.bind("order.*")]
retry = RetryPolicy(delays=(0.05,))
old = QueueSpec(name="orders", bindings=bindings, type="classic", retry=retry)
new = QueueSpec(name="orders.2", bindings=bindings, max_length=1000, retry=retry, replaces="orders")
before = Topology(queues=[old])
after = Topology(queues=[new])


def worker_of(url: str, handler: Callable[..., object], topology: Topology = after, **options: Any) -> Any:
    queue = topology.queues[0]
    return running(url, topology, registry_of(handler, "#", queue=queue), **options)


def taking(seen: Calls) -> Callable[[bytes], None]:
    def take(body: bytes) -> None:
        seen(body)

    return take


def leave_in_the_old_queue(url: str, *bodies: bytes) -> None:
    with Publisher(url, before) as publisher:
        for body in bodies:
            publisher.publish(body, "order.paid", exchange=shop)


def test_worker_consumes_a_queue_and_the_one_that_it_replaces(broker_url: str) -> None:
    seen = Calls()
    leave_in_the_old_queue(broker_url, b"1", b"2")

    with looking(broker_url) as peer, worker_of(broker_url, taking(seen)) as (worker, publisher):
        seen.wait(2)
        publisher.publish(b"3", "order.paid", exchange=shop)  # by the bindings of the old one
        peer.publish(b"4", "orders.2")
        seen.wait(4)

        assert worker.wait_idle(DEADLINE)
        assert worker.health().ready
        assert worker.health().consuming == ("orders", "orders.2")
        assert "queue 'orders' is replaced by 'orders.2' and is consumed with it" in worker.health().warnings[0]
        assert set(worker.stats().handled.values()) == {4}

    assert sorted(seen.calls) == [b"1", b"2", b"3", b"4"]


def test_replacement_is_bound_at_once_where_there_is_no_old_queue(broker_url: str) -> None:
    seen = Calls()

    with worker_of(broker_url, taking(seen)) as (worker, publisher):
        publisher.publish(b"1", "order.paid", exchange=shop)
        seen.wait()

        assert worker.health().consuming == ("orders.2",)
        assert worker.health().warnings == ()


def test_replacement_is_bound_when_the_old_queue_is_deleted(broker_url: str) -> None:
    seen = Calls()
    leave_in_the_old_queue(broker_url)

    with looking(broker_url) as peer, worker_of(broker_url, taking(seen)) as (worker, publisher):
        until(lambda: worker.health().consuming == ("orders", "orders.2"))
        peer.channel.queue_delete("orders")
        until(lambda: worker.health().warnings == ())
        publisher.publish(b"1", "order.paid", exchange=shop)
        seen.wait()

        assert worker.health().ready
        assert worker.health().warnings == ()
        assert worker.stats().connections == 1
        assert worker.wait_idle(DEADLINE)


def test_failed_message_of_the_old_queue_waits_for_the_new_one(broker_url: str) -> None:
    """So nothing new comes to the old one, and it can be found empty; its attempts go on counting."""
    attempts = Calls()

    def fail(body: bytes) -> None:
        attempts(body)
        raise ValueError

    leave_in_the_old_queue(broker_url, b"1")
    with looking(broker_url) as peer, worker_of(broker_url, fail) as (worker, _):
        attempts.wait(2)
        assert worker.wait_idle(DEADLINE)

        (letter,) = peer.receive("orders.2.dead", 1)
        assert letter.properties["application_headers"]["x-taskroute-queue"] == "orders.2"
        assert letter.properties["application_headers"]["x-taskroute-attempt"] == 2
        assert peer.ready("orders") == 0


def test_retry_that_waited_for_the_old_queue_keeps_its_attempt(broker_url: str) -> None:
    seen = Calls()
    patient = Topology(
        queues=[QueueSpec(name="orders", bindings=bindings, type="classic", retry=RetryPolicy(delays=(1,)))]
    )

    def fail(body: bytes) -> None:
        worker.pause("orders")  # the retry is not this one's, however soon it is back
        raise ValueError

    def see(message: Message) -> None:
        seen(message.attempt, message.queue, message.routing_key)

    with worker_of(broker_url, fail, patient) as (worker, publisher):
        publisher.publish(b"1", "order.paid", exchange=shop)
        until(lambda: worker.stats().retried)

    with worker_of(broker_url, see):
        assert seen.wait() == [(2, "orders.2", "order.paid")]


def test_limit_of_a_queue_counts_for_both(broker_url: str) -> None:
    go_on, running_now = threading.Event(), Calls()
    leave_in_the_old_queue(broker_url, b"1")

    def hold(body: bytes) -> None:
        running_now(body)
        assert go_on.wait(DEADLINE)

    with (
        looking(broker_url) as peer,
        worker_of(broker_url, hold, concurrency={"orders.2": 1}, threads=4) as (worker, _),
    ):
        running_now.wait()
        peer.publish(b"2", "orders.2")
        until(lambda: InsideWorker(worker).open_count == 2)

        assert running_now.calls == [b"1"]

        go_on.set()
        assert worker.wait_idle(DEADLINE)
