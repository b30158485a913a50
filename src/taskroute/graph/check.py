"""Check: what is wrong with a topology and its handlers together, each finding with a key that shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any, Final, Literal

from taskroute.graph.reachability import Flow, Flows, find_missed, literal
from taskroute.handlers.ambiguity import WAY_OUT, find_ambiguities
from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import BudgetExceededError, Tokens
from taskroute.keys.matcher import Matcher
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

Severity = Literal["error", "warning", "info"]

Code = Literal[
    "unfed_handler",
    "unhandled_key",
    "ambiguous_handlers",
    "shadowed_handler",
    "handled_twice",
    "dead_end_exchange",
    "unconsumed_queue",
    "missing_dead_letter_queue",
    "dead_letter_cycle",
    "event_unrouted",
    "event_unhandled",
    "event_body",
    "undecided",
]

BUDGET: Final = 20_000
"""States that the search for one witness may expand."""

_RANKS: Final = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One hole in the graph.

    Attributes:
        code: what kind of hole.
        severity: ``error``: cannot work as written; ``warning``: works, and surely not as meant; ``info``: worth
            knowing.
        subject: the queue, exchange or handler.
        witness: a routing key that shows it, None where no key can (nothing reaches the subject at all).
        message: what is wrong, and what to do.
    """

    code: Code
    severity: Severity
    subject: str
    witness: str | None
    message: str

    def __str__(self) -> str:
        return f"{self.severity} {self.code}: {self.message}"


def check(topology: Topology, handlers: Iterable[Handler]) -> tuple[Finding, ...]:
    """Return what is wrong, the worst first. Pure.

    A question that is too hard to decide is a finding ``undecided``, never silence.

    Example:
        >>> media = ExchangeSpec(name="media")
        >>> topology = Topology(exchanges=[media])
        >>> [finding.code for finding in check(topology, ())]
        ['dead_end_exchange']
    """
    graph = _Graph(topology, tuple(handlers))
    checks = (_ambiguous, _unreached, _unhandled, _twice, _dead_ends, _unconsumed, _dead_letters, _events)
    findings = [finding for look in checks for finding in look(graph)]
    return tuple(sorted(findings, key=lambda finding: _RANKS[finding.severity]))


class _Graph:
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
            known = self._ways[event, headers] = sorted(arriving, key=_arrival_order)
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
        for flow in (*sorted(self.into(queue), key=_order), through_default):
            key = flow.without(taken).witness((handler.pattern.tokens,), BUDGET)
            if key is not None:
                return key
        return None

    def queues_of(self, handler: Handler) -> list[str]:
        return [handler.queue] if handler.queue is not None else [queue.name for queue in self.topology.queues]


def _order(flow: Flow) -> tuple[list[Tokens], list[Tokens]]:
    return sorted(flow.inside), sorted(flow.outside)


def _decided(subject: str, question: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Answer a question about a subject, or say that it is too hard."""
    try:
        yield from look()
    except BudgetExceededError:
        yield Finding("undecided", "warning", subject, None, f"{subject}: {question}: too hard to decide")


def _ambiguous(graph: _Graph) -> Iterator[Finding]:
    for ambiguity in find_ambiguities(graph.handlers):
        subject = str(ambiguity.first)
        if ambiguity.witness is None:
            yield Finding("undecided", "warning", subject, None, str(ambiguity))
        else:
            yield Finding("ambiguous_handlers", "error", subject, ambiguity.witness, f"{ambiguity}: {WAY_OUT}")


def _unreached(graph: _Graph) -> Iterator[Finding]:
    for handler in graph.handlers:
        if not handler.is_fallback:
            question = "whether a key reaches it"
            yield from _decided(str(handler), question, partial(_unreached_handler, graph, handler))


def _unreached_handler(graph: _Graph, handler: Handler) -> Iterator[Finding]:
    fed = {queue: key for queue in graph.queues_of(handler) if (key := graph.reaching(handler, queue)) is not None}
    if not fed:
        where = "any queue" if handler.queue is None else f"queue {handler.queue!r}"
        advice = f"no binding of {where} lets in a key that it takes: add the binding, or correct the pattern"
        yield Finding("unfed_handler", "error", str(handler), None, f"{handler} can never run: {advice}")
        return
    shadowed = {}
    for queue, key in fed.items():
        winners = graph.winners(handler, queue)
        if winners and graph.reaching(handler, queue, winners) is None:
            shadowed[queue] = (key, winners)
    is_everywhere = len(shadowed) == len(fed)
    for queue, (key, winners) in shadowed.items():
        names = ", ".join(str(other) for other in winners[:3])
        yield Finding(
            "shadowed_handler",
            "warning" if is_everywhere else "info",
            str(handler),
            key,
            f"{handler} never runs for queue {queue!r}: {names} comes first, for {key!r} say",
        )


def _unhandled(graph: _Graph) -> Iterator[Finding]:
    for queue in graph.topology.all_queues:
        if queue.name in graph.named and not graph.has_fallback(queue.name):
            question = "whether every key has a handler"
            yield from _decided(f"queue {queue.name!r}", question, partial(_unhandled_keys, graph, queue.name))


def _unhandled_keys(graph: _Graph, queue: str) -> Iterator[Finding]:
    for flow in sorted(graph.into(queue), key=_order):
        one = ".".join(min(flow.inside))
        handlers = [*graph.sharing(queue, one), *graph.sharing(None, one)]
        key = flow.without(handler.pattern.tokens for handler in handlers).witness(budget=BUDGET)
        if key is not None:
            advice = "add a handler or a fallback, or bind less; until then such messages are dead-lettered"
            message = f"queue {queue!r} lets in {key!r}, and no handler takes it: {advice}"
            yield Finding("unhandled_key", "warning", f"queue {queue!r}", key, message)
            return


def _twice(graph: _Graph) -> Iterator[Finding]:
    if not graph.any_queue:
        return
    for exchange in graph.topology.exchanges:
        if not exchange.internal:
            question = "whether one message is handled twice"
            yield from _decided(f"exchange {exchange.name!r}", question, partial(_handled_twice, graph, exchange))


def _handled_twice(graph: _Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    arrivals = graph.arrivals(exchange.name)
    for handler in graph.any_queue:
        arriving = arrivals.overlapping(handler.pattern.binding_key)
        for (first, one), (second, other) in combinations(sorted(arriving, key=_arrival_order), 2):
            if first == second:
                continue
            winners = [*graph.winners(handler, first), *graph.winners(handler, second)]
            both = one.within(other)
            key = both.without(winner.pattern.tokens for winner in winners).witness((handler.pattern.tokens,), BUDGET)
            if key is not None:
                yield _twice_finding(handler, exchange, first, second, key)
                break


def _arrival_order(arrival: tuple[str, Flow]) -> tuple[str, tuple[list[Tokens], list[Tokens]]]:
    return arrival[0], _order(arrival[1])


def _twice_finding(handler: Handler, exchange: ExchangeSpec, first: str, second: str, key: str) -> Finding:
    message = (
        f"{handler} handles {key!r} twice: exchange {exchange.name!r} puts it into {first!r} and into {second!r}, "
        f"and a worker that consumes both runs it for each: name the queue with queue=, or narrow a binding"
    )
    return Finding("handled_twice", "warning", str(handler), key, message)


def _dead_ends(graph: _Graph) -> Iterator[Finding]:
    for exchange in graph.topology.exchanges:
        if not exchange.passive:
            question = "whether a message can get anywhere"
            yield from _decided(f"exchange {exchange.name!r}", question, partial(_dead_end, graph, exchange))


def _dead_end(graph: _Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    flows = (flow for ways in graph.flows.beyond(exchange).values() for flow in ways)
    if not any(flow.witness(budget=BUDGET) is not None for flow in flows):
        subject = f"exchange {exchange.name!r}"
        message = f"{subject}: no message gets from it to any queue: bind a queue, or delete it"
        yield Finding("dead_end_exchange", "warning", subject, "x", message)


def _unconsumed(graph: _Graph) -> Iterator[Finding]:
    takes_dead_letters = {queue.dead_letter_queue for queue in graph.topology.queues}
    for queue in graph.topology.queues:
        if queue.name not in graph.named and queue.name not in takes_dead_letters:
            subject = f"queue {queue.name!r}"
            yield from _decided(subject, "which key reaches it", partial(_unconsumed_queue, graph, queue))


def _unconsumed_queue(graph: _Graph, queue: QueueSpec) -> Iterator[Finding]:
    subject = f"queue {queue.name!r}"
    keys = (flow.witness(budget=BUDGET) for flow in sorted(graph.into(queue.name), key=_order))
    witness = next((key for key in keys if key is not None), queue.name)
    if queue.is_shared or queue.passive:
        severity: Severity = "info"
        message = f"{subject}: no handler names it; another service may consume it"
    else:
        severity = "warning"
        message = f"{subject}: no handler names it, and no other service can: add a handler, or leave it out"
    yield Finding("unconsumed_queue", severity, subject, witness, message)


def _dead_letters(graph: _Graph) -> Iterator[Finding]:
    known = {queue.name: queue for queue in graph.topology.all_queues}
    reported: set[str] = set()
    for queue in graph.topology.queues:
        path = [queue.name]
        target = queue.dead_letter_queue
        while target is not None and target in known and target not in path:
            path.append(target)
            target = known[target].dead_letter_queue
        subject = f"queue {queue.name!r}"
        witness = _key_into(graph, queue)
        if target is not None and target not in known and len(path) == 1:
            message = f"{subject}: its dead-letter queue {target!r} is not in the topology: add it to queues="
            yield Finding("missing_dead_letter_queue", "error", subject, witness, message)
        elif target == queue.name and queue.name not in reported:
            reported.update(path)
            way = " -> ".join(repr(name) for name in (*path, target))
            message = f"{subject}: dead letters go in a circle: {way}: end it with dead_letter=False"
            yield Finding("dead_letter_cycle", "error", subject, witness, message)


def _key_into(graph: _Graph, queue: QueueSpec) -> str:
    try:
        keys = [flow.witness(budget=BUDGET) for flow in sorted(graph.into(queue.name), key=_order)]
    except BudgetExceededError:
        keys = []
    return next((key for key in keys if key is not None), queue.name)


def _events(graph: _Graph) -> Iterator[Finding]:
    for event in graph.topology.events:
        looks = {
            "whether every key reaches a queue": _unrouted_event,
            "whether every key has a handler": _unhandled_event,
            "which handlers take it": _event_bodies,
        }
        for question, look in looks.items():
            yield from _decided(str(event), question, partial(look, graph, event))


def _unrouted_event(graph: _Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    if _missed(graph, event, headers=False) is None:
        return
    key = _missed(graph, event, headers=True)
    where = f"exchange {str(event.exchange)!r}" if str(event.exchange) else "the default exchange"
    if key is None:
        message = f"{event}: which queue it reaches from {where} depends on the headers it is published with"
        yield Finding("undecided", "info", str(event), None, message)
        return
    severity: Severity = "info" if _may_be_bound_elsewhere(graph, event) else "error"
    message = f"{event}: {key!r} reaches no queue from {where}: bind a queue with the event's bind()"
    yield Finding("event_unrouted", severity, str(event), key, message)


def _missed(graph: _Graph, event: EventSpec[Any], *, headers: bool) -> str | None:
    return find_missed(event.pattern.tokens, [flow for _, flow in graph.ways(event, headers=headers)], BUDGET)


def _may_be_bound_elsewhere(graph: _Graph, event: EventSpec[Any]) -> bool:
    return bool(str(event.exchange)) and graph.topology.exchange(event.exchange).passive


def _unhandled_event(graph: _Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    ways = graph.ways(event)
    reached = sorted({queue for queue, _ in ways})
    for queue in reached:
        key = _unhandled_in(graph, event, queue) if queue in graph.named else None
        if key is not None:
            message = f"{event}: {key!r} reaches queue {queue!r}, and no handler takes it: add a handler or a fallback"
            yield Finding("event_unhandled", "error", str(event), key, message)
    if ways and not graph.named.intersection(reached):
        names = ", ".join(map(repr, reached))
        key = ways[0][1].witness((event.pattern.tokens,), BUDGET)
        message = f"{event}: no handler names a queue that it reaches ({names}); another service may handle it"
        yield Finding("event_unhandled", "info", str(event), key, message)


def _unhandled_in(graph: _Graph, event: EventSpec[Any], queue: str) -> str | None:
    """A key of an event that no handler of a queue takes."""
    takers = graph.takers(queue, event.pattern.binding_key)
    return _key_through(graph, event, queue, without=takers, within=())


def _key_through(
    graph: _Graph, event: EventSpec[Any], queue: str, without: Iterable[Handler], within: Iterable[Handler]
) -> str | None:
    """A key of an event that reaches a queue, that all handlers of `within` match and none of `without`."""
    patterns = [event.pattern.tokens, *(handler.pattern.tokens for handler in within)]
    taken = [handler.pattern.tokens for handler in without]
    keys = (flow.without(taken).witness(patterns, BUDGET) for name, flow in graph.ways(event) if name == queue)
    return next((key for key in keys if key is not None), None)


def _event_bodies(graph: _Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    judged: set[Handler] = set()
    for queue in sorted(graph.named.intersection(queue for queue, _ in graph.ways(event))):
        for handler in graph.takers(queue, event.pattern.binding_key):
            key = _key_through(graph, event, queue, graph.winners(handler, queue), [handler])
            if key is not None and handler not in judged:
                judged.add(handler)
                yield from _body_finding(event, handler, key)


def _body_finding(event: EventSpec[Any], handler: Handler, key: str) -> Iterator[Finding]:
    from taskroute.graph.bodies.verdict import judge  # noqa: PLC0415 - only who declares events pays for it

    verdict = judge(event, handler.plan.body)
    body = f"a body of {event} ({event.body_name})"
    if verdict.answer == "refused":
        advice = "such messages are dead-lettered: let the handler's type read what the event's type writes"
        yield Finding("event_body", "error", str(handler), key, f"{handler} refuses {body}: {verdict.reason}; {advice}")
    elif verdict.answer == "undecided":
        yield Finding("undecided", "info", str(handler), key, f"{handler} may refuse {body}: {verdict.reason}")
