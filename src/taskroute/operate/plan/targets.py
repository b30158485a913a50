"""Targets: one or several topologies as one, and what of a broker is theirs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final, Self

from taskroute.operate.observed import Observed, ObservedQueue
from taskroute.topology.digest import topology_digest
from taskroute.topology.queue import DEAD_SUFFIX, NO_DELIVERY_LIMIT, QueueSpec
from taskroute.topology.queue_rules import QueueType
from taskroute.topology.topology import Topology

_WAIT_QUEUE: Final = re.compile(r"(?P<served>.+)\.retry\.(?P<delay>[1-9][0-9]{0,14}|0)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Targets:
    """What several targets declare together.

    Attributes:
        topology: merged.
        digests: of each target, and of all together: their workers are expected.
    """

    topology: Topology
    digests: frozenset[str]

    @classmethod
    def of(cls, topologies: Iterable[Topology]) -> Self:
        """Merge topologies.

        Raises:
            TopologyError: they do not fit together.
        """
        topologies = tuple(topologies)
        merged = reduce(or_, topologies)
        return cls(merged, frozenset(map(topology_digest, (*topologies, merged))))

    @property
    def queue_names(self) -> frozenset[str]:
        """The queues that are declared, with those that serve them, and those that are retired."""
        return frozenset(queue.name for queue in self.topology.all_queues) | self.topology.retired_names

    def may_be_ours(self, name: str) -> bool:
        """Return whether a queue that is not declared has the name of one that serves ours, or served it."""
        return name not in self.queue_names and _served(name) in self._served_names

    def stale_helpers(self, observed: Observed) -> dict[str, str]:
        """Return the queues that served ours and do so no more, each with the name of the queue that it served.

        Name and arguments are those that we would give: anything else is somebody's own.
        """
        helpers = {}
        for name, queue in observed.queues.items():
            served = _served(name)
            if served is not None and self.may_be_ours(name) and is_a_helper(queue, served):
                helpers[name] = served
        return helpers

    @property
    def _served_names(self) -> frozenset[str]:
        """The queues whose helpers are ours. Those of a queue that somebody else owns may be its owner's."""
        passive = {queue.name for queue in self.topology.queues if queue.passive}
        helpers = {helper.name for queue in self.topology.queues for helper in queue.helper_queues()}
        return self.queue_names - helpers - passive


def is_a_helper(queue: ObservedQueue, served: str) -> bool:
    """Return whether a queue is as we declare those that serve another one."""
    spec = _helper_spec(queue, served)
    if spec is None or (queue.durable, queue.auto_delete, bool(queue.exclusive)) != (True, False, False):
        return False
    return {**queue.arguments, "x-queue-type": queue.type} == dict(spec.broker_arguments)


def is_wait_queue_of(name: str, served: str) -> bool:
    """Return whether a name is that of a queue whose messages come back to another one."""
    wait = _WAIT_QUEUE.fullmatch(name)
    return wait is not None and wait["served"] == served


def _served(name: str) -> str | None:
    if (wait := _WAIT_QUEUE.fullmatch(name)) is not None:
        return wait["served"]
    return name.removesuffix(DEAD_SUFFIX) if name.endswith(DEAD_SUFFIX) else None


def _helper_spec(queue: ObservedQueue, served: str) -> QueueSpec | None:
    if queue.type not in ("quorum", "classic"):
        return None
    kind: QueueType = "quorum" if queue.type == "quorum" else "classic"
    if (wait := _WAIT_QUEUE.fullmatch(queue.name)) is not None:
        return QueueSpec(
            name=queue.name, type=kind, message_ttl=int(wait["delay"]) / 1000, retry=False, dead_letter=served
        )
    limit = NO_DELIVERY_LIMIT if kind == "quorum" else None
    return QueueSpec(name=queue.name, type=kind, retry=False, dead_letter=False, delivery_limit=limit)
