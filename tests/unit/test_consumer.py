"""A consumer on one channel of the embedded broker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

import pytest
from tests.kit.calls import logged

from taskroute import ExchangeSpec, QueueSpec, Topology, TopologyMismatchError
from taskroute.broker.connection import connect
from taskroute.broker.declare import Declaration
from taskroute.broker.embedded.channel import Channel
from taskroute.broker.roles import consumed_queue
from taskroute.broker.roles.consumed_queue import Admission
from taskroute.broker.roles.consumer import Consumer
from taskroute.broker.url import parse_urls
from taskroute.message.delivery import Delivery

one, two = QueueSpec(name="one"), QueueSpec(name="two")


class Sink:
    """Keeps the deliveries of a consumer."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.deliveries: list[Delivery] = []
        self.losses = 0
        self.lost: list[str] = []

    def on_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries += deliveries
        self.bodies += [delivery.body for delivery in deliveries]

    def on_connection_lost(self) -> None:
        self.losses += 1

    def on_queue_lost(self, queue: str) -> None:
        self.lost.append(queue)

    def on_counted(self, queue: str, ready: int | None) -> None:
        pass


@pytest.fixture
def connection(taskroute_url: str) -> Iterator[Any]:
    (url,) = parse_urls(taskroute_url)
    with closing(connect(url, name="test", heartbeat=30)) as connection:
        connection.channel().queue_declare("one", durable=True, auto_delete=False)
        yield connection


@pytest.fixture
def sink() -> Sink:
    return Sink()


def consumer_of(sink: Sink, *queues: QueueSpec, prefetch: int = 3, **options: Any) -> Consumer:
    skip = Declaration(Topology(), "skip")
    counts = {queue.name: prefetch for queue in queues}
    return Consumer(queues, prefetch=counts, declaration=skip, sink=sink, **options)


def publish(connection: Any, body: bytes) -> None:
    connection.channel().publish("", "one", mandatory=True, properties={}, body=body)


def read(connection: Any, consumer: Consumer) -> None:
    while connection.drain_available(10):
        pass
    consumer.on_read()


def test_failed_consume_leaves_no_consumer_behind(connection: Any, sink: Sink) -> None:
    consumer = consumer_of(sink, one, two)

    with pytest.raises(TopologyMismatchError, match="queue 'two'"):
        consumer.on_open(connection, 1)

    assert consumer.consuming == frozenset()


@pytest.mark.parametrize("name", ["x" * 255, "\u00e4" * 127, "\u20ac" * 85, "x" + "\U0001f4e6" * 63], ids=range(1, 5))
@pytest.mark.parametrize("generation", [1, 10**9, 10**12])
def test_queue_of_any_name_is_consumed_on_any_connection(
    name: str, generation: int, connection: Any, sink: Sink
) -> None:
    """The tag of a consumer holds the name as far as it fits; it is counted in bytes."""
    connection.channel().queue_declare(name, durable=True, auto_delete=False)
    consumer = consumer_of(sink, QueueSpec(name=name, retry=False, dead_letter=False))

    consumer.on_open(connection, generation)

    assert consumer.consuming == {name}


def test_queue_paused_before_its_prefetch_widens_stays_paused(connection: Any, sink: Sink) -> None:
    publish(connection, b"1")
    admitted: list[Admission] = ["all"]
    consumer = consumer_of(sink, one, admission=lambda _: admitted[-1])
    consumer.on_open(connection, 1)
    while connection.drain_available(10):
        pass

    admitted.append("none")
    consumer.reconsider("one")
    consumer.on_read()

    assert sink.bodies == [b"1"]
    assert consumer.consuming == frozenset()


def test_settled_deliveries_are_acknowledged_by_the_next_flush(connection: Any, sink: Sink) -> None:
    for body in (b"1", b"2", b"3"):
        publish(connection, body)
    consumer = consumer_of(sink, one)
    consumer.on_open(connection, 1)
    read(connection, consumer)  # the first one, and then the whole prefetch
    read(connection, consumer)
    assert sink.bodies == [b"1", b"2", b"3"]

    for delivery in (sink.deliveries[2], sink.deliveries[0]):
        consumer.settle(delivery)
    assert consumer.has_work()
    consumer.flush()
    assert not consumer.has_work()

    consumer.on_lost(None)
    connection.close()
    assert connection.broker.depths(["one"])["one"].ready == 1


def test_delivery_settled_twice_is_acknowledged_once(connection: Any, sink: Sink) -> None:
    publish(connection, b"1")
    consumer = consumer_of(sink, one)
    consumer.on_open(connection, 1)
    read(connection, consumer)

    for _ in range(2):
        consumer.settle(sink.deliveries[0])
        consumer.settle(sink.deliveries[0])
        consumer.flush()

    read(connection, consumer)  # a second acknowledgement would close the channel
    assert consumer.count_ready(["one"]) == 0


def test_delivery_of_a_lost_connection_is_not_acknowledged(connection: Any, sink: Sink) -> None:
    """Its delivery tag could name another message on the next connection."""
    publish(connection, b"1")
    consumer = consumer_of(sink, one)
    consumer.on_open(connection, 1)
    read(connection, consumer)

    consumer.on_lost(ConnectionError())
    assert sink.losses == 1
    assert consumer.is_stale(sink.deliveries[0])

    consumer.settle(sink.deliveries[0])
    consumer.flush()

    consumer.on_open(connection, 2)
    consumer.settle(sink.deliveries[0])
    consumer.flush()

    assert connection.broker.depths(["one"])["one"].unsettled == 1


def test_connection_is_left_once_every_delivery_is_settled(connection: Any, sink: Sink) -> None:
    """Nothing new is consumed meanwhile; health goes on naming the queue, which is consumed again in a moment."""
    consumer = consumer_of(sink, one)
    consumer.on_open(connection, 1)
    publish(connection, b"before")
    read(connection, consumer)

    assert not consumer.leave()
    publish(connection, b"after")
    read(connection, consumer)
    assert sink.bodies == [b"before"]
    assert consumer.consuming == {"one"}

    consumer.settle(sink.deliveries[0])
    assert not consumer.leave()
    consumer.flush()
    assert consumer.leave()

    consumer.stay()
    read(connection, consumer)
    assert sink.bodies == [b"before", b"after"]


def test_queue_that_waits_for_the_one_it_replaces_is_awaiting_while_the_connection_is_left(
    connection: Any, sink: Sink
) -> None:
    """Health would say that it is not consumed, for as long as a handler takes."""
    consumer = consumer_of(sink, QueueSpec(name="two", replaces="one", after="empty"))
    consumer.on_open(connection, 1)
    publish(connection, b"before")
    read(connection, consumer)
    assert consumer.consuming == {"one"}
    assert consumer.awaiting == {"two"}

    assert not consumer.leave()

    assert consumer.consuming == {"one"}
    assert consumer.awaiting == {"two"}


def test_queue_that_waits_for_the_one_it_replaces_is_neither_shrunk_nor_counted(connection: Any, sink: Sink) -> None:
    consumer = consumer_of(sink, QueueSpec(name="two", replaces="one", after="empty"))
    consumer.on_open(connection, 1)
    for body in (b"1", b"2", b"3", b"4"):
        publish(connection, body)
    for _ in range(3):
        read(connection, consumer)

    assert (consumer.shrink("two", 2, list), consumer.capacities) == (2, {"two": 2})


@pytest.mark.parametrize("kept", [{"exclusive": True}, {"single_active_consumer": True}, {"expires": 60}])
def test_connection_is_never_left_with_a_queue_that_would_lose_by_it(
    kept: dict[str, Any], connection: Any, sink: Sink
) -> None:
    consumer = consumer_of(sink, QueueSpec(name="one", type="classic", retry=False, dead_letter=False, **kept))
    consumer.on_open(connection, 1)

    assert not consumer.leave()

    publish(connection, b"after")
    read(connection, consumer)
    assert sink.bodies == [b"after"]


def quorum_queues(connection: Any, *names: str, **options: Any) -> list[QueueSpec]:
    for name in names:
        connection.channel().queue_declare(
            name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum", **options}
        )
    return [QueueSpec(name=name) for name in names]


def handle_one(connection: Any, consumer: Consumer, sink: Sink, queue: str) -> None:
    connection.channel().publish("", queue, mandatory=True, properties={}, body=b"1")
    read(connection, consumer)
    consumer.settle(sink.deliveries[-1])
    consumer.flush()
    read(connection, consumer)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a queue be silent as soon as nothing of it is unsettled."""
    monkeypatch.setattr(consumed_queue, "EARLY_SILENCE", 0.0)


@pytest.fixture
def renewed(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Return the queues that are consumed anew since the last call."""
    caplog.set_level(logging.DEBUG)
    taken: list[str] = []
    with logged("consuming queue=") as lines:

        def names() -> list[str]:
            fresh = lines.calls[len(taken) :]
            taken.extend(fresh)
            return [line.split()[1].removeprefix("queue=") for line in fresh]

        yield names


def test_silent_queue_is_consumed_anew_sooner_at_first(
    connection: Any, sink: Sink, monkeypatch: pytest.MonkeyPatch, renewed: Callable[[], list[str]]
) -> None:
    """A node without a majority does not agree to that, which ends the connection; it answers every other question."""
    consumer = consumer_of(sink, *quorum_queues(connection, "q"))
    consumer.on_open(connection, 1)
    handle_one(connection, consumer, sink, "q")
    renewed()

    consumer.probe()
    assert renewed() == []

    monkeypatch.setattr(consumed_queue, "EARLY_SILENCE", 0.0)
    consumer.probe()
    assert renewed() == ["q"]

    monkeypatch.setattr(consumed_queue, "EARLY", 0.0)
    consumer.probe()
    assert renewed() == []
    assert consumer.consuming == {"q"}


@pytest.mark.usefixtures("at_once")
def test_queue_that_is_consumed_anew_is_bound_again(connection: Any, sink: Sink) -> None:
    """Another queue may have taken its place, without its bindings."""
    jobs = ExchangeSpec(name="jobs")
    bound = QueueSpec(name="q", bindings=[jobs.bind("a")], retry=False)
    declaration = Declaration(Topology(exchanges=[jobs], queues=[bound]), "create")
    consumer = Consumer([bound], prefetch={"q": 3}, declaration=declaration, sink=sink)
    consumer.on_open(connection, 1)
    channel = connection.channel()
    channel.queue_unbind("q", "jobs", "a")

    consumer.probe()
    channel.publish("jobs", "a", mandatory=True, properties={}, body=b"1")
    read(connection, consumer)

    assert sink.bodies == [b"1"]


@pytest.mark.usefixtures("at_once")
def test_silent_queues_are_consumed_anew_in_turn(connection: Any, sink: Sink, renewed: Callable[[], list[str]]) -> None:
    """One a probe, so that a worker of many idle queues is no burden; the one that was heard last comes last."""
    consumer = consumer_of(sink, *quorum_queues(connection, "a", "b", "c"))
    consumer.on_open(connection, 1)
    for name in ("a", "b", "a"):
        handle_one(connection, consumer, sink, name)
    renewed()

    turns = []
    for _ in range(5):
        consumer.probe()
        turns.append(renewed())

    assert turns == [["c"], ["b"], ["a"], ["c"], ["b"]]


@pytest.mark.usefixtures("at_once")
def test_silent_queue_is_consumed_anew_while_another_one_is_busy(
    connection: Any, sink: Sink, renewed: Callable[[], list[str]]
) -> None:
    """The silence is each queue's own: a forgotten consumer does not wait for the others to be idle."""
    consumer = consumer_of(sink, *quorum_queues(connection, "busy", "silent"))
    consumer.on_open(connection, 1)
    handle_one(connection, consumer, sink, "silent")
    connection.channel().publish("", "busy", mandatory=True, properties={}, body=b"2")
    read(connection, consumer)
    renewed()

    for _ in range(2):
        consumer.probe()
        assert renewed() == ["silent"]

    assert sink.bodies == [b"1", b"2"]


@pytest.mark.usefixtures("at_once")
def test_silent_queue_that_shares_its_channel_is_consumed_anew_on_it(
    connection: Any, sink: Sink, renewed: Callable[[], list[str]]
) -> None:
    """The end of that channel would cost the others their deliveries."""
    connection.channel_max = 2
    consumer = consumer_of(sink, *quorum_queues(connection, "busy", "silent"))
    consumer.on_open(connection, 1)
    connection.channel().publish("", "busy", mandatory=True, properties={}, body=b"1")
    read(connection, consumer)
    renewed()

    consumer.probe()
    assert renewed() == ["silent"]

    handle_one(connection, consumer, sink, "silent")
    assert not consumer.is_stale(sink.deliveries[0])
    assert len({delivery.generation for delivery in sink.deliveries}) == 1


@pytest.mark.usefixtures("at_once")
def test_queue_with_a_message_on_its_way_in_is_not_consumed_anew(
    connection: Any, sink: Sink, monkeypatch: pytest.MonkeyPatch, renewed: Callable[[], list[str]]
) -> None:
    """A large one may take longer than the silence, and would begin anew again and again."""
    consumer = consumer_of(sink, *quorum_queues(connection, "q"))
    consumer.on_open(connection, 1)
    renewed()
    monkeypatch.setattr(Channel, "is_receiving", True)

    consumer.probe()

    assert renewed() == []


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("harmed", [{"single_active_consumer": True}, {"expires": 60}, {"type": "classic"}])
def test_queue_that_leaving_would_harm_is_not_consumed_anew(
    harmed: dict[str, Any], connection: Any, sink: Sink, renewed: Callable[[], list[str]]
) -> None:
    quorum_queues(connection, "q")
    consumer = consumer_of(sink, QueueSpec(name="q", retry=False, dead_letter=False, **harmed))
    consumer.on_open(connection, 1)
    renewed()

    consumer.probe()

    assert renewed() == []
