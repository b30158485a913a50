"""Checks of exchanges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from taskroute.graph.check.finding import Finding
from taskroute.graph.check.graph import BUDGET, Graph, arrival_order, decided
from taskroute.handlers.handler import Handler
from taskroute.topology.exchange import ExchangeSpec


def twice(graph: Graph) -> Iterator[Finding]:
    if not graph.any_queue:
        return
    for exchange in graph.topology.exchanges:
        if not exchange.internal:
            question = "whether one message is handled twice"
            yield from decided(f"exchange {exchange.name!r}", question, partial(_handled_twice, graph, exchange))


def _handled_twice(graph: Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    arrivals = graph.arrivals(exchange.name)
    for handler in graph.any_queue:
        arriving = arrivals.overlapping(handler.pattern.binding_key)
        for (first, one), (second, other) in combinations(sorted(arriving, key=arrival_order), 2):
            if first == second:
                continue
            winners = [*graph.winners(handler, first), *graph.winners(handler, second)]
            both = one.within(other)
            key = both.without(winner.pattern.tokens for winner in winners).witness((handler.pattern.tokens,), BUDGET)
            if key is not None:
                yield _twice_finding(handler, exchange, first, second, key)
                break


def _twice_finding(handler: Handler, exchange: ExchangeSpec, first: str, second: str, key: str) -> Finding:
    message = (
        f"{handler} handles {key!r} twice: exchange {exchange.name!r} puts it into {first!r} and into {second!r}, "
        f"and a worker that consumes both runs it for each: name the queue with queue=, or narrow a binding"
    )
    return Finding("handled_twice", "warning", str(handler), key, message)


def dead_ends(graph: Graph) -> Iterator[Finding]:
    for exchange in graph.topology.exchanges:
        if not exchange.passive:
            question = "whether a message can get anywhere"
            yield from decided(f"exchange {exchange.name!r}", question, partial(_dead_end, graph, exchange))


def _dead_end(graph: Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    flows = (flow for ways in graph.flows.beyond(exchange).values() for flow in ways)
    if not any(flow.witness(budget=BUDGET) is not None for flow in flows):
        subject = f"exchange {exchange.name!r}"
        message = f"{subject}: no message gets from it to any queue: bind a queue, or delete it"
        yield Finding("dead_end_exchange", "warning", subject, "x", message)
