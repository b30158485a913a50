"""Checks of keys: whether a message with each key that a queue lets in is handled, and only once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from taskroute.graph.check.finding import Finding, name_of
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import Way, find_key
from taskroute.handlers.handler import Handler
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec


def named_without_fallback(graph: Graph) -> Iterator[QueueSpec]:
    """Yield the queues that a handler names, in which some keys may have no handler."""
    queues = graph.topology.all_queues
    return (queue for queue in queues if queue.name in graph.named and not graph.fallbacks(queue.name))


def unhandled(graph: Graph, queue: QueueSpec) -> Iterator[Finding]:
    """Find a key that a queue lets in and no handler takes. Those of the topology's events are found as such."""
    events = [event for event in graph.topology.events if any(way.queue == queue.name for way in graph.ways.of(event))]
    for flow in graph.ways.into(queue):
        handlers = graph.sharing(queue.name, ".".join(min(flow.inside)))
        taken = [*(handler.pattern.tokens for handler in handlers), *(event.pattern.tokens for event in events)]
        key = find_key([flow.without(taken)])
        if key is not None:
            yield Finding(
                code="unhandled_key",
                severity="warning",
                subject=name_of(queue),
                witness=key,
                message=f"{name_of(queue)} lets in {key!r}, and no handler takes it: "
                f"add a handler or a fallback, or bind less; until then such messages are dead-lettered",
            )
            return


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
