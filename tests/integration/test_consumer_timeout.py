"""Messages that were taken in advance and wait for handlers, while the broker's time for them runs."""

from __future__ import annotations

import threading

import pytest
from tests.kit.calls import logged
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE, until

from taskroute import Publisher, QueueSpec, Topology

work = QueueSpec(name="work", type="classic")


def test_messages_behind_a_long_handler_go_back_in_time(broker_url: str) -> None:
    """The line in the log names the true cause, and another worker has the messages."""
    go_on, begun = threading.Event(), threading.Event()

    def handle(body: bytes) -> None:
        begun.set()
        assert go_on.wait(DEADLINE)

    with (
        looking(broker_url) as peer,
        logged("prefetch_waits queue=work") as warned,
        running(
            broker_url, Topology(queues=[work]), registry_of(handle, "#", queue=work), threads=1, consumer_timeout=1
        ) as (worker, publisher),
    ):
        for body in (b"1", b"2", b"3"):
            publisher.publish(body, "work", exchange="")
        assert begun.wait(DEADLINE)

        warned.wait()
        assert peer.receive("work", 2).bodies == [b"2", b"3"]

        go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1
        publisher.publish(b"4", "work", exchange="")
        until(lambda: sum(worker.stats().handled.values()) == 2)

    assert "prefetch=1: messages that were taken in advance wait for handlers" in warned.calls[0]


@pytest.mark.parametrize(("version", "put_back"), [("3.10", 0), ("4.0", 0), ("4.3", 2)])
def test_quorum_queue_gets_back_what_it_has_delivered_from_version_4_3_on(
    taskroute_url: str, version: str, put_back: int
) -> None:
    """Before, that would count as a failed delivery: the prefetch alone is smaller from now on."""
    url = f"{taskroute_url}?rabbitmq={version}"
    go_on, queue = threading.Event(), QueueSpec(name="work")
    topology = Topology(queues=[queue])

    def handle(body: bytes) -> None:
        assert go_on.wait(DEADLINE)

    registry = registry_of(handle, "#", queue=queue)
    with Publisher(url, topology) as publisher:
        for body in (b"1", b"2", b"3"):
            publisher.publish(body, "work", exchange="")

    with (
        looking(url) as peer,
        logged("prefetch_waits queue=work") as warned,
        running(url, topology, registry, threads=1, consumer_timeout=1) as (worker, publisher),
    ):
        warned.wait()
        until(lambda: peer.ready("work") == put_back)

        publisher.publish(b"4", "work", exchange="")
        assert peer.ready("work") == put_back + 1
        go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert sum(worker.stats().handled.values()) == 4
