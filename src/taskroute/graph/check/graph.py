"""Graph: a topology and its handlers, with what the checks ask of them again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from taskroute.graph.check.finding import Finding
from taskroute.graph.reachability import Flow, Flows, literal
from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import BudgetExceededError, Tokens
from taskroute.keys.matcher import Matcher
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.topology import Topology

BUDGET: Final = 20_000
"""States that the search for one witness may expand."""


class Graph:
    """A topology and its handlers, with what the checks ask of them again and again."""

    def __init__(self, topology: Topology, handlers: tuple[Handler, ...]) -> None:
        self.topology = topology
        self.handlers = handlers
        self.flows = Flows(topology)
        self._without_headers = Flows(topology, headers=False)
        self.named = {handler.queue for handler in handlers if handler.queue is not None}
        self.by_tier: dict[tuple[str | None, bool], list[Handler]] = {}
        self._matchers: dict[tuple[str | None, bool], Matcher[Handler]] = {}
        for handler in handlers:
            tier = (handler.queue, handler.is_fallback)
            self.by_tier.setdefault(tier, []).append(handler)
            self._matchers.setdefault(tier, Matcher()).add(handler.pattern.binding_key, handler)
        self._into: dict[str, frozenset[Flow]] = {}
        self._ways: dict[tuple[EventSpec[Any], bool], list[tuple[str, Flow]]] = {}
        self._arrivals: dict[tuple[str, bool], Matcher[tuple[str, Flow]]] = {}

    def ways(self, event: EventSpec[Any], *, headers: bool = True) -> list[tuple[str, Flow]]:
        """The queues that keys of an event reach, each with a way to it; `headers` False: when it has none."""
        known = self._ways.get((event, headers))
        if known is None:
            pattern = event.pattern
            near = self.arrivals(str(event.exchange), headers=headers).overlapping(pattern.binding_key)
            arriving = (one for one in near if one[1].witness((pattern.tokens,), BUDGET) is not None)
            known = self._ways[event, headers] = sorted(arriving, key=arrival_order)
        return known

    def arrivals(self, exchange: str, *, headers: bool = True) -> Matcher[tuple[str, Flow]]:
        """The ways from an exchange, with the queue each leads to, to be asked which may share a key with a pattern."""
        known = self._arrivals.get((exchange, headers))
        if known is None:
            flows = self.flows if headers else self._without_headers
            known = self._arrivals[exchange, headers] = self._arriving(exchange, flows)
        return known

    def _arriving(self, exchange: str, flows: Flows) -> Matcher[tuple[str, Flow]]:
        arrivals: Matcher[tuple[str, Flow]] = Matcher()
        if exchange == "":  # feeds every queue by its name
            for queue in self.topology.all_queues:
                arrivals.add(queue.name, (queue.name, Flow(frozenset({literal(queue.name)}))))
            return arrivals
        for name, ways in flows.beyond(self.topology.exchange(exchange)).items():
            for flow in ways:
                arrivals.add(".".join(min(flow.inside)), (name, flow))
        return arrivals

    @property
    def any_queue(self) -> list[Handler]:
        return self.by_tier.get((None, False), [])

    def has_fallback(self, queue: str) -> bool:
        return (queue, True) in self.by_tier or (None, True) in self.by_tier

    def into(self, queue: str) -> frozenset[Flow]:
        """The ways into a queue through its bindings."""
        flows = self._into.get(queue)
        if flows is None:
            flows = self._into[queue] = self.flows.into(self.topology.queue(queue))
        return flows

    def sharing(self, queue: str | None, binding_key: str) -> list[Handler]:
        """A queue's own handlers (None: those for any queue) that may share a key with a pattern."""
        matcher = self._matchers.get((queue, False))
        return matcher.overlapping(binding_key) if matcher is not None else []

    def takers(self, queue: str, binding_key: str) -> list[Handler]:
        """All handlers that a queue has for keys of a pattern, fallbacks included."""
        fallbacks = self.by_tier.get((queue, True)) or self.by_tier.get((None, True), [])
        return [*self.sharing(queue, binding_key), *self.sharing(None, binding_key), *fallbacks]

    def winners(self, handler: Handler, queue: str) -> list[Handler]:
        """The handlers that come before this one in a queue, where they share keys."""
        key = handler.pattern.binding_key
        if handler.is_fallback:
            return [*self.sharing(queue, key), *self.sharing(None, key)]
        same_tier = [
            other
            for other in self.sharing(handler.queue, key)
            if other is not handler and other.pattern.is_subset(handler.pattern)
        ]
        return same_tier if handler.queue is not None else [*self.sharing(queue, key), *same_tier]

    def reaching(self, handler: Handler, queue: str, without: Iterable[Handler] = ()) -> str | None:
        """A key that reaches a handler in a queue and none of `without`."""
        taken = [other.pattern.tokens for other in without]
        through_default = Flow(frozenset({literal(queue)}))  # the default exchange feeds every queue by its name
        for flow in (*sorted(self.into(queue), key=order), through_default):
            key = flow.without(taken).witness((handler.pattern.tokens,), BUDGET)
            if key is not None:
                return key
        return None

    def queues_of(self, handler: Handler) -> list[str]:
        return [handler.queue] if handler.queue is not None else [queue.name for queue in self.topology.queues]


def order(flow: Flow) -> tuple[list[Tokens], list[Tokens]]:
    return sorted(flow.inside), sorted(flow.outside)


def arrival_order(arrival: tuple[str, Flow]) -> tuple[str, tuple[list[Tokens], list[Tokens]]]:
    return arrival[0], order(arrival[1])


def decided(subject: str, question: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Answer a question about a subject, or say that it is too hard."""
    try:
        yield from look()
    except BudgetExceededError:
        yield Finding("undecided", "warning", subject, None, f"{subject}: {question}: too hard to decide")
