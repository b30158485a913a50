"""Channels: from where handlers get messages, and to where events go, with who sends and who receives there. Pure.

A channel is an exchange with a pattern of keys; one that feeds a single queue by its name is that queue. Two patterns
with the same keys are one channel, so that an event meets its handlers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import canonical
from taskroute.keys.pattern import RoutingPattern
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology


@dataclass(frozen=True, slots=True)
class ExchangeChannel:
    """Keys of an exchange; the default exchange is named "". Two with the same keys are equal."""

    exchange: str
    pattern: RoutingPattern = field(compare=False)
    keys: tuple[tuple[str, ...], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", canonical(self.pattern.tokens))


@dataclass(frozen=True, slots=True)
class QueueChannel:
    """A queue, by its name alone."""

    queue: str


Channel = ExchangeChannel | QueueChannel


@dataclass(frozen=True, slots=True)
class Sends:
    """An event that is published to a channel."""

    channel: Channel
    event: EventSpec[Any]


@dataclass(frozen=True, slots=True)
class Receives:
    """A handler that gets messages of a channel by a queue."""

    channel: Channel
    queue: str
    handler: Handler


Operation = Sends | Receives


def sends_of(topology: Topology) -> Iterator[Sends]:
    """Yield where each event goes."""
    for event in topology.all_events:
        exchange, pattern = str(event.exchange), event.pattern
        if exchange == "" and not pattern.capture_names:
            yield Sends(QueueChannel(str(pattern)), event)
        else:
            yield Sends(ExchangeChannel(exchange, pattern), event)


def receives_of(topology: Topology, handlers: Iterable[Handler]) -> Iterator[Receives]:
    """Yield from where each handler gets its messages, by each of its queues."""
    registered = tuple(handlers)
    named = {handler.queue for handler in registered} - {None}
    for handler in registered:
        for queue in topology.all_queues:
            if handler.queue in (None, queue.name) and (queue.name in named or not named):
                for channel in dict.fromkeys(_channels(handler, queue)):
                    yield Receives(channel, queue.name, handler)


def _channels(handler: Handler, queue: QueueSpec) -> Iterator[Channel]:
    feeding = {binding.exchange for binding in queue.bindings}
    for exchange in sorted(feeding):
        yield ExchangeChannel(exchange, handler.pattern)
    if not feeding:
        yield QueueChannel(queue.name)
