"""Checks of events: whether each key of one reaches a queue and a handler, and whether handlers take its body."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from taskroute.graph.check.finding import Finding
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import BUDGET, find_key
from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import find_words
from taskroute.topology.event_spec import EventSpec


def declared(graph: Graph) -> Iterable[EventSpec[Any]]:
    """Return the events of the topology."""
    return graph.topology.events


def known(graph: Graph) -> Iterable[EventSpec[Any]]:
    """Return those, and what queues are bound with and handlers are registered for, if it is published here."""
    topology = graph.topology
    names = {"", *(exchange.name for exchange in topology.exchanges)}
    handled = (handler.event for handler in graph.handlers if handler.event is not None)
    return dict.fromkeys((*topology.all_events, *(event for event in handled if str(event.exchange) in names)))


def unrouted(graph: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    """Find a key of an event that reaches no queue, or may reach none without headers."""
    if graph.ways_without_headers.missed(event) is None:
        return
    key = graph.ways.missed(event)
    where = f"exchange {str(event.exchange)!r}" if str(event.exchange) else "the default exchange"
    if key is None:
        yield Finding(
            code="undecided",
            severity="info",
            subject=str(event),
            witness=None,
            message=f"{event}: which queue it reaches from {where} depends on the headers it is published with",
        )
        return
    yield Finding(
        code="event_unrouted",
        severity="info" if _may_be_bound_elsewhere(graph, event) else "error",
        subject=str(event),
        witness=key,
        message=f"{event}: {key!r} reaches no queue from {where}: bind a queue with the event's bind()",
    )


def _may_be_bound_elsewhere(graph: Graph, event: EventSpec[Any]) -> bool:
    return bool(str(event.exchange)) and graph.topology.exchange(event.exchange).passive


def unhandled(graph: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    """Find a key of an event that has no handler in a queue, or that no handler names a queue of the event."""
    reached = sorted({way.queue for way in graph.ways.of(event)})
    named = [queue for queue in reached if queue in graph.named]
    for queue in named:
        key = _key_in(graph, event, queue, without=graph.takers(queue, event.pattern.binding_key))
        if key is not None:
            yield Finding(
                code="event_unhandled",
                severity="error",
                subject=str(event),
                witness=key,
                message=f"{event}: {key!r} reaches queue {queue!r}, and no handler takes it: "
                f"add a handler or a fallback",
            )
    if reached and not named:
        yield Finding(
            code="event_unhandled",
            severity="info",
            subject=str(event),
            witness=_key_in(graph, event, reached[0]),
            message=f"{event}: no handler names a queue that it reaches ({', '.join(map(repr, reached))}); "
            f"another service may handle it",
        )


def unsendable(_: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    """Find that a body of an event is refused when it is published, as no handler of the same type could read it."""
    from taskroute.graph.bodies.refusals import unsendable as refused  # noqa: PLC0415 - as below

    outcomes = list(refused(event))
    errors = [error for error in outcomes if error is not None]
    if errors:
        words = find_words((event.pattern.tokens,), (), BUDGET)
        yield Finding(
            code="event_body",
            severity="error" if outcomes[0] is not None else "warning",  # the first one is as ordinary as can be
            subject=str(event),
            witness=".".join(words or ()),
            message=f"{event} cannot be published with every body of its type: {errors[0]}",
        )


def bodies(graph: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
    """Find that a handler refuses a body that an event may have, or that it may refuse one."""
    judged: set[Handler] = set()
    for queue in sorted(graph.named.intersection(way.queue for way in graph.ways.of(event))):
        for handler in graph.takers(queue, event.pattern.binding_key):
            key = _key_in(graph, event, queue, without=graph.winners(handler, queue), within=[handler])
            if key is not None and handler not in judged:
                judged.add(handler)
                yield from _body(event, handler, key)


def _body(event: EventSpec[Any], handler: Handler, key: str) -> Iterator[Finding]:
    from taskroute.graph.bodies.verdict import judge  # noqa: PLC0415 - only a topology with events pays for it

    verdict = judge(event, handler.plan.body)
    body = f"a body of {event} ({event.body_name})"
    if verdict.answer == "refused":
        yield Finding(
            code="event_body",
            severity="error",
            subject=str(handler),
            witness=key,
            message=f"{handler} refuses {body}: {verdict.reason}; such messages are dead-lettered: "
            f"let the handler's type read what the event's type writes",
        )
    elif verdict.answer == "undecided":
        yield Finding(
            code="undecided",
            severity="info",
            subject=str(handler),
            witness=key,
            message=f"{handler} may refuse {body}: {verdict.reason}",
        )


def _key_in(
    graph: Graph,
    event: EventSpec[Any],
    queue: str,
    *,
    without: Iterable[Handler] = (),
    within: Iterable[Handler] = (),
) -> str | None:
    """Return a key of an event that reaches a queue, that all handlers of `within` match and none of `without`."""
    patterns = [event.pattern.tokens, *(handler.pattern.tokens for handler in within)]
    taken = [handler.pattern.tokens for handler in without]
    return find_key((way.flow.without(taken) for way in graph.ways.of(event) if way.queue == queue), patterns)
