"""Checks of events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from taskroute.graph.check.finding import Finding, Severity
from taskroute.graph.check.graph import BUDGET, Graph, decided
from taskroute.graph.reachability import find_missed
from taskroute.handlers.handler import Handler
from taskroute.topology.event_spec import EventSpec


def events(graph: Graph) -> Iterator[Finding]:
    for event in graph.topology.events:
        looks = {
            "whether every key reaches a queue": _unrouted_event,
            "whether every key has a handler": _unhandled_event,
            "which handlers take it": _event_bodies,
        }
        for question, look in looks.items():
            yield from decided(str(event), question, partial(look, graph, event))


def _unrouted_event(graph: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
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


def _missed(graph: Graph, event: EventSpec[Any], *, headers: bool) -> str | None:
    return find_missed(event.pattern.tokens, [flow for _, flow in graph.ways(event, headers=headers)], BUDGET)


def _may_be_bound_elsewhere(graph: Graph, event: EventSpec[Any]) -> bool:
    return bool(str(event.exchange)) and graph.topology.exchange(event.exchange).passive


def _unhandled_event(graph: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
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


def _unhandled_in(graph: Graph, event: EventSpec[Any], queue: str) -> str | None:
    """A key of an event that no handler of a queue takes."""
    takers = graph.takers(queue, event.pattern.binding_key)
    return _key_through(graph, event, queue, without=takers, within=())


def _key_through(
    graph: Graph, event: EventSpec[Any], queue: str, without: Iterable[Handler], within: Iterable[Handler]
) -> str | None:
    """A key of an event that reaches a queue, that all handlers of `within` match and none of `without`."""
    patterns = [event.pattern.tokens, *(handler.pattern.tokens for handler in within)]
    taken = [handler.pattern.tokens for handler in without]
    keys = (flow.without(taken).witness(patterns, BUDGET) for name, flow in graph.ways(event) if name == queue)
    return next((key for key in keys if key is not None), None)


def _event_bodies(graph: Graph, event: EventSpec[Any]) -> Iterator[Finding]:
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
