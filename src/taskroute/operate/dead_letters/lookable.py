"""Lookable: which dead-letter queues may be looked into. Pure.

A look takes letters and puts them back. A classic queue counts nothing of it. To a quorum queue each look is a
delivery, and a message that reaches its delivery limit is destroyed: so the limit must be known, and far away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from taskroute.operate.observed import ObservedQueue
from taskroute.topology.queue import DEFAULT_DELIVERY_LIMIT, QueueSpec
from taskroute.topology.topology import Topology

SAFE_DELIVERY_LIMIT: Final = 1_000_000
"""The lowest delivery limit of a quorum queue that is looked into."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dead-letter queue, and what it may have been declared as. `may_be_gone`: it is that of a retired queue."""

    name: str
    specs: tuple[QueueSpec, ...]
    may_be_gone: bool = False


def dead_letter_queues(topology: Topology) -> tuple[Candidate, ...]:
    """Return where dead letters of a topology go, or went before its queues were retired, each once."""
    named = (queue.dead_letter_queue for queue in topology.queues)
    own = {name: Candidate(name, (topology.queue(name),)) for name in named if name is not None}
    retired = {each.name: each for name in sorted(topology.retired_names) for each in _of_retired(topology, name)}
    return tuple((retired | own).values())


def of_queue(topology: Topology, name: str) -> tuple[Candidate, ...]:
    """Return the dead-letter queue of a queue, or the one that has this name.

    Raises:
        UnknownQueueError: the topology has none of that name.
    """
    every = dead_letter_queues(topology)
    if name in topology.retired_names:
        names = {name, *(each.name for each in _of_retired(topology, name))}
    elif name in {each.name for each in every if each.may_be_gone}:
        names = {name}
    else:
        names = {name, str(topology.queue(name).dead_letter_queue)}
    return tuple(each for each in every if each.name in names)


def _of_retired(topology: Topology, name: str) -> Iterator[Candidate]:
    """Yield the dead-letter queue that came with a retired queue, of which no more may be known than its name."""
    known = [spec for spec in topology.retired if isinstance(spec, QueueSpec) and spec.name == name]
    specs = known or [QueueSpec(name=name), QueueSpec(name=name, type="classic")]
    helpers = [each for spec in specs for each in spec.helper_queues() if each.name == spec.dead_letter_queue]
    if helpers:
        yield Candidate(helpers[0].name, tuple(helpers), may_be_gone=True)


def problem_of_spec(queue: QueueSpec) -> str | None:
    """Return why a queue that is as its spec says may not be looked into, None if it may."""
    if queue.passive:
        return "somebody else owns it, so that its delivery limit is not known; ask the management API for it (--api)"
    return _problem(queue.queue_type, queue.delivery_limit or DEFAULT_DELIVERY_LIMIT)


def problem_of_observed(queue: ObservedQueue) -> str | None:
    """Return the same of a queue as the broker has it, policies included."""
    if queue.type is None or (queue.type == "quorum" and queue.policy_definition is None):
        return "the management API does not say yet what policies make of it: ask again in some seconds"
    policy = queue.policy_definition or {}
    limits = list(_limits(queue.arguments.get("x-delivery-limit"), policy.get("delivery-limit")))
    return _problem(queue.type, min(limits, default=None))


def _limits(*values: object) -> Iterator[int]:
    """Yield the limits among values, of which the lowest counts. One below 0 is none."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool):
            yield value if value >= 0 else SAFE_DELIVERY_LIMIT


def _problem(kind: str, limit: int | None) -> str | None:
    if kind == "classic":
        return None
    if kind != "quorum":
        return f"it is a {kind}, whose messages cannot be put back"
    if limit is None:
        return "it has no delivery limit of its own, and the broker's may destroy letters: give it one of 1,000,000"
    if limit < SAFE_DELIVERY_LIMIT:
        return (
            f"its delivery limit is {limit:,}, each look counts as a delivery, and the letter that reaches it is "
            "destroyed: give it one of 1,000,000"
        )
    return None
