"""Facts: what a page has to know to answer where a key goes, as data for JSON. Pure.

`routing.js` reads them, in the order in which `explain` walks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from taskroute.graph.check.finding import Finding, name_of
from taskroute.graph.drawing.picture import Edge, Picture, bound, handled_by
from taskroute.graph.drawing.rendering import title_of
from taskroute.handlers.handler import Handler, is_one_with
from taskroute.topology.durations import milliseconds
from taskroute.topology.exchange import BindingSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

Row = dict[str, Any]


def facts_of(
    picture: Picture, topology: Topology, handlers: Sequence[Handler], findings: Iterable[Finding]
) -> dict[str, list[Row]]:
    """Return the facts. Nodes and edges are known by their numbers in the picture."""
    nodes = {node.id: at for at, node in enumerate(picture.nodes)}
    edges = {edge: at for at, edge in enumerate(picture.edges)}
    subjects = _subjects(topology, handlers)
    return {
        "nodes": [{"kind": node.kind, "name": title_of(node), "detail": node.detail} for node in picture.nodes],
        "edges": [
            {"from": nodes[edge.source], "to": nodes[edge.target], "kind": edge.kind, "label": edge.label}
            for edge in picture.edges
        ],
        "exchanges": [
            {
                "name": each.name,
                "type": each.type,
                "alternate": each.alternate_exchange,
                "internal": each.internal,
                "node": nodes[f"exchange:{each.name}"],
            }
            for each in topology.exchanges
        ],
        "bindings": list(_bindings(topology, edges)),
        "queues": [_queue(each, nodes) for each in sorted(topology.all_queues, key=lambda each: each.name)],
        "handlers": list(_handlers(handlers, topology, nodes, edges)),
        "events": [
            {"exchange": str(each.exchange), "pattern": str(each.pattern), "body": each.body_name}
            for each in topology.all_events
        ],
        "findings": [
            {
                "severity": each.severity,
                "code": each.code,
                "message": each.message,
                "witness": each.witness,
                "node": nodes.get(subjects.get(each.subject, "")),
            }
            for each in findings
        ],
    }


def places_of(topology: Topology, handlers: Iterable[Handler], findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    """Return the findings of each node, by its id. Some have no place."""
    subjects = _subjects(topology, handlers)
    places: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.subject in subjects:
            places.setdefault(subjects[finding.subject], []).append(finding)
    return places


def _subjects(topology: Topology, handlers: Iterable[Handler]) -> dict[str, str]:
    """Return the ids of nodes by what findings call them."""
    named = {name_of(each): f"queue:{each.name}" for each in topology.all_queues}
    named |= {name_of(each): f"exchange:{each.name}" for each in topology.exchanges}
    for handler in handlers:
        named |= {name_of(handler): f"handler:{handler.name}", handler.name: f"handler:{handler.name}"}
    return named | {name_of(each): f"event:{each.exchange}:{each.pattern}" for each in topology.events}


def _bindings(topology: Topology, edges: dict[Edge, int]) -> Iterator[Row]:
    for queue in topology.queues:
        yield from (_binding("queue", queue.name, each, topology, edges) for each in queue.bindings)
    for exchange in topology.exchanges:
        yield from (_binding("exchange", exchange.name, each, topology, edges) for each in exchange.bindings)


def _binding(kind: str, name: str, binding: BindingSpec, topology: Topology, edges: dict[Edge, int]) -> Row:
    return {
        "exchange": binding.exchange,
        "kind": kind,
        "to": name,
        "key": binding.binding_key,
        "headers": json.dumps(dict(binding.arguments)),  # read as the headers of a message are
        "edge": edges[bound(binding, f"{kind}:{name}", topology)],
    }


def _queue(queue: QueueSpec, nodes: dict[str, int]) -> Row:
    delays = queue.retry_policy.delays if queue.retry_policy else ()
    return {
        "name": queue.name,
        "dead": queue.dead_letter_queue,
        "waits": [(milliseconds(delay), queue.wait_queue(delay)) for delay in delays],
        "node": nodes.get(f"queue:{queue.name}"),
    }


def _handlers(
    handlers: Sequence[Handler], topology: Topology, nodes: dict[str, int], edges: dict[Edge, int]
) -> Iterator[Row]:
    alike: dict[int, list[tuple[int, Handler]]] = {}
    for at, each in enumerate(handlers):
        others = alike.setdefault(id(each.function), [])
        same = next((number for number, other in others if is_one_with(each, other)), at)
        others.append((at, each))
        queues = (queue.name for queue in topology.all_queues) if each.queue is None else (each.queue,)
        found = ((name, edges.get(handled_by(each, name))) for name in queues)
        yield {
            "name": each.name,
            "queue": each.queue,
            "pattern": str(each.pattern),
            "fallback": each.is_fallback,
            "same": same,
            "waits": None if each.retry is None else [milliseconds(delay) for delay in _delays(each)],
            "node": nodes[f"handler:{each.name}"],
            "edges": [(name, edge) for name, edge in found if edge is not None],
        }


def _delays(handler: Handler) -> Sequence[Any]:
    return handler.retry.delays if handler.retry else ()
