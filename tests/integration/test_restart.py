"""A RabbitMQ that dies and comes back: nothing is lost, and everything goes on by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.kit import rabbitmq as server
from tests.kit.calls import Calls
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE

from taskroute import ExchangeSpec, Publisher, QueueSpec, Topology, Worker

jobs = ExchangeSpec(name="jobs")
work = QueueSpec(name="work", bindings=[jobs.bind("#")])
topology = Topology(exchanges=[jobs], queues=[work])


@pytest.fixture
def own_node(installed: None) -> Iterator[server.Node]:
    """A node that this test alone may kill."""
    with server.running() as node:
        yield node


def test_worker_and_publisher_survive_a_kill_of_the_broker(own_node: server.Node) -> None:
    seen = Calls()
    registry = registry_of(lambda body: seen(body["n"]), "#", queue=work)

    with (
        Worker(own_node.url(), topology, registry, threads=2, heartbeat=5) as worker,
        Publisher(own_node.url(), topology, timeout=120) as publisher,
    ):
        for n in range(50):
            publisher.publish({"n": n}, "a", exchange=jobs)
        seen.wait(50)
        own_node.kill()
        waiting = [publisher.submit({"n": n}, "a", exchange=jobs) for n in range(50, 100)]
        own_node.start()
        for future in waiting:
            future.result(120)
        seen.wait(100)
        assert worker.wait_idle(60)

        assert worker.health().ready
    assert set(seen.calls) == set(range(100))  # perhaps more than once, never less


def test_connections_closed_by_an_operator_come_back(rabbitmq: server.Node) -> None:
    with rabbitmq.vhost() as url:
        seen = Calls()
        registry = registry_of(lambda body: seen(body["n"]), "#", queue=work)
        with running(url, topology, registry, threads=2) as (worker, publisher):
            publisher.publish({"n": 0}, "a", exchange=jobs)
            seen.wait(1)
            rabbitmq.close_all_connections()
            for n in range(1, 20):
                publisher.publish({"n": n}, "a", exchange=jobs)
            seen.wait(20)
            assert worker.wait_idle(DEADLINE)

    assert set(seen.calls) == set(range(20))
