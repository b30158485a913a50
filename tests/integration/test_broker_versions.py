"""Brokers of several versions: what each takes when something is declared, and workers under which it changes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import amqp
import pytest
from tests.kit.calls import Calls, logged
from tests.kit.embedded import broker_of
from tests.kit.inside import InsidePublisher
from tests.kit.peer import looking
from tests.kit.waiting import DEADLINE, until

from taskroute import (
    BrokerFacts,
    ExchangeSpec,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    Topology,
    TopologyMismatchError,
    UnsupportedFeatureError,
    Worker,
)
from taskroute.broker.embedded.transport import drop

media = ExchangeSpec(name="media")
work = QueueSpec(name="work", bindings=[media.bind("#")])
news = QueueSpec(name="news", durable=False)
deep = QueueSpec(name="deep", bindings=[media.bind("#.a.#.b.#")])


class Upgrade:
    """A broker of one version, and another one that its clients come to when it is gone."""

    def __init__(self, *versions: str) -> None:
        self._urls = [f"memory://test-{uuid.uuid4().hex}?rabbitmq={version}" for version in versions]
        self._now = 0

    def url(self) -> str:
        """Return where the broker is now."""
        return self._urls[self._now]

    def happen(self) -> None:
        """Go over to the next one."""
        former, self._now = self.url(), self._now + 1
        drop(broker_of(former).name)

    def end(self) -> None:
        for url in self._urls:
            drop(broker_of(url).name)


@pytest.fixture
def upgrade() -> Iterator[Callable[..., Upgrade]]:
    made: list[Upgrade] = []

    def make(*versions: str) -> Upgrade:
        made.append(Upgrade(*versions))
        return made[-1]

    yield make
    for each in made:
        each.end()


def topology_of(*queues: QueueSpec) -> Topology:
    return Topology(exchanges=[media], queues=queues)


def handling(*queues: QueueSpec) -> tuple[HandlerRegistry, Calls]:
    registry, seen = HandlerRegistry(), Calls()

    def handle(body: bytes) -> None:
        seen(body)

    for queue in queues:
        registry.add("#", handle, queue=queue)
    return registry, seen


@pytest.mark.parametrize("version", ["3.10", "4.0"])
def test_binding_of_three_hashes_is_declared_where_it_is_taken(upgrade: Any, version: str) -> None:
    url = upgrade(version).url()
    registry, seen = handling(deep)

    with Worker(url, topology_of(deep), registry), Publisher(url, topology_of(deep)) as publisher:
        publisher.publish(b"1", "x.a.y.b", exchange=media)
        seen.wait_for(b"1")


def test_binding_of_three_hashes_is_refused_before_it_is_sent(upgrade: Any) -> None:
    """Nor is its queue declared."""
    url = upgrade("4.3").url()
    problem = (
        r"queue 'deep', binding '#\.a\.#\.b\.#' from exchange 'media': binding_key: RabbitMQ 4\.3\.6 refuses .*: "
        r"bind the key up to its second `#`"
    )

    with pytest.raises(UnsupportedFeatureError, match=problem):
        Worker(url, topology_of(deep), handling(deep)[0]).start()
    with pytest.raises(UnsupportedFeatureError, match=problem):
        Publisher(url, topology_of(deep)).start()
    with looking(url) as peer, pytest.raises(amqp.exceptions.NotFound):
        peer.ready("deep")


def test_binding_that_others_have_made_is_not_refused(upgrade: Any) -> None:
    """With `declare="verify"` nothing is bound; it may be there from before an upgrade."""
    url = upgrade("4.3").url()
    with Publisher(url, topology_of(QueueSpec(name="deep"))):
        pass

    with Worker(url, topology_of(deep), handling(deep)[0], declare="verify") as worker:
        assert worker.health().ready


def test_handler_pattern_of_three_hashes_works_on_every_version(upgrade: Any) -> None:
    url = upgrade("4.3").url()
    registry, seen = HandlerRegistry(), Calls()
    registry.add("#.a.#.b.#", lambda: seen("deep"), queue=work)

    with Worker(url, topology_of(work), registry), Publisher(url, topology_of(work)) as publisher:
        publisher.publish(b"1", "x.a.y.b", exchange=media)
        seen.wait_for("deep")


def test_transient_queue_that_the_broker_denies_ends_the_start_of_its_worker(upgrade: Any) -> None:
    """The broker closes the connection over it (541), and is not away. Others go on without it."""
    url = upgrade("4.3").url()
    problem = "queue 'news': durable: the broker refuses .*: use exclusive=True, or durable=True with expires="
    registry, seen = handling(work)

    with pytest.raises(TopologyMismatchError, match=problem):
        Worker(url, topology_of(news, work), handling(news)[0]).start()
    with Worker(url, topology_of(news, work), registry) as worker, Publisher(url, topology_of(news, work)) as publisher:
        publisher.publish(b"1", "a", exchange=media)
        seen.wait_for(b"1")

        assert worker.health().ready
        assert re.match(problem, worker.health().warnings[0])


@pytest.mark.parametrize("consumed", [[news, work], [work]])
def test_queue_denied_after_an_upgrade_costs_one_connection(
    upgrade: Any, consumed: list[QueueSpec], caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it is consumed or only declared: it is left alone, and the worker goes on with its others."""
    broker = upgrade("4.0", "4.3")
    topology, (registry, seen) = topology_of(news, work), handling(*consumed)
    caplog.set_level("DEBUG", logger="taskroute")  # later attempts that end alike

    with Worker(broker.url, topology, registry) as worker, logged("queue_differs queue=news") as left_alone:
        assert worker.health().broker == BrokerFacts("RabbitMQ", "4.0.5")
        broker.happen()
        left_alone.wait(3 if news in consumed else 1)
        until(lambda: worker.health().connected and worker.health().consuming == ("work",))
        health, connections = worker.health(), worker.stats().connections

        with Publisher(broker.url, topology_of(work)) as publisher:
            publisher.publish(b"1", "a", exchange=media)
        seen.wait_for(b"1")

    assert health.broker == BrokerFacts("RabbitMQ", "4.3.6")
    assert any(
        warning.startswith("connected to RabbitMQ 4.3.6, and before to RabbitMQ 4.0.5") for warning in health.warnings
    )
    assert connections == 2
    if news in consumed:
        (reason,) = health.reasons
        assert reason.startswith("not consuming news: queue 'news': durable: the broker refuses")
    else:
        assert health.ready


def test_publisher_goes_on_without_a_queue_denied_after_an_upgrade(upgrade: Any) -> None:
    broker = upgrade("4.0", "4.3")

    with Publisher(broker.url, topology_of(news, work), timeout=DEADLINE) as publisher:
        publisher.publish(b"1", "a", exchange=media)
        broker.happen()
        published: Future[Any] = publisher.submit(b"2", "a", exchange=media)
        published.result(DEADLINE)

        assert InsidePublisher(publisher).generation == 2


def test_queue_denied_by_one_node_is_declared_on_an_older_one(upgrade: Any) -> None:
    """What one broker refuses, another one may take."""
    broker = upgrade("4.0", "4.3", "3.10")
    registry, seen = handling(news)

    with Worker(broker.url, topology_of(news), registry) as worker:
        broker.happen()
        until(lambda: "the broker refuses" in "".join(worker.health().reasons))
        broker.happen()
        until(lambda: worker.health().ready)
        with Publisher(broker.url, topology_of(news)) as publisher:
            publisher.publish(b"1", "news", exchange="")
        seen.wait_for(b"1")

        assert worker.health().broker == BrokerFacts("RabbitMQ", "3.10.8")
        assert worker.health().warnings == ()  # the lowest version is the one that it is connected to


def test_argument_that_the_broker_ignores_is_a_warning(broker_url: str) -> None:
    """Of every version: these limits are those of RabbitMQ 3.9."""
    queue = QueueSpec(name="q", arguments={"x-max-in-memory-length": 10})
    registry, _ = handling(queue)

    with logged("feature_ignored queue=q") as ignored, Worker(broker_url, topology_of(queue), registry) as worker:
        health = worker.health()

    (warning,) = health.warnings
    assert warning.startswith("queue 'q': arguments: RabbitMQ ")
    assert "ignores x-max-in-memory-length and x-max-in-memory-bytes of a quorum queue" in warning
    assert health.ready
    assert len(ignored.calls) == 1


def test_health_says_which_broker_it_is(rabbitmq_url: str) -> None:
    registry, _ = handling(work)
    worker = Worker(rabbitmq_url, topology_of(work), registry)
    assert worker.health().broker is None

    with worker:
        broker = worker.health().broker

    assert broker is not None
    assert broker.product == "RabbitMQ"
    assert broker.numbers >= (3, 10)
