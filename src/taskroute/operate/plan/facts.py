"""Facts: what a step rests on, which is looked at again right before the step is done. Pure.

What a broker does not say is no fact: a count that is not known is not 0, and consumers that are not told may be
anybody's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from taskroute.operate.observed import DestinationType, Observed, ObservedConsumer, ObservedQueue
from taskroute.operate.plan.binding_id import BindingId
from taskroute.topology.digest import TOPOLOGY_ARGUMENT

_SHOWN: Final = 12
"""Characters of a digest that people tell digests by."""


class Fact(Protocol):
    """Something that holds of what was observed, or does not."""

    @property
    def about(self) -> tuple[DestinationType, str]:
        """The queue or exchange to look at."""

    def why_not(self, observed: Observed) -> str | None:
        """Return why it does not hold, None if it does."""


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no queue or exchange of a name."""

    kind: DestinationType
    name: str

    @property
    def about(self) -> tuple[DestinationType, str]:
        """Both."""
        return self.kind, self.name

    def why_not(self, observed: Observed) -> str | None:
        """Return that it is there, if it is."""
        there = observed.queues if self.kind == "queue" else observed.exchanges
        return f"{self.kind} {self.name!r} is there now" if self.name in there else None


@dataclass(frozen=True, slots=True)
class _OfBinding:
    binding: BindingId

    @property
    def about(self) -> tuple[DestinationType, str]:
        """What is bound."""
        return self.binding.destination_type, self.binding.destination


@dataclass(frozen=True, slots=True)
class Bound(_OfBinding):
    """A binding is there."""

    def why_not(self, observed: Observed) -> str | None:
        """Return that it is not."""
        is_there = self.binding in map(BindingId.observed, observed.bindings)
        return None if is_there else f"the binding {self.binding} is not there"


@dataclass(frozen=True, slots=True)
class NotBound(_OfBinding):
    """A binding is not there."""

    def why_not(self, observed: Observed) -> str | None:
        """Return that it is."""
        return f"the binding {self.binding} is there now" if Bound(self.binding).why_not(observed) is None else None


@dataclass(frozen=True, slots=True)
class _OfQueue:
    queue: str

    @property
    def about(self) -> tuple[DestinationType, str]:
        """The queue."""
        return "queue", self.queue


@dataclass(frozen=True, slots=True)
class OnlyKnownConsumers(_OfQueue):
    """Whoever consumes a queue runs one of some topologies. `digests`: of these."""

    digests: frozenset[str]

    def why_not(self, observed: Observed) -> str | None:
        """Return who else does, or that it is not known."""
        queue = observed.queues.get(self.queue)
        if queue is None or queue.consumers == 0:
            return None
        if queue.consumer_details is None:
            return f"it is not known who consumes {self.queue!r}: the broker does not say it yet"
        others = [each for each in queue.consumer_details if each.arguments.get(TOPOLOGY_ARGUMENT) not in self.digests]
        return f"{self.queue!r} is consumed by {_who(others)}" if others else None


@dataclass(frozen=True, slots=True)
class Unbound(_OfQueue):
    """No binding leads to a queue."""

    def why_not(self, observed: Observed) -> str | None:
        """Return one that does."""
        bound = [
            each for each in observed.bindings if (each.destination_type, each.destination) == ("queue", self.queue)
        ]
        return f"{self.queue!r} is bound: {BindingId.observed(bound[0])}" if bound else None


@dataclass(frozen=True, slots=True)
class Unconsumed(_OfQueue):
    """Nobody consumes a queue."""

    def why_not(self, observed: Observed) -> str | None:
        """Return how many do, or that it is not known."""
        queue = observed.queues.get(self.queue)
        if queue is None or queue.consumers == 0:
            return None
        if queue.consumers is None:
            return f"it is not known whether {self.queue!r} is consumed: the broker does not say it yet"
        return f"{self.queue!r} is consumed ({queue.consumers} consumers)"


@dataclass(frozen=True, slots=True)
class Empty(_OfQueue):
    """There is no message in a queue, those that are unacknowledged included."""

    def why_not(self, observed: Observed) -> str | None:
        """Return how many there are, or that it is not known."""
        queue = observed.queues.get(self.queue)
        if queue is None or queue.messages == 0:
            return None
        if queue.messages is None:
            return f"it is not known whether {self.queue!r} is empty: the broker does not say it yet"
        return f"{self.queue!r} has {queue.messages} messages"


@dataclass(frozen=True, slots=True)
class NotDeadLettering(_OfQueue):
    """The broker puts nothing from a queue into another one. `into`: the name of that one."""

    into: str

    def why_not(self, observed: Observed) -> str | None:
        """Return that it does."""
        queue = observed.queues.get(self.queue)
        if queue is None:
            return None
        told = {queue.arguments.get("x-dead-letter-routing-key")}
        told.add((queue.policy_definition or {}).get("dead-letter-routing-key"))
        return f"the broker dead-letters from {self.queue!r} into {self.into!r}" if self.into in told else None


@dataclass(frozen=True, slots=True)
class Unchanged(_OfQueue):
    """A queue is still of the type and with the arguments that were read."""

    type: str | None
    arguments: Mapping[str, Any]

    def why_not(self, observed: Observed) -> str | None:
        """Return that it is another one."""
        queue = observed.queues.get(self.queue)
        is_other = queue is not None and (queue.type, dict(queue.arguments)) != (self.type, dict(self.arguments))
        return f"{self.queue!r} is another queue by now" if is_other else None


@dataclass(frozen=True, slots=True)
class NoStream(_OfQueue):
    """A queue is no stream: what it has was read by nobody knows whom, and is read again."""

    def why_not(self, observed: Observed) -> str | None:
        """Return that it is one, or that it is not known."""
        queue: ObservedQueue | None = observed.queues.get(self.queue)
        if queue is None or queue.type in ("classic", "quorum"):
            return None
        return f"{self.queue!r} is a {queue.type or 'queue of unknown type'}, which is never deleted here"


def _who(consumers: Iterable[ObservedConsumer]) -> str:
    digests = {str(each.arguments.get(TOPOLOGY_ARGUMENT, ""))[:_SHOWN] for each in consumers}
    known = sorted(digest for digest in digests if digest)
    told = [f"workers of another topology ({', '.join(known)})"] if known else []
    told += ["somebody who names no topology"] if "" in digests else []
    return f"{' and '.join(told)}{'; deploy this version everywhere first' if known else ''}"
