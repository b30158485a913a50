"""Ways: from an exchange, or as an event, to queues. What is worked out once is kept. Not synchronized."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from taskroute.graph.reachability import Flow, Flows, find_missed, literal
from taskroute.keys.automaton import Tokens
from taskroute.keys.matcher import Matcher
from taskroute.keys.pattern import RoutingPattern
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

BUDGET: Final = 20_000
"""How many states the search for one witness may expand."""

_WITH_A_WORD: Final[Tokens] = RoutingPattern("*.#").tokens


def find_key(flows: Iterable[Flow], within: Iterable[Tokens] = ()) -> str | None:
    """Return a key that takes one of these flows and matches the patterns `within`, None when there is none.

    The empty key is returned only where no other one does: it looks like a mistake.

    Raises:
        BudgetExceededError: too hard to decide.
    """
    patterns = tuple(within)
    empty = None
    for flow in flows:
        key = flow.witness(patterns, BUDGET)
        if key == "":
            empty, key = key, flow.witness((*patterns, _WITH_A_WORD), BUDGET)
        if key is not None:
            return key
    return empty


class Way(NamedTuple):
    """A queue, and by which keys messages get there."""

    queue: str
    flow: Flow


class Ways:
    """The ways of a topology, in an order that does not depend on hashes.

    Methods raise `BudgetExceededError` for what is too hard to decide.

    Args:
        topology: whose.
        headers: whether messages may have headers, see `Flows`.
    """

    def __init__(self, topology: Topology, *, headers: bool = True) -> None:
        self._topology = topology
        self._flows = Flows(topology, headers=headers)
        self._into: dict[str, tuple[Flow, ...]] = {}
        self._from: dict[str, Matcher[Way]] = {}
        self._of: dict[EventSpec[Any], tuple[Way, ...]] = {}

    def into(self, queue: QueueSpec) -> tuple[Flow, ...]:
        """Return the flows into a queue through its bindings."""
        known = self._into.get(queue.name)
        if known is None:
            flows = self._flows.into(queue)
            known = self._into[queue.name] = tuple(sorted(flows, key=lambda flow: flow.sort_key))
        return known

    def beyond(self, exchange: ExchangeSpec) -> Iterable[Flow]:
        """Return the flows from an exchange to any queue."""
        return (flow for flows in self._flows.beyond(exchange).values() for flow in flows)

    def sharing(self, exchange: str, binding_key: str) -> list[Way]:
        """Return the ways from an exchange that may share a key with a binding key."""
        known = self._from.get(exchange)
        if known is None:
            known = self._from[exchange] = self._all_from(exchange)
        return sorted(known.overlapping(binding_key), key=lambda way: (way.queue, way.flow.sort_key))

    def of(self, event: EventSpec[Any]) -> tuple[Way, ...]:
        """Return the ways that keys of an event take."""
        known = self._of.get(event)
        if known is None:
            pattern = event.pattern
            near = self.sharing(str(event.exchange), pattern.binding_key)
            taken = (way for way in near if find_key([way.flow], [pattern.tokens]) is not None)
            known = self._of[event] = tuple(taken)
        return known

    def missed(self, event: EventSpec[Any]) -> str | None:
        """Return a key of an event that reaches no queue, None when there is none."""
        return find_missed(event.pattern.tokens, [way.flow for way in self.of(event)], BUDGET)

    def _all_from(self, exchange: str) -> Matcher[Way]:
        ways: Matcher[Way] = Matcher()
        if exchange == "":
            for queue in self._topology.all_queues:
                ways.add(queue.name, Way(queue.name, by_name(queue.name)))
            return ways
        for name, flows in self._flows.beyond(self._topology.exchange(exchange)).items():
            for flow in flows:
                ways.add(".".join(min(flow.inside)), Way(name, flow))
        return ways


def by_name(queue: str) -> Flow:
    """Return the flow through the default exchange, which feeds every queue by its name."""
    return Flow(frozenset({literal(queue)}))
