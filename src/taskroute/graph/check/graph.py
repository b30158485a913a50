"""Graph: a topology and its handlers together, as the checks ask about them. Made for one check. Not synchronized."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskroute.graph.check.ways import Ways, by_name, find_key
from taskroute.handlers.handler import Handler, Tier, tier_of
from taskroute.keys.matcher import Matcher
from taskroute.topology.broker_facts import BrokerFacts
from taskroute.topology.topology import Topology


class Graph:
    """A topology and its handlers.

    Attributes:
        ways: of messages that may have headers; `ways_without_headers`: of those that have none.
        named: the queues that a handler or fallback names.
        broker: on which it is to be declared, None if that is not known.
    """

    def __init__(self, topology: Topology, handlers: tuple[Handler, ...], broker: BrokerFacts | None = None) -> None:
        self.topology = topology
        self.handlers = handlers
        self.broker = broker
        self.ways = Ways(topology)
        self.ways_without_headers = Ways(topology, headers=False)
        self.queues = {queue.name: queue for queue in topology.all_queues}
        self.named = {handler.queue for handler in handlers if handler.queue is not None}
        self._tiers: dict[Tier, list[Handler]] = {}
        self._matchers: dict[Tier, Matcher[Handler]] = {}
        for handler in handlers:
            tier = tier_of(handler)
            self._tiers.setdefault(tier, []).append(handler)
            self._matchers.setdefault(tier, Matcher()).add(handler.pattern.binding_key, handler)

    @property
    def for_any_queue(self) -> Sequence[Handler]:
        """The handlers for any queue, without fallbacks."""
        return self._tiers.get((None, False), ())

    def fallbacks(self, queue: str) -> Sequence[Handler]:
        """Return the fallbacks of a queue: its own, or those for any queue."""
        return self._tiers.get((queue, True), ()) or self._tiers.get((None, True), ())

    def queues_of(self, handler: Handler) -> list[str]:
        """Return the queues that a handler may run for."""
        return [handler.queue] if handler.queue is not None else [queue.name for queue in self.topology.queues]

    def sharing(self, queue: str, binding_key: str) -> list[Handler]:
        """Return the handlers of a queue, those for any queue included, that may share a key with a binding key."""
        return [*self._overlapping(queue, binding_key), *self._overlapping(None, binding_key)]

    def takers(self, queue: str, binding_key: str) -> list[Handler]:
        """Return the same and the queue's fallbacks."""
        return [*self.sharing(queue, binding_key), *self.fallbacks(queue)]

    def winners(self, handler: Handler, queue: str) -> list[Handler]:
        """Return the handlers that come before a handler in a queue, where they share keys."""
        binding_key = handler.pattern.binding_key
        if handler.is_fallback:
            return self.sharing(queue, binding_key)
        more_specific = [
            other
            for other in self._overlapping(handler.queue, binding_key)
            if other is not handler and other.pattern.is_subset(handler.pattern)
        ]
        return more_specific if handler.queue is not None else [*self._overlapping(queue, binding_key), *more_specific]

    def key_reaching(self, handler: Handler, queue: str, without: Iterable[Handler] = ()) -> str | None:
        """Return a key that a queue lets in, that a handler matches and none of `without`; None when there is none.

        Raises:
            BudgetExceededError: too hard to decide.
        """
        taken = [other.pattern.tokens for other in without]
        flows = (*self.ways.into(self.topology.queue(queue)), by_name(queue))
        return find_key((flow.without(taken) for flow in flows), [handler.pattern.tokens])

    def _overlapping(self, queue: str | None, binding_key: str) -> list[Handler]:
        matcher = self._matchers.get((queue, False))
        return matcher.overlapping(binding_key) if matcher is not None else []
