"""Reachability: which routing keys can get from an exchange to a queue, by patterns. Pure.

A flow is one path through exchanges and bindings, as the set of keys that get through: a language, which the algebra of
`keys` decides about.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from taskroute.keys.automaton import ANY_WORDS, ONE_WORD, BudgetExceededError, Tokens, find_words, split_words
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

MOST_FLOWS: Final = 10_000
"""How many flows may lead to one queue, or from one exchange, before a question counts as too hard."""

_EVERYTHING: Final[Tokens] = (ANY_WORDS,)
_LITERAL: Final = "\0"  # marks a literal "*" or "#": no key has control characters


@dataclass(frozen=True, slots=True)
class Flow:
    """The keys that get through along one path: those that every pattern of `inside` accepts and none of `outside`."""

    inside: frozenset[Tokens] = frozenset({_EVERYTHING})
    outside: frozenset[Tokens] = frozenset()

    @property
    def sort_key(self) -> tuple[list[Tokens], list[Tokens]]:
        """A key to sort flows by, so that the key found first does not depend on hashes."""
        return sorted(self.inside), sorted(self.outside)

    def narrowed(self, pattern: Tokens) -> Flow:
        """Return the keys of this flow that match one more pattern."""
        return Flow(self.inside - {_EVERYTHING} | {pattern}, self.outside)

    def without(self, patterns: Iterable[Tokens]) -> Flow:
        """Return the keys of this flow that none of `patterns` takes."""
        return Flow(self.inside, self.outside | frozenset(patterns))

    def witness(self, within: Iterable[Tokens] = (), budget: int = 100_000) -> str | None:
        """Return a key of this flow that matches the patterns `within`, None when there is none.

        Raises:
            BudgetExceededError: too hard to decide.
        """
        words = find_words(sorted(self.inside | set(within)), sorted(self.outside), budget)
        return None if words is None else ".".join(words).replace(_LITERAL, "")

    def within(self, *others: Flow) -> Flow:
        """Return the keys that are in this flow and in all others."""
        inside = self.inside.union(*(other.inside for other in others)) - {_EVERYTHING}
        return Flow(inside or self.inside, self.outside.union(*(other.outside for other in others)))

    def misses(self) -> tuple[Flow, ...]:
        """Return flows of the keys that are not in this one: outside one of `inside`, or inside one of `outside`."""
        not_inside = (Flow(outside=frozenset({pattern})) for pattern in sorted(self.inside - {_EVERYTHING}))
        return (*not_inside, *(Flow(frozenset({pattern})) for pattern in sorted(self.outside)))


NO_LIMITS: Final = Flow()
"""All keys."""


def literal(key: str) -> Tokens:
    """Return the pattern of exactly this key, in which a wildcard stands for itself."""
    return tuple(_LITERAL + word if word in (ONE_WORD, ANY_WORDS) else word for word in split_words(key))


def find_missed(pattern: Tokens, flows: Iterable[Flow], budget: int = 100_000, start: Flow = NO_LIMITS) -> str | None:
    """Return a key of `pattern` that is in none of these flows, None when there is none.

    Args:
        pattern: of the keys.
        flows: those that a key is to miss.
        budget: how many states the search for one witness may expand.
        start: the keys that count; left out, all of them.

    Raises:
        BudgetExceededError: too hard to decide.
    """
    misses = sorted((flow.misses() for flow in flows), key=len)
    choices = [ways for ways in misses if len(ways) != 1]
    sure = [ways[0] for ways in misses if len(ways) == 1]  # the usual case, at once: one by one costs their square
    pending = [iter([start.within(*sure)])]  # what is left to try, for as many choices as are made
    for _ in range(MOST_FLOWS):
        while pending:
            missed = next(pending[-1], None)
            if missed is not None:
                break
            pending.pop()
        else:
            return None
        key = missed.witness((pattern,), budget)
        if key is not None and len(pending) > len(choices):
            return key
        if key is not None:
            pending.append(map(missed.within, reversed(choices[len(pending) - 1])))
    raise BudgetExceededError


class Flows:
    """The flows of a topology. Immutable.

    Methods raise `BudgetExceededError` for more than `MOST_FLOWS` flows.

    Args:
        topology: whose.
        headers: True: whatever a binding asks of headers, some message has them. False: messages have no headers.
    """

    def __init__(self, topology: Topology, *, headers: bool = True) -> None:
        self._topology = topology
        self._queue_bindings: dict[str, list[tuple[str, BindingSpec]]] = {}
        self._exchange_bindings: dict[str, list[tuple[str, BindingSpec]]] = {}
        for queue in topology.queues:
            for binding in _taken(queue.bindings, headers):
                self._queue_bindings.setdefault(binding.exchange, []).append((queue.name, binding))
        for exchange in topology.exchanges:
            for binding in _taken(exchange.bindings, headers):
                self._exchange_bindings.setdefault(binding.exchange, []).append((exchange.name, binding))
        self._alternates: dict[str, list[ExchangeSpec]] = {}
        self._dying_into: dict[str, list[QueueSpec]] = {}
        for exchange in topology.exchanges:
            if exchange.alternate_exchange is not None:
                self._alternates.setdefault(exchange.alternate_exchange, []).append(exchange)
        for queue in topology.queues:
            if queue.dead_letter_queue is not None:
                self._dying_into.setdefault(queue.dead_letter_queue, []).append(queue)

    def into(self, queue: QueueSpec) -> frozenset[Flow]:
        """Return the flows into a queue, through its bindings and those of the queues whose dead letters it takes.

        A dead letter keeps the key that it was published with.
        """
        flows: set[Flow] = set()
        seen = {queue.name}
        pending = [queue]
        while pending:
            current = pending.pop()
            for binding in current.bindings:
                for flow in self._before(binding.exchange, self._filtered(Flow(), binding), frozenset()):
                    _add(flows, flow)
            for dying in self._dying_into.get(current.name, ()):
                if dying.name not in seen:
                    seen.add(dying.name)
                    pending.append(dying)
        return frozenset(flows)

    def beyond(self, exchange: ExchangeSpec, most: int = MOST_FLOWS) -> dict[str, frozenset[Flow]]:
        """Return the flows from an exchange to queues, by the queue's name, unless there are more than `most`."""
        flows: dict[str, set[Flow]] = {}
        for count, (queue, flow) in enumerate(self._after(exchange, Flow(), frozenset())):
            if count == most:
                raise BudgetExceededError
            flows.setdefault(queue, set()).add(flow)
        return {queue: frozenset(ways) for queue, ways in flows.items()}

    def _before(self, name: str, flow: Flow, seen: frozenset[str]) -> Iterator[Flow]:
        """Yield the flows to an exchange from each place where messages can be published, narrowed to `flow`."""
        exchange = self._topology.exchange(name)
        if not exchange.internal:
            yield flow  # a publisher can use every key here, so exchanges further up add nothing
            return
        if name in seen:
            return
        seen |= {name}
        for binding in exchange.bindings:
            yield from self._before(binding.exchange, self._filtered(flow, binding), seen)
        for source in self._alternates.get(name, ()):
            rest = self._unbound(source, flow)
            if rest is not None:
                yield from self._before(source.name, rest, seen)

    def _after(self, exchange: ExchangeSpec, flow: Flow, seen: frozenset[str]) -> Iterator[tuple[str, Flow]]:
        if exchange.name in seen:
            return
        seen |= {exchange.name}
        for queue, binding in self._queue_bindings.get(exchange.name, ()):
            yield queue, self._filtered(flow, binding)
        for name, binding in self._exchange_bindings.get(exchange.name, ()):
            yield from self._after(self._topology.exchange(name), self._filtered(flow, binding), seen)
        if exchange.alternate_exchange is not None:
            rest = self._unbound(exchange, flow)
            if rest is not None:
                yield from self._after(self._topology.exchange(exchange.alternate_exchange), rest, seen)

    def _filtered(self, flow: Flow, binding: BindingSpec) -> Flow:
        pattern = self._pattern(binding)
        return flow if pattern is None else flow.narrowed(pattern)

    def _pattern(self, binding: BindingSpec) -> Tokens | None:
        """Return the pattern that a binding asks of a key, None if it takes every key."""
        kind = self._topology.exchange(binding.exchange).type
        if kind == "topic":
            return split_words(binding.binding_key)
        return literal(binding.binding_key) if kind == "direct" else None

    def _unbound(self, exchange: ExchangeSpec, flow: Flow) -> Flow | None:
        """Return what of `flow` an exchange passes to its alternate exchange, None if nothing."""
        bindings = [
            binding
            for bound in (self._queue_bindings, self._exchange_bindings)
            for _, binding in bound.get(exchange.name, ())
        ]
        if exchange.type == "fanout" or any(exchange.type == "headers" and not one.headers for one in bindings):
            return None if bindings else flow
        patterns = (self._pattern(binding) for binding in bindings)
        return flow.without(pattern for pattern in patterns if pattern is not None)


def _taken(bindings: Iterable[BindingSpec], headers: bool) -> Iterator[BindingSpec]:
    return (binding for binding in bindings if headers or not binding.headers)


def _add(flows: set[Flow], flow: Flow) -> None:
    flows.add(flow)
    if len(flows) > MOST_FLOWS:
        raise BudgetExceededError
