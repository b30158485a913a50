"""Explain: why a routing key goes where it goes, and which handler takes it there. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from taskroute.graph.explanation import Arrival, Explanation, Hop
from taskroute.handlers.handler import Handler
from taskroute.handlers.resolver import Resolver
from taskroute.keys.pattern import Captures
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.routing import Destination, all_routing_keys, binding_table
from taskroute.topology.topology import Topology


def explain(
    topology: Topology,
    handlers: Iterable[Handler],
    resolver: Resolver,
    *,
    routing_key: str,
    exchange: str,
    headers: Mapping[str, object],
) -> Explanation:
    """Follow one message through the topology to its handlers.

    Raises:
        UnknownExchangeError: the topology has no such exchange.
        TopologyError: an internal exchange, or a ``CC`` or ``BCC`` that is not a list of str.
    """
    queues = topology.route(routing_key, exchange=exchange, headers=headers)
    hops = tuple(_hops(topology, all_routing_keys(routing_key, headers), exchange, headers))
    every_handler = tuple(handlers)
    arrivals = (_arrive(topology.queue(name), routing_key, every_handler, resolver) for name in sorted(queues))
    events = (event for event in topology.all_events if _is_of(event, routing_key, exchange))
    return Explanation(routing_key, exchange, hops, tuple(arrivals), tuple(events))


def _is_of(event: EventSpec[Any], routing_key: str, exchange: str) -> bool:
    return str(event.exchange) == exchange and event.pattern.matches(routing_key)


def _hops(topology: Topology, keys: tuple[str, ...], exchange: str, headers: Mapping[str, object]) -> Iterator[Hop]:
    if exchange == "":
        known = {queue.name for queue in topology.all_queues}
        yield from (Hop("", Destination("queue", key), None) for key in keys if key in known)
        return
    seen = {exchange}
    pending = [exchange]
    while pending:
        source = topology.exchange(pending.pop(0))
        found = [hop for hop in _bindings_from(topology, source) if _lets_through(source, hop, keys, headers)]
        if not found and source.alternate_exchange is not None:
            found = [Hop(source.name, Destination("exchange", source.alternate_exchange), None)]
        yield from found
        onward = {hop.destination.name: None for hop in found if hop.destination.kind == "exchange"}
        pending += [name for name in onward if name not in seen]
        seen.update(onward)


def _bindings_from(topology: Topology, source: ExchangeSpec) -> Iterator[Hop]:
    for queue in topology.queues:
        for binding in queue.bindings:
            if binding.exchange == source.name:
                yield Hop(source.name, Destination("queue", queue.name), binding)
    for exchange in topology.exchanges:
        for binding in exchange.bindings:
            if binding.exchange == source.name:
                yield Hop(source.name, Destination("exchange", exchange.name), binding)


def _lets_through(source: ExchangeSpec, hop: Hop, keys: Iterable[str], headers: Mapping[str, object]) -> bool:
    if hop.binding is None:
        return True
    table = binding_table(source.type)
    table.add(hop.destination, hop.binding.binding_key, hop.binding.arguments)
    return bool(table.destinations(keys, headers))


def _arrive(queue: QueueSpec, routing_key: str, handlers: Iterable[Handler], resolver: Resolver) -> Arrival:
    match = resolver.resolve(queue.name, routing_key)
    winner = match.handler if match is not None else None
    captures: Captures = match.captures if match is not None else {}
    lost = tuple(
        (handler, _why_lost(handler, winner, routing_key))
        for handler in handlers
        if handler is not winner and handler.queue in (queue.name, None)
    )
    waits = _wait_queues(queue, winner)
    return Arrival(queue.name, winner, MappingProxyType(captures), lost, waits, queue.dead_letter_queue, queue.replaces)


def _wait_queues(queue: QueueSpec, handler: Handler | None) -> tuple[str, ...]:
    policy = queue.retry_policy if handler is None or handler.retry is None else handler.retry
    return tuple(map(queue.wait_queue, policy.delays)) if handler is not None and policy else ()


def _why_lost(handler: Handler, winner: Handler | None, routing_key: str) -> str:
    if winner is None or not handler.pattern.matches(routing_key):
        return "does not match"
    if handler.is_fallback and not winner.is_fallback:
        return "is a fallback"
    if handler.queue is None and winner.queue is not None:
        return "is for any queue, and the queue's own come first"
    return f"is less specific than {str(winner.pattern)!r}"
