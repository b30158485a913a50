"""Looking: what the management API says of queues, with what AMQP counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from tests.kit.dead import declare
from tests.kit.peer import Peer, looking

from taskroute import QueueSpec, Topology
from taskroute.broker.url import parse_urls
from taskroute.operate.observed import ObservedQueue
from taskroute.operate.plan.compare import compare
from taskroute.operate.plan.looking import ApiLooking
from taskroute.operate.plan.targets import Targets
from taskroute.topology.digest import topology_digest

orders = QueueSpec(name="orders", type="classic", retry=False, dead_letter=False)
declared = Topology(queues=[orders])
targets = Targets.of([Topology(retired=["orders"])])
CONSUMER = {"consumer_tag": "a", "arguments": {"x-taskroute-topology": topology_digest(declared)}}


class Api:
    """A management API that says `facts` of the one queue there is."""

    def __init__(self, **facts: Any) -> None:
        basics = {"name": "orders", "type": "classic", "durable": True, "auto_delete": False, "arguments": {}}
        self.facts = {**basics, "exclusive": False, **facts}

    def queue(self, _: str, name: str) -> Any:
        return self.facts if name == "orders" else None

    def each(self, *_: str, **__: Any) -> Iterator[Any]:
        yield self.facts

    def get(self, *path: str, **_: Any) -> Any:
        return [] if "bindings" in path else {"name": path[-1]}


@pytest.fixture
def peer(taskroute_url: str) -> Iterator[Peer]:
    declare(taskroute_url, declared)
    with looking(taskroute_url) as peer:
        yield peer


def looked_at(url: str, **facts: Any) -> tuple[ObservedQueue, list[str]]:
    """Return the queue when it is to be deleted, and why it must not be."""
    there = ApiLooking(cast("Any", Api(**facts)), parse_urls(url), targets, lambda _: None)
    (step,) = compare(targets, there.at_all()[0]).steps
    observed = there.at([step])
    return observed.queues["orders"], list(step.obstacles(observed))


def test_count_that_the_api_does_not_say_is_not_that_of_amqp(taskroute_url: str, peer: Peer) -> None:
    """AMQP counts what is ready, and nothing of what is unacknowledged."""
    queue, obstacles = looked_at(taskroute_url, consumers=0, consumer_details=[])

    assert queue.messages is None
    assert obstacles == ["it is not known whether 'orders' is empty: the broker does not say it yet"]


def test_unacknowledged_message_is_one(taskroute_url: str, peer: Peer) -> None:
    _, obstacles = looked_at(taskroute_url, messages=1, messages_ready=0, messages_unacknowledged=1, consumers=0)

    assert obstacles == ["'orders' has 1 messages"]


def test_amqp_is_believed_where_it_counts_more_than_the_api(taskroute_url: str, peer: Peer) -> None:
    peer.publish(b"1", "orders")
    peer.publish(b"2", "orders")

    queue, obstacles = looked_at(taskroute_url, messages=0, consumers=0)

    assert (queue.messages, obstacles) == (2, ["'orders' has 2 messages"])


def test_consumer_that_the_api_does_not_see_yet_is_somebody(taskroute_url: str, peer: Peer) -> None:
    peer.consume("orders")

    queue, obstacles = looked_at(taskroute_url, messages=0, consumers=0, consumer_details=[])

    assert (queue.consumers, queue.consumer_details) == (1, None)
    assert obstacles == ["'orders' is consumed (1 consumers)"]


def test_consumer_that_the_api_sees_still_is_nobody(taskroute_url: str, peer: Peer) -> None:
    queue, obstacles = looked_at(taskroute_url, messages=0, consumers=1, consumer_details=[CONSUMER])

    assert (queue.consumers, queue.consumer_details, obstacles) == (0, (), [])
