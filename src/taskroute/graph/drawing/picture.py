"""Picture: the nodes and edges of a topology with its handlers, for whatever draws them. Pure.

Wait queues are no nodes: their queue names them, and an edge to the dead-letter queue tells the delays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from taskroute.graph.drawing.counts import Counts
from taskroute.handlers.handler import Handler
from taskroute.topology.exchange import BindingSpec
from taskroute.topology.queue import QueueSpec, wait_queues_of
from taskroute.topology.topology import Topology

NodeKind = Literal["event", "exchange", "queue", "handler"]
EdgeKind = Literal["publishes", "binds", "alternate", "handles", "dead_letters"]


@dataclass(frozen=True, slots=True)
class Wait:
    """A queue in which a message waits for its next attempt.

    Attributes:
        name: of the queue.
        seconds: how long.
    """

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Node:
    """Something that a message passes.

    Attributes:
        id: unique in its picture, the same in every picture of the same graph.
        kind: what it is.
        name: an event's pattern; the name of an exchange, a queue or a handler's function.
        detail: an event's type of body, an exchange's or a queue's type; empty for a handler.
        waits: of a queue: where its messages wait for their second, third, ... attempt.
    """

    id: str
    kind: NodeKind
    name: str
    detail: str = ""
    waits: tuple[Wait, ...] = ()


@dataclass(frozen=True, slots=True)
class Edge:
    """A way from one node to another.

    Attributes:
        source: the id of a node.
        target: the id of a node.
        kind: why a message goes there.
        label: binding key or headers, pattern, or the delays before a dead letter; empty for every message.
    """

    source: str
    target: str
    kind: EdgeKind
    label: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Nodes and edges, in the order of their declaration. Each edge is between two of the nodes.

    Attributes:
        nodes: what a message passes.
        edges: the ways between.
        counts: how much was in the queues, if somebody has looked.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    counts: Counts | None = None

    def count_of(self, node: Node) -> str:
        """Return how much was in a queue; empty for anything else, or if nobody has looked."""
        if self.counts is None or node.kind != "queue" or node.name not in self.counts.queues:
            return ""
        waits = [wait.name for wait in node.waits]
        return ", ".join([str(self.counts.queues[node.name]), *([self.counts.waiting(waits)] if waits else [])])

    def by_id(self) -> dict[str, Node]:
        """Return the nodes by their ids."""
        return {node.id: node for node in self.nodes}

    def edges_by_source(self) -> dict[str, list[Edge]]:
        """Return the ways that lead on from each node, by its id."""
        ways: dict[str, list[Edge]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            ways[edge.source].append(edge)
        return ways


def picture_of(topology: Topology, registered: Iterable[Handler]) -> Picture:
    """Return the picture of a topology and its handlers.

    Example:
        >>> jobs = QueueSpec(name="jobs", retry=False)
        >>> picture_of(Topology(queues=[jobs]), ()).nodes[0]
        Node(id='queue:jobs', kind='queue', name='jobs', detail='quorum', waits=())
    """
    handlers = tuple(registered)
    nodes = {node.id: node for node in _nodes(topology, handlers)}
    # Only between nodes: what is checked elsewhere, as a queue without a dead-letter queue, is no way.
    edges = dict.fromkeys(edge for edge in _edges(topology, handlers) if edge.source in nodes and edge.target in nodes)
    return Picture(tuple(nodes.values()), tuple(edges))


def _nodes(topology: Topology, handlers: tuple[Handler, ...]) -> Iterator[Node]:
    for event in topology.events:
        yield Node(_event_id(str(event.exchange), str(event.pattern)), "event", str(event.pattern), event.body_name)
        if str(event.exchange) == "":
            yield Node("exchange:", "exchange", "", "default")
    for exchange in topology.exchanges:
        yield Node(f"exchange:{exchange.name}", "exchange", exchange.name, exchange.type)
    waiting = {name for queue in topology.queues for name in wait_queues_of(queue)}
    for queue in topology.all_queues:
        if queue.name not in waiting:
            yield Node(f"queue:{queue.name}", "queue", queue.name, queue.queue_type, _waits(queue))
    for handler in handlers:
        yield Node(f"handler:{handler.name}", "handler", handler.name)


def _edges(topology: Topology, handlers: tuple[Handler, ...]) -> Iterator[Edge]:
    for event in topology.events:
        yield from _published(str(event.exchange), str(event.pattern))
    for target in topology.exchanges:
        yield from (bound(binding, f"exchange:{target.name}", topology) for binding in target.bindings)
    for queue in topology.queues:
        yield from (bound(binding, f"queue:{queue.name}", topology) for binding in queue.bindings)
    for source in topology.exchanges:
        yield Edge(f"exchange:{source.name}", f"exchange:{source.alternate_exchange}", "alternate", "otherwise")
    named = {handler.queue for handler in handlers}
    handled = [queue.name for queue in topology.queues if queue.name in named]
    for handler in handlers:
        # One for any queue serves those that the others name.
        for name in handled if handler.queue is None else (handler.queue,):
            yield handled_by(handler, name)
    for queue in topology.queues:
        yield Edge(f"queue:{queue.name}", f"queue:{queue.dead_letter_queue}", "dead_letters", _delays(queue))


def _published(exchange: str, pattern: str) -> Iterator[Edge]:
    yield Edge(_event_id(exchange, pattern), f"exchange:{exchange}", "publishes")
    if exchange == "":
        yield Edge("exchange:", f"queue:{pattern}", "binds", pattern)


def _event_id(exchange: str, pattern: str) -> str:
    return f"event:{exchange}:{pattern}"


def bound(binding: BindingSpec, target: str, topology: Topology) -> Edge:
    """Return the edge of a binding to a node."""
    kind = topology.exchange(binding.exchange).type
    headers = ", ".join(f"{name}={value!r}" for name, value in binding.headers.items())
    by_kind = {"fanout": "", "headers": f"{binding.match}: {headers}" if headers else ""}
    label = by_kind.get(kind, binding.binding_key or "the empty key")
    return Edge(f"exchange:{binding.exchange}", target, "binds", label)


def handled_by(handler: Handler, queue: str) -> Edge:
    """Return the edge from a queue to a handler."""
    label = "everything else" if handler.is_fallback else str(handler.pattern)
    return Edge(f"queue:{queue}", f"handler:{handler.name}", "handles", label)


def _waits(queue: QueueSpec) -> tuple[Wait, ...]:
    policy = queue.retry_policy
    return tuple(Wait(queue.wait_queue(delay), delay.total_seconds()) for delay in policy.delays) if policy else ()


def _delays(queue: QueueSpec) -> str:
    policy = queue.retry_policy
    delays = ", ".join(f"{delay.total_seconds():g} s" for delay in policy.delays) if policy else ""
    return f"failed, retried after {delays}" if delays else "failed"
