"""Rendering: a picture as text, Mermaid, DOT or data. Pure.

Names and labels are the user's: each form escapes what it would read as its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Final

from taskroute.graph.drawing.picture import Edge, Node, NodeKind, Picture

_MERMAID_SHAPES: Final[Mapping[NodeKind, tuple[str, str]]] = {
    "event": (">", "]"),
    "exchange": ("{{", "}}"),
    "queue": ("[(", ")]"),
    "handler": ("([", "])"),
}
_DOT_SHAPES: Final[Mapping[NodeKind, str]] = {
    "event": "note",
    "exchange": "hexagon",
    "queue": "cylinder",
    "handler": "box",
}
_MERMAID_SPECIAL: Final = '#"`<>&;\\'


def as_text(picture: Picture) -> str:
    """Return what leads on from each node, a paragraph each."""
    nodes, ways = picture.by_id(), picture.edges_by_source()
    reached = {edge.target for edge in picture.edges}
    shown = (node for node in picture.nodes if ways[node.id] or node.id not in reached or picture.count_of(node))
    paragraphs = [_paragraph(picture, node, ways[node.id], nodes) for node in shown]
    return "\n".join([*paragraphs, *([f"queues as they were at {picture.counts.at}"] if picture.counts else [])])


def as_mermaid(picture: Picture) -> str:
    """Return a Mermaid flowchart, as Markdown pages show it in a block of that name."""
    return "\n".join(_mermaid_lines(picture))


def as_dot(picture: Picture) -> str:
    """Return a graph for Graphviz."""
    return "\n".join(_dot_lines(picture))


def as_data(picture: Picture) -> dict[str, object]:
    """Return the picture for JSON."""
    nodes, edges = [_node_data(node) for node in picture.nodes], [asdict(edge) for edge in picture.edges]
    counts = {} if picture.counts is None else {"counts": asdict(picture.counts)}
    return {"nodes": nodes, "edges": edges, **counts}


def _node_data(node: Node) -> dict[str, object]:
    data = asdict(node)
    waits = data.pop("waits")
    return {**data, "waits": waits} if node.kind == "queue" else data


def _paragraph(picture: Picture, node: Node, ways: Iterable[Edge], nodes: Mapping[str, Node]) -> str:
    details = _details(picture, node)
    heading = f"{node.kind} {title_of(node)}{f' ({details})' if details else ''}"
    return "\n".join([heading, *(f"  {edge.label}{' ' * bool(edge.label)}-> {_target(edge, nodes)}" for edge in ways)])


def _details(picture: Picture, node: Node) -> str:
    return ", ".join(filter(None, (node.detail, picture.count_of(node))))


def _target(edge: Edge, nodes: Mapping[str, Node]) -> str:
    node = nodes[edge.target]
    return f"{node.kind} {title_of(node)}"


def title_of(node: Node) -> str:
    """Return what a node is called."""
    return node.name or "the default exchange"


def _numbered(picture: Picture) -> dict[str, str]:
    return {node.id: f"n{number}" for number, node in enumerate(picture.nodes)}


def _mermaid_lines(picture: Picture) -> Iterator[str]:
    numbers = _numbered(picture)
    yield "flowchart LR"
    if picture.counts:
        yield f"  %% queues as they were at {picture.counts.at}"
    for node in picture.nodes:
        opening, closing = _MERMAID_SHAPES[node.kind]
        details = _escaped(_details(picture, node), _mermaid)
        label = _escaped(title_of(node), _mermaid) + (f"<br/>{details}" if details else "")
        yield f'  {numbers[node.id]}{opening}"{label}"{closing}'
    for edge in picture.edges:
        arrow = "-.->" if edge.kind in ("alternate", "dead_letters") else "-->"
        label = f'|"{_escaped(edge.label, _mermaid)}"|' if edge.label else ""
        yield f"  {numbers[edge.source]} {arrow}{label} {numbers[edge.target]}"


def _mermaid(character: str) -> str:
    return f"#{ord(character)};" if character in _MERMAID_SPECIAL or not character.isprintable() else character


def _dot_lines(picture: Picture) -> Iterator[str]:
    numbers = _numbered(picture)
    yield "digraph taskroute {"
    yield "  rankdir=LR;"
    if picture.counts:
        yield f"  // queues as they were at {picture.counts.at}"
    for node in picture.nodes:
        details = _escaped(_details(picture, node), _dot)
        label = _escaped(title_of(node), _dot) + (f"\\n{details}" if details else "")
        yield f'  {numbers[node.id]} [label="{label}", shape={_DOT_SHAPES[node.kind]}];'
    for edge in picture.edges:
        style = ", style=dashed" if edge.kind in ("alternate", "dead_letters") else ""
        yield f'  {numbers[edge.source]} -> {numbers[edge.target]} [label="{_escaped(edge.label, _dot)}"{style}];'
    yield "}"


def _dot(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\\\{ord(character):x}"


def _escaped(text: str, escape: Callable[[str], str]) -> str:
    return "".join(map(escape, text))
