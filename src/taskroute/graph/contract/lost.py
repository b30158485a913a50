"""Lost: keys that were handled, or brought to a queue that nobody handles here, and are not any more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from taskroute.graph.contract.difference import Difference
from taskroute.graph.contract.routing import FlowIndex, Headers, Routing, Taker, sign_of
from taskroute.graph.reachability import NO_LIMITS, Flow, find_missed
from taskroute.keys.automaton import ANY_WORDS, BudgetExceededError, Tokens

BUDGET: Final = 20_000
"""How many states the search for one witness may expand."""

_WITH_A_WORD: Final[Tokens] = ("*", ANY_WORDS)
_EVERYTHING: Final[Tokens] = (ANY_WORDS,)


class _Way:
    """How messages with some headers get from an exchange to a queue, in both contracts.

    Attributes:
        gone: what does not get there any more, as a whole or in part.
    """

    def __init__(self, exchange: str, headers: Headers, before: FlowIndex, now: FlowIndex) -> None:
        self.exchange = exchange
        self.headers = headers
        self.before = before
        self.now = now
        known = set(now.flows)
        self.gone = FlowIndex(
            flow
            for flow in before.flows
            if flow not in known and not any(_holds(other, flow) for other in now.near(sign_of(flow)))
        )


def find_lost(old: Routing, new: Routing, headers: Iterable[Headers]) -> Iterator[Difference]:
    """Yield what is lost, one for each handler and one for each queue that nobody handles."""
    sets = list(headers)
    for queue in old.all_queues:
        try:
            yield from _of_queue(old, new, queue, sets)
        except BudgetExceededError:
            yield Difference("undecided", queue, f"queue {queue!r}: whether a key is lost: too hard to decide")


def _of_queue(old: Routing, new: Routing, queue: str, headers: list[Headers]) -> Iterator[Difference]:
    target = new.successors.get(queue, queue)
    is_gone = target not in new.queues and target not in new.named
    ways = [
        _Way(exchange, each, before, FlowIndex(()) if is_gone else new.index(exchange, target, each))
        for each in headers
        for exchange in old.published_to
        if (before := old.index(exchange, queue, each)).flows and (exchange or not each)
    ]
    lost: list[Difference] = []
    takers = list(old.takers_of(queue))
    for taker in takers:
        moved = _moved(old, new, taker, ways) if queue in new.retired else ways
        found = _of_taker(old, new, queue, target, taker, moved, is_gone)
        if found is not None:
            lost.append(found)
            if is_gone:
                break
    is_left = bool(takers) and queue in new.retired  # only what its handlers took counts: nobody else consumes it
    if queue not in old.named and not is_left and not (lost and is_gone):
        found = _unrouted(queue, ways, is_gone)
        lost += [] if found is None else [found]
    yield from lost


def _moved(old: Routing, new: Routing, taker: Taker, ways: Iterable[_Way]) -> list[_Way]:
    """Return the ways to a retired queue as ways to where the work of one of its handlers is done now.

    That is in queues that are new: one that was there had its own work with the same messages. Who publishes to a
    retired queue by its name has to be told a new one, which no contract can know.
    """
    places = [
        (name, other)
        for name in sorted(new.queues.keys() - old.queues.keys())
        for other in new.takers_of(name, taker.pattern.binding_key)
        if taker.asks_the_same(other)
    ]
    found: list[_Way] = []
    for way in ways:
        flows = [
            flow.narrowed(other.pattern.tokens).without(winner.pattern.tokens for winner in new.winners(other, name))
            for name, other in places
            for flow in new.flows(way.exchange, name, way.headers)
        ]
        if way.exchange or not flows:
            found.append(_Way(way.exchange, way.headers, way.before, FlowIndex(flows)))
    return found


def _of_taker(
    old: Routing, new: Routing, queue: str, target: str, taker: Taker, ways: list[_Way], is_gone: bool
) -> Difference | None:
    pattern, binding_key = taker.pattern.tokens, taker.pattern.binding_key
    own = NO_LIMITS.without(other.pattern.tokens for other in old.winners(taker, queue))
    near = [other.pattern for other in new.takers_of(target, binding_key)]
    is_handled = any(taker.pattern.is_subset(other) for other in near)
    taken = [other.tokens for other in near]
    for way in ways:
        for flow in way.gone.near(binding_key):
            key = _missed(pattern, way.now.near(binding_key), flow.within(own))
            if key is not None:
                return _lost(queue, None if is_gone else taker, way, key, "does not reach it any more")
        for flow in () if is_handled or is_gone else way.before.near(binding_key):
            key = _witness(flow.within(own).without(taken), pattern)
            if key is not None:
                return _lost(queue, taker, way, key, "reaches it, and no handler takes it any more")
    return None


def _unrouted(queue: str, ways: list[_Way], is_gone: bool) -> Difference | None:
    for way in ways:
        if way.exchange == "" and not is_gone:
            continue
        for flow in way.gone.flows:
            key = _missed(_EVERYTHING, way.now.near(sign_of(flow)), flow)
            if key is not None:
                return _lost(queue, None, way, key, "does not reach it any more")
    return None


def _lost(queue: str, taker: Taker | None, way: _Way, key: str, what: str) -> Difference:
    name = queue if taker is None else f"{queue}:{taker.entry.label}"
    where = f"exchange {way.exchange!r}" if way.exchange else "the default exchange"
    with_headers = f" with the headers {dict(way.headers)}" if way.headers else ""
    subject = f"queue {queue!r}" if taker is None else f"handler {taker.entry.label!r} of queue {queue!r}"
    return Difference(
        code="lost",
        name=name,
        message=f"{subject}: the key {key!r} from {where}{with_headers} {what}",
        exchange=way.exchange,
        key=key,
        queue=queue,
        headers=dict(way.headers),
    )


def _holds(outer: Flow, inner: Flow) -> bool:
    """Return whether one flow surely has every key of another one."""
    return outer.inside - {_EVERYTHING} <= inner.inside and outer.outside <= inner.outside


def _missed(pattern: Tokens, flows: Iterable[Flow], start: Flow) -> str | None:
    """Return a key that is in none of some flows. The empty key, which looks like a mistake, only if there is no other.

    Raises:
        BudgetExceededError: too hard to decide.
    """
    known = list(flows)
    key = find_missed(pattern, known, BUDGET, start.narrowed(_WITH_A_WORD))
    return find_missed(pattern, known, BUDGET, start) if key is None else key


def _witness(flow: Flow, pattern: Tokens) -> str | None:
    key = flow.witness((pattern, _WITH_A_WORD), BUDGET)
    return flow.witness((pattern,), BUDGET) if key is None else key
