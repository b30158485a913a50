"""Which dead-letter queues may be looked into, by their spec or as the management API describes them."""

from __future__ import annotations

from typing import Any

import pytest

from taskroute import QueueSpec, Topology, UnknownQueueError
from taskroute.operate.dead_letters.capacity import Capacity, capacity_of
from taskroute.operate.dead_letters.lookable import (
    dead_letter_queues,
    of_queue,
    problem_of_observed,
    problem_of_spec,
)
from taskroute.operate.observed import ObservedQueue


def observed(kind: str | None, arguments: Any, policy: Any) -> ObservedQueue:
    unknown = dict.fromkeys(
        (
            "exclusive",
            "policy",
            "operator_policy",
            "messages",
            "ready",
            "unacknowledged",
            "consumers",
            "consumer_details",
        )
    )
    return ObservedQueue(
        name="q", type=kind, durable=True, auto_delete=False, arguments=arguments, policy_definition=policy, **unknown
    )


@pytest.mark.parametrize(
    ("kind", "arguments", "policy", "problem"),
    [
        ("classic", {}, {}, None),
        ("classic", {}, None, None),
        ("quorum", {"x-delivery-limit": 1_000_000}, {}, None),
        ("quorum", {"x-delivery-limit": -1}, {}, None),
        ("quorum", {"x-delivery-limit": 2**31 - 1}, {"delivery-limit": 5}, "its delivery limit is 5,"),
        ("quorum", {"x-delivery-limit": 20}, {"delivery-limit": 2_000_000}, "its delivery limit is 20,"),
        ("quorum", {}, {"delivery-limit": 2_000_000}, None),
        ("quorum", {}, {}, "no delivery limit of its own"),
        ("quorum", {"x-delivery-limit": True}, {}, "no delivery limit of its own"),
        ("quorum", {"x-delivery-limit": 2**31 - 1}, None, "does not say yet"),
        (None, {}, {}, "does not say yet"),
        ("stream", {}, {}, "it is a stream"),
    ],
)
def test_queue_is_looked_into_by_the_limit_that_is_in_effect(
    kind: str | None, arguments: Any, policy: Any, problem: str | None
) -> None:
    """A policy can lower what its declaration says, and nothing that is not known is taken for harmless."""
    told = problem_of_observed(observed(kind, arguments, policy))

    assert (told is None) == (problem is None)
    assert (problem or "") in (told or "")


def test_queue_of_somebody_else_is_not_known_by_its_spec() -> None:
    assert "somebody else owns it" in str(problem_of_spec(QueueSpec(name="q", passive=True)))
    assert problem_of_spec(QueueSpec(name="q", delivery_limit=1_000_000)) is None


def test_shared_dead_letter_queue_is_looked_into_once() -> None:
    shared = QueueSpec(name="shared", retry=False, dead_letter=False)
    queues = [shared, *(QueueSpec(name=name, dead_letter=shared) for name in "ab"), QueueSpec(name="c")]

    assert [each.name for each in dead_letter_queues(Topology(queues=queues))] == ["shared", "c.dead"]


@pytest.mark.parametrize(
    ("arguments", "policy", "capacity"),
    [
        ({}, {}, None),
        ({"x-max-length": 5}, {}, Capacity(5, None)),
        ({"x-max-length": 5}, {"max-length": 3, "max-length-bytes": 9}, Capacity(3, 9)),
        ({"x-max-length": 5, "x-overflow": "reject-publish"}, {}, None),
        ({"x-max-length": 5}, {"overflow": "reject-publish"}, None),
        ({"x-max-length": 5, "x-overflow": "reject-publish-dlx"}, {}, Capacity(5, None)),
    ],
)
def test_queue_has_room_as_its_arguments_and_policy_say(arguments: Any, policy: Any, capacity: Any) -> None:
    assert capacity_of(arguments, policy) == capacity


def test_dead_letter_queue_of_a_retired_queue_is_found_by_either_name() -> None:
    topology = Topology(queues=[QueueSpec(name="new", replaces="old")], retired=["gone"])

    for name in ("old", "gone", "new"):
        assert [each.name for each in of_queue(topology, name)] == [f"{name}.dead"]
        assert [each.name for each in of_queue(topology, f"{name}.dead")] == [f"{name}.dead"]
    with pytest.raises(UnknownQueueError):
        of_queue(topology, "other.dead")
