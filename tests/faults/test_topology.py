"""A broker whose queues and exchanges differ from the topology, or that refuses to declare them."""

from __future__ import annotations

import pytest
from tests.faults.site import Site
from tests.faults.traffic import Traffic, jobs, work
from tests.kit.peer import looking
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE

from taskroute import Publisher, QueueSpec, Topology, TopologyError, TopologyMismatchError, Worker


@pytest.mark.row(36)
@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("x-dead-letter-exchange", QueueSpec(name="work", type="classic")),
        ("durable", QueueSpec(name="work", durable=False)),
        ("x-max-length", work.model_copy(update={"max_length": 5})),
        ("x-delivery-limit", work.model_copy(update={"delivery_limit": 7})),
    ],
)
def test_queue_with_other_arguments_is_refused_and_left_alone(field: str, other: QueueSpec, site: Site) -> None:
    """The error names queue and field; nothing is deleted, and nothing consumed."""
    with looking(site.url) as peer:
        peer.channel.queue_declare(
            "work", durable=other.durable, auto_delete=False, arguments=dict(other.broker_arguments)
        )
        peer.publish(b"keep", "work")

        worker = Traffic().worker(site.url)
        with pytest.raises(TopologyMismatchError, match=f"queue 'work'.*{field}"):
            worker.start()
        with (
            pytest.raises(TopologyMismatchError, match=f"queue 'work'.*{field}"),
            Publisher(site.url, Traffic().topology),
        ):
            pass

        assert peer.ready("work") == 1
        assert site.table("list_consumers", "queue_name") == []


@pytest.mark.row(36)
def test_exchange_of_another_type_is_refused(site: Site) -> None:
    with looking(site.url) as peer:
        peer.exchange("jobs", "direct")

    with pytest.raises(TopologyMismatchError, match=r"exchange 'jobs'.*type"):
        Traffic().worker(site.url).start()


@pytest.mark.row(37)
def test_missing_or_forbidden_dead_letter_queue_fails_the_start(site: Site) -> None:
    """The error says what to create, which right to grant or what the topology lacks."""
    with Publisher(site.url, Traffic().topology):
        pass

    site.ctl("delete_queue", "work.dead")
    with pytest.raises(TopologyMismatchError, match=r"queue 'work\.dead'.*create it first"):
        Traffic().worker(site.limited_url, declare="verify").start()
    with pytest.raises(TopologyMismatchError, match="grant the right"):
        Traffic().worker(site.limited_url).start()

    lonely = QueueSpec(name="work", bindings=[jobs.bind("#")], dead_letter="elsewhere")
    registry = registry_of(lambda body: None, "#", queue=lonely)
    with pytest.raises(TopologyError, match="the topology has no queue 'elsewhere'"):
        Worker(site.url, Topology(exchanges=[jobs], queues=[lonely]), registry)


@pytest.mark.row(37)
def test_wait_and_dead_letter_queues_are_declared_with_their_queue(site: Site) -> None:
    with Publisher(site.url, Traffic().topology):
        names = {name for (name,) in site.table("list_queues", "name")}

    assert names == {"work", "work.retry.200", "work.dead"}


@pytest.mark.row(38)
def test_odd_routing_key_that_the_topology_routes_is_handled(site: Site) -> None:
    """The pairs by the thousand are in the conformance suite; here the message is also handled."""
    traffic = Traffic()
    keys = ["a", "a.b", "", ".", "a..b", "#", "*", "x" * 255]

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        for key in keys:
            assert traffic.topology.route(key, exchange=jobs)
            publisher.publish(b'{"id": "0"}', key, exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().retried == {"work": len(keys)}  # the body is not one of the traffic's
