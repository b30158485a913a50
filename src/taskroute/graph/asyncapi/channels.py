"""Channels: from where handlers get messages, and to where events go, with who sends and who receives there. Pure.

A channel is an exchange with a pattern of keys; one that feeds a single queue by its name is that queue. Two patterns
with the same keys are one channel, so that an event meets its handlers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from taskroute.graph.asyncapi.narrowing import binding_pattern, narrowed
from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import ANY_WORDS, canonical
from taskroute.keys.matcher import Matcher
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


def operations_of(topology: Topology, handlers: Iterable[Handler]) -> tuple[Operation, ...]:
    """Return who sends and who receives. The first one of a channel names its wildcards: an event where there is one.

    That does not depend on the order of queues, bindings and handlers.
    """
    operations: list[Operation] = [*_sends(topology), *_receives(topology, handlers)]
    return tuple(dict.fromkeys(sorted(operations, key=_rank)))


def _rank(operation: Operation) -> tuple[bool, int, str]:
    channel = operation.channel
    if isinstance(channel, QueueChannel):
        names, text = 0, channel.queue
    else:
        names, text = len(channel.pattern.capture_names), str(channel.pattern)
    return not isinstance(operation, Sends), -names, text


def _sends(topology: Topology) -> Iterator[Sends]:
    """Yield where each event goes that the application publishes: not those that only a queue is bound with."""
    for event in dict.fromkeys(topology.events):
        exchange, pattern = str(event.exchange), event.pattern
        if exchange == "" and not pattern.capture_names:
            yield Sends(QueueChannel(str(pattern)), event)
        else:
            yield Sends(ExchangeChannel(exchange, pattern), event)


def _receives(topology: Topology, handlers: Iterable[Handler]) -> Iterator[Receives]:
    """Yield from where each handler gets its messages, by each of its queues.

    A queue that no exchange feeds for a handler is fed by its name: so are dead letters and messages that wait.
    """
    registered = tuple(handlers)
    named = {handler.queue for handler in registered} - {None}
    sent_to = {each.channel for each in _sends(topology)}
    for queue in [each for each in topology.all_queues if each.name in named] if named else topology.queues:
        feeds, by_name = _feeds(queue, topology), QueueChannel(queue.name)
        for handler in registered:
            if handler.queue in (None, queue.name):
                channels: list[Channel] = list(_fed_by(feeds, handler.pattern))
                if not channels or (by_name in sent_to and handler.pattern.matches(queue.name)):
                    channels.append(by_name)
                yield from (Receives(channel, queue.name, handler) for channel in channels)


class _Feed(NamedTuple):
    """A binding of a queue: its exchange, and its keys; None for every key."""

    exchange: str
    pattern: RoutingPattern | None


def _feeds(queue: QueueSpec, topology: Topology) -> Matcher[_Feed]:
    """Return the bindings of a queue, by the keys that they take."""
    feeds = Matcher[_Feed]()
    for binding in queue.bindings:
        exchange = topology.exchange(binding.exchange)
        pattern = binding_pattern(exchange, binding)
        feeds.add(ANY_WORDS if pattern is None else pattern.binding_key, _Feed(exchange.name, pattern))
    return feeds


def _fed_by(feeds: Matcher[_Feed], pattern: RoutingPattern) -> Iterator[Channel]:
    for feed in feeds.overlapping(pattern.binding_key):
        yield ExchangeChannel(feed.exchange, narrowed(pattern, feed.pattern))
