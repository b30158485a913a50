"""Which version of RabbitMQ an embedded broker follows, and what that changes for a user of the library."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import amqp
import pytest

from taskroute import (
    BrokerUrlError,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    Topology,
    TopologyMismatchError,
    Worker,
)
from taskroute.broker.connection import connect
from taskroute.broker.embedded import transport
from taskroute.broker.embedded.connection import EmbeddedConnection
from taskroute.broker.embedded.rules import RULES
from taskroute.broker.url import Version, parse_urls


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    yield name
    transport.drop(name)


def connected(url: str) -> Any:
    return connect(parse_urls(url)[0], name="test", heartbeat=0)


def test_url_without_a_version_joins_what_the_name_has(name: str) -> None:
    first = connected(f"memory://{name}?rabbitmq=3.10")
    other = connected(f"memory://{name}")
    same = connected(f"memory://{name}?rabbitmq=3.10")

    assert [one.server_properties for one in (first, other, same)] == [
        {"product": "RabbitMQ", "version": RULES["3.10"].release}
    ] * 3
    for one in (first, other, same):
        one.close()


def test_new_broker_follows_the_newest_version(name: str) -> None:
    connection = connected(f"memory://{name}")

    assert connection.server_properties["version"] == RULES["4.3"].release
    connection.close()


def test_another_version_of_a_broker_is_refused_by_name(name: str) -> None:
    connected(f"memory://{name}?rabbitmq=3.10").close()

    with pytest.raises(BrokerUrlError, match=rf"'{name}' follows RabbitMQ 3\.10\.8, not 4\.0"):
        connected(f"memory://{name}?rabbitmq=4.0")
    with pytest.raises(BrokerUrlError, match=r"'5\.0'"):
        transport.broker(name, "5.0")  # type: ignore[arg-type]


def test_worker_for_another_version_does_not_start(name: str) -> None:
    transport.broker(name, "3.10")
    registry = HandlerRegistry()
    registry.handler("#", queue="q")(lambda: None)
    worker = Worker(f"memory://{name}?rabbitmq=4.3", Topology(queues=[QueueSpec(name="q")]), registry)

    with pytest.raises(BrokerUrlError, match=name):
        worker.start()

    worker.stop()


def test_transient_shared_queue_is_refused_from_4_3_on(name: str) -> None:
    """The older version in the URL is the way back."""
    topology = Topology(queues=[QueueSpec(name="q", durable=False)])
    transport.broker(name, "4.3")

    with (
        pytest.raises(TopologyMismatchError, match="'q' durable or exclusive"),
        Publisher(f"memory://{name}", topology) as publisher,
    ):
        publisher.publish({}, "q", exchange="")

    with Publisher(f"memory://{name}-old?rabbitmq=4.0", topology) as publisher:
        publisher.publish({}, "q", exchange="")
    transport.drop(f"{name}-old")


@pytest.mark.parametrize(("version", "refused"), [("3.10", True), ("4.0", True), ("4.3", False)])
def test_global_prefetch_is_refused_until_it_counts_for_each_consumer(
    name: str, version: Version, refused: bool
) -> None:
    connection = EmbeddedConnection(transport.broker(name, version))
    channel = connection.channel()

    with pytest.raises(amqp.AMQPNotImplementedError, match="global") if refused else nullcontext():
        channel.basic_qos(0, 5, True)

    connection.close()
