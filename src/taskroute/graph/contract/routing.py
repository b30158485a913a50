"""Routing: where the keys of a contract go, and who takes them. Made for one comparison. Not synchronized."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Final

from taskroute.errors import ConfigurationError, TaskrouteError
from taskroute.graph.contract.entries import BindingEntry, EventEntry, HandlerEntry
from taskroute.graph.contract.lines import Lines
from taskroute.graph.reachability import Flow, Flows, literal
from taskroute.keys.matcher import Matcher
from taskroute.keys.pattern import RoutingPattern
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.routing import headers_match
from taskroute.topology.topology import Topology

Headers = tuple[tuple[str, Any], ...]

MOST_HEADERS: Final = 64
"""How many different sets of headers are looked at."""

MOST_FLOWS: Final = 100_000
"""How many ways may lead from one exchange to queues, before what is lost counts as too hard to decide."""

_Tier = tuple[str | None, bool]
_ANY_TIER: Final[_Tier] = (None, False)


@dataclass(frozen=True, slots=True, eq=False)
class Taker:
    """A handler of a contract with its pattern."""

    entry: HandlerEntry
    pattern: RoutingPattern

    def asks_the_same(self, other: Taker) -> bool:
        """Return whether another handler reads every message that this one reads, and no other."""
        one, two = self.entry, other.entry
        return (
            one.content,
            one.reads,
            one.captures,
            one.headers,
            one.required,
            bool(one.captures) and one.pattern,
        ) == (
            two.content,
            two.reads,
            two.captures,
            two.headers,
            two.required,
            bool(two.captures) and two.pattern,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sender:
    """An event of a contract with its pattern."""

    entry: EventEntry
    pattern: RoutingPattern

    @property
    def name(self) -> str:
        """How differences call it."""
        return f"event:{self.entry.exchange}:{self.entry.pattern}"


class FlowIndex:
    """Flows in their order, and those of them that are near a binding key."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        self.flows = tuple(flows)
        self._matcher: Matcher[Flow] = Matcher()
        for flow in self.flows:
            self._matcher.add(sign_of(flow), flow)

    def near(self, key: str) -> list[Flow]:
        """Return the flows that may share a key with a binding key."""
        return sorted(self._matcher.overlapping(key), key=lambda flow: flow.sort_key)


def sign_of(flow: Flow) -> str:
    """Return a binding key that takes every key of a flow, and perhaps others."""
    return ".".join(min(flow.inside))


class Routing:
    """Where the keys of a contract go, and who takes them.

    Args:
        contract: whose.
        name: of its file, for errors.

    Raises:
        ConfigurationError: its entries do not fit together.
    """

    def __init__(self, contract: Lines, name: str = "contract") -> None:
        self.contract = contract
        self._name = name
        self.exchanges = {exchange.name: exchange for exchange in contract.exchanges}
        self.queues = {queue.name: queue for queue in contract.queues}
        self.retired = {queue.name for queue in contract.retired}
        self.takers = tuple(Taker(entry, self._pattern(entry.pattern)) for entry in contract.handlers)
        self.senders = tuple(Sender(entry, self._pattern(entry.pattern)) for entry in contract.events)
        self.named = {taker.entry.queue for taker in self.takers if taker.entry.queue is not None}
        self._flows: dict[tuple[str, Headers], Mapping[str, tuple[Flow, ...]]] = {}
        self._indexes: dict[tuple[str, str, Headers], FlowIndex] = {}
        self._topologies: dict[Headers, tuple[Topology, Flows]] = {}
        self._matchers: dict[_Tier, Matcher[Taker]] = {}
        for taker in self.takers:
            tier = (taker.entry.queue, taker.entry.fallback)
            self._matchers.setdefault(tier, Matcher()).add(taker.pattern.binding_key, taker)
        self._sent_to: dict[str, Matcher[Sender]] = {}
        for sender in self.senders:
            self._sent_to.setdefault(sender.entry.exchange, Matcher()).add(sender.pattern.binding_key, sender)
        self._called = {exchange.name: str(at) for at, exchange in enumerate(contract.exchanges)}
        for problem in _problems(contract):
            raise ConfigurationError(f"{name}: {problem}")
        self._topology(())  # refuses what does not fit together, before anything is asked

    @property
    def all_queues(self) -> Sequence[str]:
        """The queues, those that only handlers name included."""
        return sorted(self.queues.keys() | self.named)

    @property
    def published_to(self) -> Sequence[str]:
        """The exchanges that can be published to, the default exchange included."""
        return [*(name for name, exchange in sorted(self.exchanges.items()) if not exchange.internal), ""]

    @cached_property
    def successors(self) -> Mapping[str, str]:
        """The queues that replace others, by the name of the other."""
        return {queue.replaces: queue.name for queue in self.queues.values() if queue.replaces is not None}

    def flows(self, exchange: str, queue: str, headers: Headers) -> tuple[Flow, ...]:
        """Return by which keys messages with these headers get from an exchange to a queue.

        Raises:
            BudgetExceededError: too many.
        """
        if exchange == "":
            names = [queue, *(old for old, new in self.successors.items() if new == queue)]
            return tuple(Flow(frozenset({literal(name)})) for name in names)
        known = self._flows.get((exchange, headers))
        if known is None:
            known = self._flows[exchange, headers] = self._beyond(exchange, headers)
        return known.get(queue, ())

    def index(self, exchange: str, queue: str, headers: Headers) -> FlowIndex:
        """Return the same flows, so that those near a binding key are found among many.

        Raises:
            BudgetExceededError: too many.
        """
        known = self._indexes.get((exchange, queue, headers))
        if known is None:
            known = self._indexes[exchange, queue, headers] = FlowIndex(self.flows(exchange, queue, headers))
        return known

    def senders_near(self, exchange: str, key: str) -> list[Sender]:
        """Return the events of an exchange that may share a key with a binding key."""
        matcher = self._sent_to.get(exchange)
        return [] if matcher is None else sorted(matcher.overlapping(key), key=lambda sender: sender.entry.line)

    def takers_of(self, queue: str, near: str = "#") -> list[Taker]:
        """Return the handlers of a queue, those for any queue and fallbacks included, that may share a key."""
        tiers: tuple[_Tier, ...] = ((queue, False), _ANY_TIER, (queue, True), (None, True))
        return [taker for tier in tiers for taker in self._near(tier, near)]

    def winners(self, taker: Taker, queue: str) -> list[Taker]:
        """Return the handlers that come before a handler in a queue, where they may share keys."""
        key = taker.pattern.binding_key
        tiers: tuple[_Tier, ...] = ((queue, False), _ANY_TIER, (queue, True), (None, True))
        own: _Tier = (taker.entry.queue, taker.entry.fallback)
        earlier = [other for tier in tiers[: tiers.index(own)] for other in self._near(tier, key)]
        within = [
            other
            for other in self._near(own, key)
            if other is not taker
            and other.pattern.is_subset(taker.pattern)
            and not taker.pattern.is_subset(other.pattern)
        ]
        return [*earlier, *within]

    def is_routed(self, exchange: str, queue: str, headers: Headers, key: str) -> bool:
        """Return whether a message gets from an exchange to a queue.

        Raises:
            BudgetExceededError: too hard to decide.
        """
        return any(flow.witness((literal(key),)) is not None for flow in self.flows(exchange, queue, headers))

    def taker_of(self, queue: str, key: str) -> Taker | None:
        """Return the handler that takes a key in a queue, None if there is none."""
        matching = [taker for taker in self.takers_of(queue) if taker.pattern.matches(key)]
        return next((each for each in matching if not set(self.winners(each, queue)) & set(matching)), None)

    def _near(self, tier: _Tier, key: str) -> list[Taker]:
        matcher = self._matchers.get(tier)
        return [] if matcher is None else sorted(matcher.overlapping(key), key=lambda taker: taker.entry.pattern)

    def _pattern(self, text: str) -> RoutingPattern:
        try:
            return RoutingPattern(text)
        except TaskrouteError as error:
            raise ConfigurationError(f"{self._name}: {error}") from None

    def _beyond(self, exchange: str, headers: Headers) -> Mapping[str, tuple[Flow, ...]]:
        if exchange not in self.exchanges or self.exchanges[exchange].internal:
            return {}
        topology, flows = self._topology(headers)
        found = flows.beyond(topology.exchange(self._called[exchange]), MOST_FLOWS)
        return {queue: tuple(sorted(ways, key=lambda flow: flow.sort_key)) for queue, ways in found.items()}

    def _topology(self, headers: Headers) -> tuple[Topology, Flows]:
        known = self._topologies.get(headers)
        if known is None:
            try:
                topology = _topology_for(self.contract, dict(headers), self._called)
            except TaskrouteError as error:
                raise ConfigurationError(f"{self._name}: {error}") from None
            known = self._topologies[headers] = (topology, Flows(topology))
        return known


def all_headers(contracts: Iterable[Lines]) -> tuple[list[Headers], bool]:
    """Return sets of headers that bindings tell apart, and whether those are all of them."""
    values: dict[str, dict[str, Any]] = {}
    asked: list[list[tuple[str, Any]]] = []
    for contract in contracts:
        for binding in contract.bindings:
            pairs = [(name, value) for name, value in binding.arguments.items() if name != "x-match"]
            asked.append(pairs)
            for name, value in pairs:
                values.setdefault(name, {})[repr(value)] = value
    count = 1
    for each in values.values():
        count *= len(each) + 1
    if count <= MOST_HEADERS:
        choices = [[None, *((name, value) for value in each.values())] for name, each in sorted(values.items())]
        return [tuple(pair for pair in chosen if pair is not None) for chosen in product(*choices)], True
    smallest = {(), *(tuple(sorted(pairs)) for pairs in asked), *((pair,) for pairs in asked for pair in pairs)}
    return sorted(smallest, key=repr)[:MOST_HEADERS], False


def _problems(contract: Lines) -> Iterator[str]:
    exchanges = [exchange.name for exchange in contract.exchanges]
    queues = [queue.name for queue in contract.queues]
    for names in (exchanges, queues):
        yield from (f"{name!r} is there twice" for name, count in Counter(names).items() if count > 1)
    for exchange in contract.exchanges:
        if exchange.alternate_exchange not in (None, *exchanges):
            yield f"exchange {exchange.name!r} has an alternate exchange that is not in it"
    known = (set(exchanges), set(queues))
    for binding in contract.bindings:
        yield from _binding_problems(binding, *known)


def _binding_problems(binding: BindingEntry, exchanges: set[str], queues: set[str]) -> Iterator[str]:
    if (binding.queue is None) == (binding.to_exchange is None):
        yield f"a binding from {binding.exchange!r} leads either to a queue or to an exchange"
    elif binding.exchange not in exchanges:
        yield f"a binding comes from the exchange {binding.exchange!r}, which is not in it"
    elif binding.queue is not None and binding.queue not in queues:
        yield f"a binding leads to the queue {binding.queue!r}, which is not in it"
    elif binding.to_exchange is not None and binding.to_exchange not in exchanges:
        yield f"a binding leads to the exchange {binding.to_exchange!r}, which is not in it"


def _topology_for(contract: Lines, headers: Mapping[str, Any], called: Mapping[str, str]) -> Topology:
    """Return a topology that routes messages with these headers as the contract does, by their keys alone.

    A headers exchange becomes a fanout, with the bindings that the headers match. Exchanges have other names, as the
    broker's own cannot be of another type.
    """
    by_headers = {exchange.name for exchange in contract.exchanges if exchange.type == "headers"}
    to_queues: dict[str, list[BindingSpec]] = {}
    to_exchanges: dict[str, list[BindingSpec]] = {}
    for binding in contract.bindings:
        if binding.exchange in by_headers and not headers_match(binding.arguments, headers):
            continue
        bound = BindingSpec(exchange=called[binding.exchange], binding_key=binding.key)
        if binding.queue is not None:
            to_queues.setdefault(binding.queue, []).append(bound)
        elif binding.to_exchange is not None:
            to_exchanges.setdefault(binding.to_exchange, []).append(bound)
    return Topology(
        exchanges=[
            ExchangeSpec(
                name=called[exchange.name],
                type="fanout" if exchange.type == "headers" else exchange.type,
                internal=exchange.internal,
                alternate_exchange=None if (other := exchange.alternate_exchange) is None else called[other],
                bindings=to_exchanges.get(exchange.name, ()),
            )
            for exchange in contract.exchanges
        ],
        queues=[
            QueueSpec(
                name=queue.name,
                type="classic",
                retry=False,
                dead_letter=False,
                bindings=to_queues.get(queue.name, ()),
            )
            for queue in contract.queues
        ],
    )
