"""Blocks: what a drawing shows of a picture: boxes of text in layers, and lines between them. Pure.

From left to right: events, exchanges, the bindings from each, queues, their handlers and waits, and dead-letter queues.
Bindings between the same two stand in one block, and so do the waits of a queue, in the order of the attempts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from taskroute.graph.drawing.counts import Counts
from taskroute.graph.drawing.picture import EdgeKind, Node, Picture
from taskroute.quoting import escaped

BlockKind = Literal["event", "exchange", "bindings", "queue", "handler", "waits"]

_SHOWN: Final = 12
"""How many bindings or patterns a block spells out; the title tells the others."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of text.

    Attributes:
        text: in full; a drawing may cut it.
        style: a `name`, a `key`, a `note` about what it is, how `full` it is, or a `mark` that something is wrong.
        edges: those of the picture that it stands for, by their numbers.
        aside: a note in the same line.
    """

    text: str
    style: Literal["name", "key", "note", "full", "mark"]
    edges: tuple[int, ...] = ()
    aside: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A box of text.

    Attributes:
        kind: what it stands for.
        layer: counted from the left.
        rows: what is read in it.
        title: all that is to be told of it.
        node: the number of the picture's node that it shows, or belongs to.
    """

    kind: BlockKind
    layer: int
    rows: tuple[Row, ...]
    title: str
    node: int


@dataclass(frozen=True, slots=True)
class Line:
    """A way between two blocks, by their numbers.

    Attributes:
        source: where it begins.
        target: where it ends.
        kind: why a message goes there.
        edges: those of the picture that go along it, by their numbers.
        returns: whether messages come back on it.
    """

    source: int
    target: int
    kind: EdgeKind
    edges: tuple[int, ...] = ()
    returns: bool = False


@dataclass(slots=True)
class Blocks:
    """Blocks and lines. A picture's node has the block of its own number; the others follow."""

    blocks: list[Block] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def blocks_of(picture: Picture, marks: Mapping[str, str] = MappingProxyType({})) -> Blocks:
    """Return what a drawing shows of a picture, with marks at nodes, by their ids."""
    number = {node.id: at for at, node in enumerate(picture.nodes)}
    ends = [(number[edge.source], number[edge.target]) for edge in picture.edges]
    layers = _layers(picture, ends)
    found = Blocks()
    patterns: dict[int, dict[str, list[int]]] = {}
    for at, edge in enumerate(picture.edges):
        if edge.kind == "handles":
            patterns.setdefault(ends[at][1], {}).setdefault(edge.label, []).append(at)
    dead = {target for edge, (_, target) in zip(picture.edges, ends, strict=True) if edge.kind == "dead_letters"}
    for at, node in enumerate(picture.nodes):
        rows = (*_rows_of(node, at in dead), *_rows(patterns.get(at, {}), "patterns"), *_count_of(node, picture.counts))
        if node.id in marks:
            rows = (*rows, Row(f"\u26a0 {marks[node.id]}", "mark"))
        title = "\n".join([f"{node.kind} {rows[0].text}", *(f"{row.text} {row.aside}".strip() for row in rows[1:])])
        found.blocks.append(Block(node.kind, layers[at], rows, title, at))
    waits = {at: _add_waits(found, at, node, picture.counts) for at, node in enumerate(picture.nodes) if node.waits}
    for (source, target, kind), edges in _bundles(picture, ends).items():
        if kind in ("binds", "alternate"):
            _add_bindings(found, picture, source, target, kind, edges)
        elif kind == "dead_letters" and source in waits:
            found.lines.append(Line(waits[source], target, kind, edges))
        else:
            found.lines.append(Line(source, target, kind, edges))
    return _without_empty_layers(found)


def _bundles(picture: Picture, ends: Sequence[tuple[int, int]]) -> dict[tuple[int, int, EdgeKind], tuple[int, ...]]:
    """Return the edges of one kind between the same two nodes together."""
    bundles: dict[tuple[int, int, EdgeKind], list[int]] = {}
    for at, edge in enumerate(picture.edges):
        bundles.setdefault((*ends[at], edge.kind), []).append(at)
    return {key: tuple(edges) for key, edges in bundles.items()}


def _rows_of(node: Node, is_dead: bool) -> Iterator[Row]:
    name, detail = escaped(node.name) or "the default exchange", escaped(node.detail)
    if node.kind == "handler":
        module, _, function = name.rpartition(".")
        yield Row(function, "name", aside=f"in {module}" if module else "handler")
    else:
        notes = {"event": f"event, {detail}", "exchange": f"{detail} exchange", "queue": f"{detail} queue"}
        yield Row(name, "name")
        yield Row(notes[node.kind] + (", dead letters" if is_dead else ""), "note")


def _count_of(node: Node, counts: Counts | None) -> Iterator[Row]:
    if counts is not None and node.kind == "queue" and node.name in counts.queues:
        yield Row(str(counts.queues[node.name]), "full")


def _rows(edges_by_label: Mapping[str, Sequence[int]], what: str) -> Iterator[Row]:
    labels = list(edges_by_label)
    shown = labels if len(labels) <= _SHOWN else labels[: _SHOWN - 1]
    for label in shown:
        yield Row(escaped(label), "key", tuple(edges_by_label[label]))
    if len(labels) > len(shown):
        others = tuple(edge for label in labels[len(shown) :] for edge in edges_by_label[label])
        yield Row(f"and {len(labels) - len(shown)} more {what}", "note", others)


def _add_bindings(
    found: Blocks, picture: Picture, source: int, target: int, kind: EdgeKind, edges: tuple[int, ...]
) -> None:
    labels = {picture.edges[at].label or "every message": (at,) for at in edges}
    what = "binding" if kind == "binds" else "alternate exchange: what no binding takes"
    title = "\n".join([f"{what}, to {escaped(picture.nodes[target].name)}", *map(escaped, labels)])
    layer = found.blocks[target].layer - 1
    found.blocks.append(Block("bindings", layer, tuple(_rows(labels, "bindings")), title, target))
    middle = len(found.blocks) - 1
    found.lines += [Line(source, middle, kind, edges), Line(middle, target, kind, edges)]


def _add_waits(found: Blocks, at: int, node: Node, counts: Counts | None) -> int:
    names = list(dict.fromkeys(wait.name for wait in node.waits))
    delays = ", ".join(duration(wait.seconds) for wait in node.waits)
    rows = [Row(f"again after {delays}", "name"), Row(f"{len(names)} wait queue{'s' * (len(names) > 1)}", "note")]
    if counts is not None:
        rows.append(Row(counts.waiting(names), "full"))
    title = [
        "what fails waits, and is tried again",
        *(f"{duration(wait.seconds)}: {escaped(wait.name)}" for wait in node.waits),
    ]
    found.blocks.append(Block("waits", found.blocks[at].layer + 1, tuple(rows), "\n".join(title), at))
    found.lines.append(Line(at, len(found.blocks) - 1, "dead_letters", returns=True))
    return len(found.blocks) - 1


def duration(seconds: float) -> str:
    """Return a duration as people say it.

    >>> duration(5), duration(90), duration(600), duration(7200)
    ('5 s', '90 s', '10 min', '2 h')
    """
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _layers(picture: Picture, ends: Sequence[tuple[int, int]]) -> list[int]:
    """Return the layer of each node. Between two exchanges, and before the queues, there is one for bindings."""
    nodes, edges = picture.nodes, [(edge.kind, *end) for edge, end in zip(picture.edges, ends, strict=True)]
    exchanges = [at for at, node in enumerate(nodes) if node.kind == "exchange"]
    steps = [end for kind, *end in edges if kind in ("binds", "alternate") and nodes[end[1]].kind == "exchange"]
    rank = _ranks(exchanges, steps)
    first_queue = 3 + 2 * max(rank.values(), default=-1)
    bound = {target for kind, _, target in edges if kind == "binds"}
    queues = [at for at, node in enumerate(nodes) if node.kind == "queue"]
    fallen = [end for kind, *end in edges if kind == "dead_letters" and end[1] not in bound]
    depth = _ranks(queues, fallen)
    layers = [0] * len(nodes)
    for at, node in enumerate(nodes):
        if node.kind == "exchange":
            layers[at] = 1 + 2 * rank[at]
        elif node.kind == "queue":
            layers[at] = first_queue + 2 * depth[at]
        elif node.kind == "handler":
            layers[at] = first_queue + 1
    for kind, source, target in edges:
        if kind == "handles":
            layers[target] = max(layers[target], layers[source] + 1)
    return layers


def _ranks(nodes: Iterable[int], steps: Iterable[Sequence[int]]) -> dict[int, int]:
    """Return how many steps lead to each node on the longest way. A step that closes a circle does not count."""
    onward: dict[int, list[int]] = {node: [] for node in nodes}
    for source, target in steps:
        onward[source].append(target)
    done: list[int] = []
    state: dict[int, Literal["open", "done"]] = {}
    kept: dict[int, list[int]] = {node: [] for node in onward}
    for root in onward:
        pending = [root] if root not in state else []
        while pending:  # depth first, without recursion: a chain may be long
            node = pending[-1]
            if state.setdefault(node, "open") == "done":
                pending.pop()
            elif onward[node]:
                target = onward[node].pop()
                if state.get(target) != "open":
                    kept[node].append(target)
                    pending.append(target)
            else:
                state[pending.pop()] = "done"
                done.append(node)
    rank = dict.fromkeys(onward, 0)
    for node in reversed(done):
        for target in kept[node]:
            rank[target] = max(rank[target], rank[node] + 1)
    return rank


def _without_empty_layers(found: Blocks) -> Blocks:
    used = sorted({block.layer for block in found.blocks})
    new = {layer: at for at, layer in enumerate(used)}
    blocks = [Block(block.kind, new[block.layer], block.rows, block.title, block.node) for block in found.blocks]
    return Blocks(blocks, found.lines)
