"""A queue or exchange that the broker has otherwise than declared stops what it touches, and nothing else."""

from __future__ import annotations

from typing import Any

import amqp
import pytest
from tests.kit.calls import Calls, logged
from tests.kit.inside import InsidePublisher, InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import until

from taskroute import ExchangeSpec, Publisher, QueueSpec, RetryPolicy, Topology, TopologyMismatchError, Worker
from taskroute.broker.roles import closed_addresses

media = ExchangeSpec(name="media")
news = ExchangeSpec(name="news")
work = QueueSpec(name="work", bindings=[media.bind("#")], retry=RetryPolicy(delays=(0.05,)))
other = QueueSpec(name="other", bindings=[news.bind("#")], type="classic", message_ttl=3600)
topology = Topology(exchanges=[media, news], queues=[work, other])


def arguments_of(queue: QueueSpec) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in queue.broker_arguments.items()}


def test_worker_goes_on_beside_a_mismatch_that_it_does_not_consume(broker_url: str) -> None:
    """It is one line in the log and a warning, in the units of the spec, and leaves `ready` alone."""
    with looking(broker_url) as peer:
        peer.queue("other", **{**arguments_of(other), "x_message_ttl": 7_200_000})
    seen = Calls()

    def handle(body: bytes) -> None:
        seen(body)

    with (
        logged("queue_differs queue=other") as lines,
        running(broker_url, topology, registry_of(handle, "#", queue=work)) as (worker, publisher),
    ):
        publisher.publish(b"1", "a", exchange=media)
        seen.wait_for(b"1")
        health = worker.health()

    assert health.ready
    (warning,) = health.warnings
    assert warning.startswith("queue 'other': message_ttl: 2 h on the broker, 1 h declared (x-message-ttl); ")
    assert "7200000" not in warning
    assert len(lines.calls) == 1  # the publisher compares no queue


@pytest.mark.parametrize("name", ["work", "work.retry.50", "work.dead"])
def test_mismatch_of_what_a_worker_consumes_ends_its_start(name: str, broker_url: str) -> None:
    """Its wait and dead-letter queues count as consumed."""
    with looking(broker_url) as peer:
        peer.queue(name, x_queue_type="classic")

    with logged(" ") as lines, pytest.raises(TopologyMismatchError, match=f"queue '{name}': "):
        Worker(broker_url, topology, registry_of(lambda: None, "#", queue=work)).start()

    assert not [line for line in lines.calls if line.startswith(("queue_missing", "connect_failed"))]
    assert len([line for line in lines.calls if line.startswith(f"queue_differs queue={name} ")]) == 1


def test_queue_of_the_spec_is_raised_before_what_serves_it(broker_url: str) -> None:
    """All of them are in the log."""
    with looking(broker_url) as peer:
        for name in ("work.retry.50", "work.dead", "work"):
            peer.queue(name, x_queue_type="classic")

    with logged("queue_differs ") as lines, pytest.raises(TopologyMismatchError, match=r"^queue 'work': "):
        Worker(broker_url, topology, registry_of(lambda: None, "#", queue=work)).start()

    assert [line.split()[1] for line in lines.calls] == ["queue=work", "queue=work.retry.50", "queue=work.dead"]


@pytest.mark.parametrize(("name", "stops"), [("media", True), ("news", False)])
def test_mismatch_of_an_exchange_ends_the_start_of_whom_it_feeds(name: str, stops: bool, broker_url: str) -> None:
    with looking(broker_url) as peer:
        peer.exchange(name, "fanout")
    worker = Worker(broker_url, topology, registry_of(lambda: None, "#", queue=work))

    if stops:
        with pytest.raises(TopologyMismatchError, match=f"exchange '{name}': type: fanout on the broker"):
            worker.start()
        return
    with worker:
        health = worker.health()
    assert health.ready
    assert health.warnings[0].startswith("exchange 'news': type: fanout on the broker, topic declared; ")


def test_mismatch_of_an_exchange_upstream_ends_the_start(broker_url: str) -> None:
    """Messages come through it, by a binding of another exchange and as an alternate exchange has them."""
    last = ExchangeSpec(name="last", bindings=[news.bind("#")])
    first = ExchangeSpec(name="first", alternate_exchange="news")
    queue = QueueSpec(name="q", bindings=[last.bind("#")])
    with looking(broker_url) as peer:
        peer.exchange("first", "topic")

    with pytest.raises(TopologyMismatchError, match="exchange 'first': alternate_exchange: none on the broker, news"):
        Worker(
            broker_url,
            Topology(exchanges=[first, news, last], queues=[queue]),
            registry_of(lambda: None, "#", queue=queue),
        ).start()


@pytest.mark.parametrize("name", ["media", "news"])
def test_mismatch_found_at_a_reconnect_is_a_warning(name: str, broker_url: str) -> None:
    """An operator has declared an exchange anew: what is consumed goes on, on one more connection."""
    with Worker(broker_url, topology, registry_of(lambda: None, "#", queue=work)) as worker:
        with looking(broker_url) as peer:
            peer.channel.exchange_delete(name)
            peer.exchange(name, "fanout")
        assert worker.health().warnings == ()
        InsideWorker(worker).fail_on_session(ConnectionResetError("by the test"))
        until(lambda: worker.stats().connections == 2)
        until(lambda: worker.health().ready)

        assert worker.health().warnings[0].startswith(f"exchange '{name}': type: fanout")


def test_publisher_publishes_to_a_queue_that_differs(broker_url: str) -> None:
    with looking(broker_url) as peer:
        peer.queue("work", x_queue_type="classic", x_max_length=7)
        with Publisher(broker_url, topology) as publisher:
            publisher.publish(b"1", "work", exchange="")

        assert peer.ready("work") == 1


def test_publisher_recovers_when_an_exchange_is_mended(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same connection, without a new publisher."""
    monkeypatch.setattr(closed_addresses, "LOOK_EVERY", 0.05)
    with (
        looking(broker_url) as peer,
        Publisher(broker_url, Topology(exchanges=[news, media]), declare="verify") as publisher,
    ):
        assert "create it first" in problem_of(publisher)
        peer.exchange("news")

        until(lambda: not problem_of(publisher))
        assert InsidePublisher(publisher).generation == 1


def problem_of(publisher: Publisher) -> str:
    """Return what publishing to one of the exchanges ends with."""
    try:
        publisher.publish(b"1", "a", exchange=news, mandatory=False)
    except TopologyMismatchError as error:
        return str(error)
    return ""


def test_publisher_declares_no_deleted_queue_at_a_reconnect(broker_url: str) -> None:
    """Nobody may consume it any more."""
    with looking(broker_url) as peer, Publisher(broker_url, topology) as publisher:
        peer.channel.queue_delete("other")
        inside = InsidePublisher(publisher)
        inside.fail_on_session(ConnectionResetError("by the test"))
        until(lambda: inside.generation == 2)
        publisher.publish(b"1", "a", exchange=media)

        with pytest.raises(amqp.exceptions.NotFound):
            peer.ready("other")


@pytest.mark.parametrize(
    ("exchange", "queue", "problem"),
    [
        (media, work.model_copy(update={"delivery_limit": 7}), "queue 'work': delivery_limit: 20 on the broker, 7"),
        (ExchangeSpec(name="media", internal=True), work, "exchange 'media': internal: False on the broker, True"),
    ],
    ids=["queue", "exchange"],
)
def test_verify_compares_what_is_there(exchange: ExchangeSpec, queue: QueueSpec, problem: str, broker_url: str) -> None:
    registry = registry_of(lambda: None, "#", queue="work")
    with Publisher(broker_url, topology), Worker(broker_url, topology, registry, declare="verify") as worker:
        assert worker.health().warnings == ()

    with pytest.raises(TopologyMismatchError, match=problem):
        Worker(broker_url, Topology(exchanges=[exchange], queues=[queue]), registry, declare="verify").start()


def test_verify_does_not_create_what_is_missing(broker_url: str) -> None:
    with looking(broker_url) as peer:
        peer.exchange("media")
        worker = Worker(
            broker_url,
            Topology(exchanges=[media], queues=[work]),
            registry_of(lambda: None, "#", queue=work),
            declare="verify",
        )
        with pytest.raises(TopologyMismatchError, match=r"queue 'work': .* create it first"):
            worker.start()

        with pytest.raises(amqp.exceptions.NotFound):
            peer.ready("work")
