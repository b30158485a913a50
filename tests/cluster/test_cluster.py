"""A cluster of three nodes: nothing confirmed is lost, and the work goes on, whatever happens to some of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from tests.cluster.trial import trial
from tests.faults.traffic import Traffic
from tests.kit.calls import Calls
from tests.kit.cluster import Cluster
from tests.kit.network import Network
from tests.kit.rabbitmq import Node
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import until

from taskroute import BrokerUnavailableError, HandlerRegistry, Publisher, QueueSpec, Topology, Worker

PAUSE = threading.Event()  # never set: to wait a time that is part of the plan
FROZEN = 20.0
WITHOUT_QUORUM = 45.0
PARTED = 30.0
SILENT = 90.0
"""Seconds after which a worker on a node without a majority no longer takes the silence for idle queues."""

START = 8.0


@pytest.mark.row(52)
@pytest.mark.usefixtures("in_given_order")
def test_leader_is_killed_with_clients_connected_to_it(cluster: Cluster, vhost: str, stopwatch: Stopwatch) -> None:
    first = cluster.nodes[1]
    with trial(cluster, vhost, stopwatch, first=first, cuts=1, gap=10) as run:
        assert run.leader is first

        first.kill()

        run.goes_on()


@pytest.mark.row(53)
@pytest.mark.usefixtures("in_given_order")
def test_leader_is_killed_with_clients_elsewhere(cluster: Cluster, vhost: str, stopwatch: Stopwatch) -> None:
    with trial(cluster, vhost, stopwatch, first=cluster.nodes[1], cuts=0, gap=10) as run:
        cluster.move_leaders(vhost, cluster.nodes[2])

        cluster.nodes[2].kill()

        run.goes_on()


@pytest.mark.row(54)
def test_three_leaders_are_killed_in_turn(cluster: Cluster, vhost: str, stopwatch: Stopwatch) -> None:
    with trial(cluster, vhost, stopwatch, cuts=3, gap=10) as run:
        for _ in range(3):
            leader = run.leader
            leader.kill()
            run.goes_on()
            leader.start()
            cluster.wait_in_sync(vhost)


@pytest.mark.row(55)
def test_every_node_is_restarted_in_turn(cluster: Cluster, vhost: str, stopwatch: Stopwatch) -> None:
    with trial(cluster, vhost, stopwatch, cuts=3, gap=10) as run:
        for node in cluster.nodes:
            node.shut_down()
            run.goes_on()
            node.start()
            cluster.wait_in_sync(vhost)


@pytest.mark.row(56)
@pytest.mark.usefixtures("in_given_order")
def test_leader_is_frozen_for_20_seconds(cluster: Cluster, vhost: str, stopwatch: Stopwatch) -> None:
    first = cluster.nodes[1]
    with trial(cluster, vhost, stopwatch, first=first, cuts=2, gap=15) as run:
        with first.paused():
            PAUSE.wait(FROZEN)

        run.goes_on()


@pytest.mark.row(57)
@pytest.mark.parametrize("handling", ["pause_minority", "ignore"])
def test_quorum_is_lost_for_45_seconds(cluster: Cluster, vhost: str, stopwatch: Stopwatch, handling: str) -> None:
    """From RabbitMQ 4.3 on the node that is left keeps its clients, and a worker there takes the silence for idle."""
    cluster.handle_partitions(handling)
    with trial(cluster, vhost, stopwatch, cuts=4, gap=WITHOUT_QUORUM + 15, untrue_after=SILENT) as run:
        down = cluster.nodes[1:]
        for node in down:
            node.kill()
        PAUSE.wait(WITHOUT_QUORUM)
        cluster.start_again(down)

        run.goes_on()
    cluster.handle_partitions("pause_minority")


@pytest.mark.row(57)
@pytest.mark.parametrize("handling", ["pause_minority", "ignore"])
def test_start_without_quorum_ends_at_its_timeout_and_says_so(
    cluster: Cluster, vhost: str, stopwatch: Stopwatch, handling: str
) -> None:
    """A node without a majority takes no connections, or answers nothing that needs one, by its version."""
    says = "Connection refused|waiting for the broker's answer to "
    cluster.handle_partitions(handling)
    traffic = Traffic()
    with traffic.running(cluster.urls(vhost)):
        pass  # which has declared the queue
    down = cluster.nodes[1:]
    for node in down:
        node.kill()
    worker = traffic.worker(cluster.urls(vhost))

    with stopwatch.timed(START, f"start(timeout={START:g}) raises"), pytest.raises(BrokerUnavailableError, match=says):
        worker.start(START)

    cluster.start_again(down)
    cluster.handle_partitions("pause_minority")
    with traffic.running(cluster.urls(vhost)), traffic.publishing(cluster.urls(vhost)):
        assert traffic.done(10)(60)


def says_that_it_waits_for(queue: str, worker: Worker) -> bool:
    """Whether that is what a worker says, and nothing else."""
    reasons = worker.health().reasons
    return len(reasons) == 1 and reasons[0].startswith(f"not consuming {queue}: queue {queue!r}")


@pytest.mark.row(59)
@pytest.mark.parametrize("end", [Node.shut_down, Node.kill])
def test_home_node_of_a_classic_queue_is_down(
    cluster: Cluster, vhost: str, stopwatch: Stopwatch, end: Callable[[Node], None]
) -> None:
    """What is in it waits there; a worker that runs and one that starts handle their quorum queues throughout.

    From its version 4 on RabbitMQ answers nothing about the queue for more than a minute if the node was killed.
    """
    home, other = cluster.nodes[2], cluster.nodes[0]
    old, kept = (QueueSpec(name=name, type="classic", retry=False, dead_letter=False) for name in ("old", "kept"))
    beside = QueueSpec(name="beside", retry=False, dead_letter=False)
    topology = Topology(queues=[old, kept, beside])
    seen, registry = Calls(), HandlerRegistry()

    def handle(body: bytes) -> None:
        seen(body)

    for queue in topology.queues:
        registry.add("#", handle, queue=queue)

    def worker(classic: QueueSpec) -> Worker:
        return Worker(other.url(vhost), topology, registry, queues=[classic, beside])

    with Publisher(home.url(vhost), topology) as publisher:
        publisher.publish(b"1", "old", exchange="")
    with trial(cluster, vhost, stopwatch, cuts=1, gap=10) as run, worker(kept) as running:
        end(home)
        until(lambda: "kept" not in running.health().consuming)
        with worker(old) as starting, Publisher(other.url(vhost), Topology()) as publisher:
            for one, name in ((running, "kept"), (starting, "old")):
                until(partial(says_that_it_waits_for, name, one))
            run.goes_on()
            publisher.publish(b"2", "beside", exchange="")
            seen.wait_for(b"2")

            home.start()
            publisher.publish(b"3", "kept", exchange="")
            seen.wait_for(b"1")
            seen.wait_for(b"3")
            until(lambda: running.health().ready and starting.health().ready)
            assert running.stats().connections == starting.stats().connections == 1


@pytest.mark.row(63)
def test_node_that_has_lost_its_disk_is_replaced(cluster: Cluster, vhost: str, stopwatch: Stopwatch) -> None:
    with trial(cluster, vhost, stopwatch, cuts=1, gap=10) as run:
        lost = run.leader
        lost.kill()
        run.goes_on()

        cluster.replace(lost, vhost)
        cluster.wait_in_sync(vhost)

        run.goes_on()
        assert len(cluster.members(vhost, "work")) == 3


@pytest.mark.row(58)
@pytest.mark.usefixtures("in_given_order")
def test_node_is_parted_from_the_others(cluster: Cluster, cuttable: Network, vhost: str, stopwatch: Stopwatch) -> None:
    """Clients are connected to it, and still reach it. A worker there takes a minute of silence for an idle queue."""
    first = cluster.nodes[1]
    with trial(cluster, vhost, stopwatch, first=first, cuts=3, gap=90, untrue_after=SILENT) as run:
        with cuttable.parted(1):
            PAUSE.wait(PARTED)
            began = time.monotonic()
            run.goes_on()
            stopwatch.note(f"went on {time.monotonic() - began + PARTED:.1f} s after the partition began")

        run.goes_on()
