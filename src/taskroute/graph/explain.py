"""Explain: why a routing key goes where it goes, and which handler takes it there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from taskroute.handlers.handler import Handler
from taskroute.handlers.resolver import Resolver
from taskroute.keys.pattern import Captures
from taskroute.quoting import shorten
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.routing import Destination, all_routing_keys, binding_table
from taskroute.topology.topology import Topology

_SHOWN: Final = 8
"""Handlers that do not match the key and are still named in the text."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One binding that lets the message through. `binding` None: the alternate or the default exchange's way."""

    source: str
    destination: Destination
    binding: BindingSpec | None

    def __str__(self) -> str:
        kind, name = self.destination
        return f"{_way(self)} -> {kind} {name!r}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A queue that the message reaches, and what becomes of it there.

    Attributes:
        queue: its name.
        handler: who takes it; None: nobody, so that it is dead-lettered.
        captures: what the handler's pattern captures.
        lost: every other handler that the queue could have, and why it is not the one.
        wait_queues: where it waits for its second, third, ... attempt when the handler fails.
        dead_letter_queue: where it goes when it fails for good, None when it is dropped.
    """

    queue: str
    handler: Handler | None
    captures: Mapping[str, str | tuple[str, ...]]
    lost: tuple[tuple[Handler, str], ...]
    wait_queues: tuple[str, ...]
    dead_letter_queue: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The way of one message: `hops` in the order in which they are taken, `arrivals` by queue name.

    `events`: the topology's events that have this key. `str` of it is for people.
    """

    routing_key: str
    exchange: str
    hops: tuple[Hop, ...]
    arrivals: tuple[Arrival, ...]
    events: tuple[EventSpec[Any], ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        source = f"exchange {self.exchange!r}" if self.exchange else "the default exchange"
        yield f"key {shorten(self.routing_key)} published to {source}"
        for event in self.events:
            yield f"  {event} with a body of {event.body_name}"
        for hop in self.hops:
            yield f"  {hop}"
        if not self.arrivals:
            yield "  reaches no queue: a mandatory message is returned, any other is dropped"
        for arrival in self.arrivals:
            yield from _arrival_lines(arrival)


def explain(
    topology: Topology,
    handlers: Iterable[Handler],
    resolver: Resolver,
    *,
    routing_key: str,
    exchange: str,
    headers: Mapping[str, object],
) -> Explanation:
    """Follow one message through the topology to its handlers. Pure.

    Raises:
        UnknownExchangeError: the topology has no such exchange.
        TopologyError: an internal exchange, or a ``CC`` or ``BCC`` that is no list of str.
    """
    queues = topology.route(routing_key, exchange=exchange, headers=headers)
    hops = tuple(_hops(topology, all_routing_keys(routing_key, headers), exchange, headers))
    every_handler = tuple(handlers)
    arrivals = (_arrive(topology.queue(name), routing_key, every_handler, resolver) for name in sorted(queues))
    events = (event for event in topology.events if _is_of(event, routing_key, exchange))
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
    return Arrival(queue.name, winner, MappingProxyType(captures), lost, waits, queue.dead_letter_queue)


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


def _arrival_lines(arrival: Arrival) -> Iterator[str]:
    yield f"  queue {arrival.queue!r}"
    if arrival.handler is None:
        fate = f"goes to {arrival.dead_letter_queue!r}" if arrival.dead_letter_queue else "is dropped"
        yield f"    no handler takes it, and it {fate}"
    else:
        captured = ", ".join(f"{name}={value!r}" for name, value in arrival.captures.items())
        yield f"    handled by {arrival.handler}" + (f" with {captured}" if captured else "")
        last = repr(arrival.dead_letter_queue) if arrival.dead_letter_queue else "dropped"
        yield f"    if that fails: {' -> '.join([*map(repr, arrival.wait_queues), last])}"
    no_match = [handler for handler, why in arrival.lost if why == "does not match"]
    for handler, why in arrival.lost:
        if why != "does not match":
            yield f"    not by {handler}: {why}"
    for handler in no_match[:_SHOWN]:
        yield f"    not by {handler}: does not match"
    if len(no_match) > _SHOWN:
        yield f"    nor by {len(no_match) - _SHOWN} others that do not match"


def _way(hop: Hop) -> str:
    if not hop.source:
        return "the default exchange"
    if hop.binding is None:
        return f"exchange {hop.source!r}, as nothing else takes it, its alternate"
    headers = ", ".join(f"{name}={value!r}" for name, value in hop.binding.headers.items())
    if headers:
        return f"exchange {hop.source!r}, binding by headers ({hop.binding.match}: {headers})"
    return f"exchange {hop.source!r}, binding {hop.binding.binding_key!r}"
