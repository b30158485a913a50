"""A user who may not look at some queues and exchanges: what cannot be seen is not missing, and nobody is lost."""

from __future__ import annotations

import pytest
from tests.kit.calls import Calls, logged
from tests.kit.embedded import hidden
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE

from taskroute import ExchangeSpec, Message, Publisher, QueueSpec, RetryPolicy, Topology, TopologyMismatchError, Worker

media = ExchangeSpec(name="media")
work = QueueSpec(name="work", bindings=[media.bind("#")], retry=RetryPolicy(delays=(0.01,)))
topology = Topology(exchanges=[media], queues=[work])


@pytest.fixture
def url(taskroute_url: str) -> str:
    """A broker that has everything."""
    with Publisher(taskroute_url, topology):
        return taskroute_url


def test_verify_goes_on_without_a_look_at_helper_queues(url: str) -> None:
    """They are named, and retries and dead letters find them all the same."""
    attempts = Calls()

    def fail(message: Message) -> None:
        attempts(message.attempt)
        raise RuntimeError("as planned")

    with (
        hidden("work.retry.10", "work.dead", "media"),
        logged("cannot_look subject=queue 'work.dead'") as unseen,
        running(url, topology, registry_of(fail, "#", queue=work), declare="verify") as (worker, publisher),
    ):
        publisher.publish(b"1", "a", exchange=media)
        with looking(url) as peer:
            peer.receive("work.dead", 1)
        assert worker.wait_idle(DEADLINE)
        health = worker.health()

    assert attempts.calls == [1, 2]
    assert health.ready
    assert [warning.partition(":")[0] for warning in health.warnings] == [
        f"this user may not look at {subject}"
        for subject in ("exchange 'media'", "queue 'work.retry.10'", "queue 'work.dead'")
    ]
    assert len(unseen.calls) == 2  # the publisher's is the other one


def test_queue_that_is_missing_is_still_told_from_a_hidden_one(taskroute_url: str) -> None:
    with (
        hidden("work.dead"),
        pytest.raises(TopologyMismatchError, match=r"exchange 'media'.*create it first"),
        Worker(taskroute_url, topology, registry_of(lambda: None, "#", queue=work), declare="verify"),
    ):
        pass


def test_depths_leave_hidden_queues_out_and_the_connection_alone(url: str) -> None:
    with Worker(url, topology, registry_of(lambda: None, "#", queue=work), declare="skip") as worker:
        with hidden("work.dead"):
            assert worker.depths(["work", "work.dead"]) == {"work": 0}

        assert worker.depths() == {"work.dead": 0}
        assert worker.stats().connections == 1


def test_denied_probe_is_no_lost_consumer_and_hides_no_other_one(url: str) -> None:
    """One queue is hidden; the consumer of the other one is forgotten by the broker, and missed."""
    other = QueueSpec(name="other", type="classic", retry=False, dead_letter=False)
    both = Topology(exchanges=[media], queues=[work, other])
    registry = registry_of(lambda: None, "#", queue=work)
    registry.add("#", lambda: None, queue=other)

    with Worker(url, both, registry) as worker, hidden("work"), logged("cannot_look subject=queue 'work'") as unseen:
        inside = InsideWorker(worker)
        inside.probe()
        inside.cancel_unnoticed("other")
        inside.probe()
        stats, health = worker.stats(), worker.health()

    assert stats.missed_consumers == 1
    assert "work" in health.consuming
    assert health.warnings == (
        "this user may not look at queue 'work': a consumer that the broker forgets would not be missed",
    )
    assert len(unseen.calls) == 1
