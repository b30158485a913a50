"""Explanation: the way of one message, as data and as text for people."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from taskroute.exported import exported_by
from taskroute.handlers.handler import Handler
from taskroute.quoting import shorten
from taskroute.topology.event_spec import AnyEvent
from taskroute.topology.exchange import BindingSpec
from taskroute.topology.routing import Destination

_SHOWN: Final = 8
"""How many handlers that do not match the key the text names."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A step of a message. `binding` None: by the default exchange, or to an alternate exchange."""

    source: str
    destination: Destination
    binding: BindingSpec | None

    def __str__(self) -> str:
        kind, name = self.destination
        return f"{_way(self)} -> {kind} {name!r}"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A queue that the message reaches, and what happens there.

    Attributes:
        queue: the name.
        handler: the handler that takes the message, None when none does and it is dead-lettered.
        captures: what the handler's pattern captures.
        lost: each other handler of the queue or of any queue, and why it does not take the message.
        wait_queues: where the message waits for its second, third, ... attempt when the handler fails.
        dead_letter_queue: where the message goes after the last attempt, None when it is dropped.
        replaces: the older queue that the message comes to instead while that one is bound; it is handled alike.
    """

    queue: str
    handler: Handler | None
    captures: Mapping[str, str | tuple[str, ...]]
    lost: tuple[tuple[Handler, str], ...]
    wait_queues: tuple[str, ...]
    dead_letter_queue: str | None
    replaces: str | None = None


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Explanation:
    """The way of one message. Its `str` is a text for people.

    Attributes:
        routing_key: of the message.
        exchange: to which it is published, empty for the default exchange.
        hops: the bindings that it takes, in order.
        arrivals: the queues that it reaches, by name.
        events: those of the topology that have this key.
    """

    routing_key: str
    exchange: str
    hops: tuple[Hop, ...]
    arrivals: tuple[Arrival, ...]
    events: tuple[AnyEvent, ...] = ()

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


def _arrival_lines(arrival: Arrival) -> Iterator[str]:
    yield f"  queue {arrival.queue!r}"
    if arrival.replaces is not None:
        yield f"    or {arrival.replaces!r}, which it replaces and which is consumed while it is there"
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
