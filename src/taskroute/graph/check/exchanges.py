"""Checks of exchanges: whether messages get anywhere, and whether one message is handled more than once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from taskroute.graph.check.finding import Finding, name_of
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import Way, find_key
from taskroute.handlers.handler import Handler
from taskroute.topology.exchange import ExchangeSpec


def published_to(graph: Graph) -> Iterator[ExchangeSpec]:
    """Yield the exchanges that publishers can use."""
    return (exchange for exchange in graph.topology.exchanges if not exchange.internal)


def handled_twice(graph: Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    """Find that one message runs a handler for any queue in two queues."""
    for handler in graph.for_any_queue:
        ways = graph.ways.sharing(exchange.name, handler.pattern.binding_key)
        for one, other in combinations(ways, 2):
            key = _key_of_both(graph, handler, one, other) if one.queue != other.queue else None
            if key is not None:
                yield Finding(
                    code="handled_twice",
                    severity="warning",
                    subject=str(handler),
                    witness=key,
                    message=f"{handler} handles {key!r} twice: {name_of(exchange)} puts it into {one.queue!r} and into "
                    f"{other.queue!r}, and a worker that consumes both runs it for each: "
                    f"name the queue with queue=, or narrow a binding",
                )
                break


def _key_of_both(graph: Graph, handler: Handler, one: Way, other: Way) -> str | None:
    """Return a key that takes both ways, and that the handler takes in both queues."""
    winners = [*graph.winners(handler, one.queue), *graph.winners(handler, other.queue)]
    both = one.flow.within(other.flow).without(winner.pattern.tokens for winner in winners)
    return find_key([both], [handler.pattern.tokens])


def declared_here(graph: Graph) -> Iterator[ExchangeSpec]:
    """Yield the exchanges that no other service declares, so that all their bindings are known."""
    return (exchange for exchange in graph.topology.exchanges if not exchange.passive)


def dead_end(graph: Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    """Find that no message gets from an exchange to a queue."""
    if find_key(graph.ways.beyond(exchange)) is None:
        yield Finding(
            code="dead_end_exchange",
            severity="warning",
            subject=name_of(exchange),
            witness="x",
            message=f"{name_of(exchange)}: no message gets from it to any queue: bind a queue, or delete it",
        )
