"""Picture: the nodes and edges of a topology with its handlers, for whatever draws them. Pure.

Wait queues are no nodes: an edge to the dead-letter queue tells the delays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from taskroute.handlers.handler import Handler
from taskroute.topology.exchange import BindingSpec
from taskroute.topology.queue import QueueSpec, wait_queues_of
from taskroute.topology.topology import Topology

NodeKind = Literal["event", "exchange", "queue", "handler"]
EdgeKind = Literal["publishes", "binds", "alternate", "handles", "dead_letters"]


@dataclass(frozen=True, slots=True)
class Node:
    """Something that a message passes.

    Attributes:
        id: unique in its picture, the same in every picture of the same graph.
        kind: what it is.
        name: an event's pattern; the name of an exchange, a queue or a handler's function.
        detail: an event's type of body, an exchange's or a queue's type; empty for a handler.
    """

    id: str
    kind: NodeKind
    name: str
    detail: str = ""


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
    """Nodes and edges, in the order of their declaration. Each edge is between two of the nodes."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def edges_from(self, node: Node) -> tuple[Edge, ...]:
        """Return the ways that lead on from a node."""
        return tuple(edge for edge in self.edges if edge.source == node.id)

    def node(self, identity: str) -> Node:
        """Return the node with that id."""
        return next(node for node in self.nodes if node.id == identity)


def picture_of(topology: Topology, registered: Iterable[Handler]) -> Picture:
    """Return the picture of a topology and its handlers.

    Example:
        >>> jobs = QueueSpec(name="jobs")
        >>> picture_of(Topology(queues=[jobs]), ()).nodes[0]
        Node(id='queue:jobs', kind='queue', name='jobs', detail='quorum')
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
            yield Node(f"queue:{queue.name}", "queue", queue.name, queue.queue_type)
    for handler in handlers:
        yield Node(f"handler:{handler.name}", "handler", handler.name)


def _edges(topology: Topology, handlers: tuple[Handler, ...]) -> Iterator[Edge]:
    for event in topology.events:
        yield from _published(str(event.exchange), str(event.pattern))
    for target in topology.exchanges:
        yield from _bindings(target.bindings, f"exchange:{target.name}", topology)
    for queue in topology.queues:
        yield from _bindings(queue.bindings, f"queue:{queue.name}", topology)
    for source in topology.exchanges:
        yield Edge(f"exchange:{source.name}", f"exchange:{source.alternate_exchange}", "alternate", "otherwise")
    for handler in handlers:
        label = "everything else" if handler.is_fallback else str(handler.pattern)
        for name in _queues_of(handler, topology, handlers):
            yield Edge(f"queue:{name}", f"handler:{handler.name}", "handles", label)
    for queue in topology.queues:
        yield Edge(f"queue:{queue.name}", f"queue:{queue.dead_letter_queue}", "dead_letters", _delays(queue))


def _published(exchange: str, pattern: str) -> Iterator[Edge]:
    yield Edge(_event_id(exchange, pattern), f"exchange:{exchange}", "publishes")
    if exchange == "":
        yield Edge("exchange:", f"queue:{pattern}", "binds", pattern)


def _event_id(exchange: str, pattern: str) -> str:
    return f"event:{exchange}:{pattern}"


def _bindings(bindings: Iterable[BindingSpec], target: str, topology: Topology) -> Iterator[Edge]:
    for binding in bindings:
        kind = topology.exchange(binding.exchange).type
        headers = ", ".join(f"{name}={value!r}" for name, value in binding.headers.items())
        by_kind = {"fanout": "", "headers": f"{binding.match}: {headers}" if headers else ""}
        label = by_kind.get(kind, binding.binding_key or "the empty key")
        yield Edge(f"exchange:{binding.exchange}", target, "binds", label)


def _queues_of(handler: Handler, topology: Topology, handlers: tuple[Handler, ...]) -> Iterable[str]:
    """Return the queues whose messages a handler gets: one for any queue serves those that the others name."""
    if handler.queue is not None:
        return (handler.queue,)
    named = {other.queue for other in handlers}
    return [queue.name for queue in topology.queues if queue.name in named]


def _delays(queue: QueueSpec) -> str:
    policy = queue.retry_policy
    delays = ", ".join(f"{delay.total_seconds():g} s" for delay in policy.delays) if policy else ""
    return f"failed, retried after {delays}" if delays else "failed"
