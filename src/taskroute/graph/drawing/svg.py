"""SVG: a picture drawn in layers from left to right. Pure, and the same for the same picture.

Its text is text, so that it can be selected and searched; what is too long is cut, and stands in full in a title. It
has no script and refers to nothing. A shape belongs to each kind, so that colours are not the only sign.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType
from typing import Final
from unicodedata import combining, east_asian_width

from taskroute.graph.drawing.blocks import Block, BlockKind, Line, blocks_of
from taskroute.graph.drawing.layers import Slot
from taskroute.graph.drawing.layout import Point, lay_out
from taskroute.graph.drawing.picture import Picture

_MARGIN: Final = 16.0
_PADDING: Final = 6.0
_SIDE: Final = 11.0
_RIM: Final = 6.0


@dataclass(frozen=True, slots=True)
class _Style:
    """How text of a row is drawn: the width of a character, the height of a line, and how many characters are shown."""

    character: float
    height: float
    longest: int


_STYLES: Final[Mapping[str, _Style]] = {
    "name": _Style(7.3, 16, 40),
    "key": _Style(7.3, 15, 36),
    "note": _Style(5.9, 14, 44),
    "full": _Style(6.3, 14, 44),
    "mark": _Style(6.3, 14, 44),
}


@cache
def page_file(name: str) -> str:
    """Return a file that is drawn with."""
    return files("taskroute.graph.drawing").joinpath("page", name).read_text(encoding="utf-8")


def as_svg(picture: Picture) -> str:
    """Return a drawing as a file of its own."""
    drawing = drawn(picture)
    size = f'width="{_number(drawing.width)}" height="{_number(drawing.height)}"'
    box = f'viewBox="0 0 {_number(drawing.width)} {_number(drawing.height)}"'
    label = escape(summary(picture))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img" aria-label="{label}">\n'
        f"<title>{label}</title>\n<style>\n{page_file('drawing.css')}</style>\n"
        f'<rect class="paper" width="100%" height="100%" rx="8"/>\n{drawing.body}\n</svg>'
    )


def summary(picture: Picture) -> str:
    """Return what a picture shows, in a line."""
    kinds = [node.kind for node in picture.nodes]
    counts = [(kinds.count(kind), kind) for kind in ("exchange", "queue", "handler")]
    return "Route graph: " + ", ".join(f"{count} {kind}{'s' * (count != 1)}" for count, kind in counts)


@dataclass(frozen=True, slots=True)
class Drawing:
    """The elements of a drawing, and its size.

    Attributes:
        body: elements of SVG. A block has the attribute `data-node`, a line and a row `data-edges`.
        width: of it.
        height: of it.
    """

    body: str
    width: float
    height: float


def drawn(picture: Picture, marks: Mapping[str, str] = MappingProxyType({})) -> Drawing:
    """Return the elements of a picture's drawing, with marks at nodes, by their ids."""
    found = blocks_of(picture, marks)
    slots = _slots(found.blocks)
    layout = lay_out(slots, [(line.source, line.target) for line in found.lines])
    foot = f"queues as they were at {picture.counts.at}" if picture.counts else ""
    parts = [f"<defs>{_arrow('head')}{_arrow('lit-head')}</defs>"]
    for line, way in zip(found.lines, layout.ways, strict=True):
        parts.append(_line(line, way, goes_on=found.blocks[line.target].kind == "bindings"))
    parts += [_block(*each) for each in zip(found.blocks, slots, layout.corners, strict=True)]
    width = max(layout.width, _width(foot, _STYLES["note"])) + 2 * _MARGIN
    height = layout.height + 2 * _MARGIN + (20 if foot else 0)
    if foot:
        parts.append(f'<text class="note" x="{_number(_MARGIN)}" y="{_number(height - 12)}">{escape(foot)}</text>')
    return Drawing("\n".join(parts), width, height)


def _arrow(name: str) -> str:
    """Return the head of a line, as large for a thick one."""
    return (
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerUnits="userSpaceOnUse" markerWidth="9" '
        f'markerHeight="9" orient="auto-start-reverse"><path class="{name}" d="M0 0L10 5L0 10z"/></marker>'
    )


def _slots(blocks: Sequence[Block]) -> list[Slot]:
    """Return the size of each block: those of a kind in one layer are equally wide."""
    widths: dict[tuple[BlockKind, int], float] = {}
    for block in blocks:
        key = block.kind, block.layer
        widths[key] = max(widths.get(key, 0.0), *(_row_width(row.text, row.style, row.aside) for row in block.rows))
    return [
        Slot(
            block.layer,
            widths[block.kind, block.layer] + 2 * _SIDE + (_RIM if block.kind == "queue" else 0),
            sum(_STYLES[row.style].height for row in block.rows) + 2 * _PADDING,
        )
        for block in blocks
    ]


def _row_width(text: str, style: str, aside: str) -> float:
    width = _width(_cut(text, _STYLES[style].longest), _STYLES[style])
    return width + _width(f"  {_cut(aside, 28)}", _STYLES["note"]) if aside else width


def _width(text: str, style: _Style) -> float:
    cells = sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)
    return cells * style.character


def _cut(text: str, longest: int) -> str:
    """Return a text with its middle left out if it is long: names of one service begin alike, and end alike."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}\u2026{text[len(text) - (longest - longest // 2 - 1) :]}"


def _block(block: Block, slot: Slot, corner: Point) -> str:
    x, y = corner[0] + _MARGIN, corner[1] + _MARGIN
    rows = []
    baseline = y + _PADDING
    for row in block.rows:
        style = _STYLES[row.style]
        baseline += style.height
        edges = f' data-edges="{" ".join(map(str, row.edges))}"' if row.edges else ""
        aside = f'<tspan class="note" dx="7">{escape(_cut(row.aside, 28))}</tspan>' if row.aside else ""
        place = f'x="{_number(x + _SIDE)}" y="{_number(baseline - 4)}"'
        rows.append(f'<text class="{row.style}" {place}{edges}>{escape(_cut(row.text, style.longest))}{aside}</text>')
    title = f"<title>{escape(block.title)}</title>"
    shape = _SHAPES[block.kind](x, y, slot.width, slot.height)
    return f'<g class="{block.kind}" data-node="{block.node}">{title}{shape}{"".join(rows)}</g>'


def _line(line: Line, way: Sequence[Point], *, goes_on: bool) -> str:
    """Return a line. One that goes on behind bindings has its arrow there."""
    start = ' marker-start="url(#head)"' if line.returns else ""
    end = "" if goes_on else ' marker-end="url(#head)"'
    edges = f' data-edges="{" ".join(map(str, line.edges))}"' if line.edges else ""
    ends = f'data-from="{line.source}" data-to="{line.target}"'
    return f'<path class="line {line.kind}" {ends}{edges}{start}{end} d="{"".join(_path(way))}"/>'


def _path(way: Sequence[Point]) -> Iterator[str]:
    """Yield a curve from each box or lane to the next, and a straight line along each lane."""
    points = [(x + _MARGIN, y + _MARGIN) for x, y in way]
    yield f"M{_point(*points[0])}"
    for at, ((left, top), (right, bottom)) in enumerate(pairwise(points)):
        middle = (left + right) / 2
        yield f"C{_point(middle, top)} {_point(middle, bottom)} " if at % 2 == 0 else "L"
        yield _point(right, bottom)


def _point(x: float, y: float) -> str:
    return f"{_number(x)} {_number(y)}"


def _box(x: float, y: float, width: float, height: float, radius: float) -> str:
    size = f'width="{_number(width)}" height="{_number(height)}" rx="{_number(radius)}"'
    return f'<rect class="shape" x="{_number(x)}" y="{_number(y)}" {size}/>'


def _note(x: float, y: float, width: float, height: float) -> str:
    """A sheet with a corner turned down."""
    outline = f"M{_point(x, y)}h{_number(width - 10)}l10 10v{_number(height - 10)}h{_number(-width)}z"
    return f'<path class="shape" d="{outline}m{_number(width - 10)} 0v10h10"/>'


def _hexagon(x: float, y: float, width: float, height: float) -> str:
    half = height / 2
    left, right = f"l-7 {_number(-half)}l7 {_number(-half)}", f"l7 {_number(half)}l-7 {_number(half)}"
    return f'<path class="shape" d="M{_point(x + 7, y)}h{_number(width - 14)}{right}h{_number(14 - width)}{left}z"/>'


def _cylinder(x: float, y: float, width: float, height: float) -> str:
    """A queue: a tube that lies on its side."""
    bow = f"a5 {_number(height / 2)} 0 0"
    body = f"M{_point(x + 5, y)}h{_number(width - 10)}{bow} 1 0 {_number(height)}h{_number(10 - width)}"
    rim = f"m{_number(width - 10)} 0{bow} 0 0 {_number(height)}"
    return f'<path class="shape" d="{body}{bow} 1 0 {_number(-height)}z{rim}"/>'


def _tab(x: float, y: float, width: float, height: float) -> str:
    """A handler: a box with a bar."""
    return _box(x, y, width, height, 5) + f'<path class="shape" d="M{_point(x + 4, y + 5)}v{_number(height - 10)}"/>'


def _pill(x: float, y: float, width: float, height: float) -> str:
    return _box(x, y, width, height, 12)


def _waiting(x: float, y: float, width: float, height: float) -> str:
    return _box(x, y, width, height, 5)


_SHAPES: Final[Mapping[BlockKind, Callable[[float, float, float, float], str]]] = {
    "event": _note,
    "exchange": _hexagon,
    "bindings": _pill,
    "queue": _cylinder,
    "handler": _tab,
    "waits": _waiting,
}


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
