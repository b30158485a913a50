"""Layout: where boxes stand that are in layers from left to right, and the ways of the lines between them. Pure.

It knows nothing of what is drawn. Each box stands as near to what it is connected with as those above and below it let
it: the sum of squares is as small as it can be (pool adjacent violators), layer by layer, from both sides in turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from taskroute.graph.drawing.layers import Layers, Slot, in_layers

_BETWEEN: Final = 12.0
"""From one box of a layer to the next."""

_BETWEEN_LANES: Final = 3.0

_NARROWEST, _WIDEST, _STEEPEST = 44.0, 140.0, 10.0
_SWEEPS: Final = 12
_LOOSE: Final = 0.05

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is.

    Attributes:
        corners: of each box, the upper left.
        ways: of each line, the points that it passes: two at each box and lane, where it arrives and where it leaves.
        width: of all.
        height: of all.
    """

    corners: tuple[Point, ...]
    ways: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def lay_out(boxes: Sequence[Slot], lines: Sequence[tuple[int, int]]) -> Layout:
    """Return the layout of boxes, and of lines between them by their numbers.

    Example:
        >>> lay_out([Slot(0, 50, 20), Slot(1, 50, 20)], [(0, 1)]).corners
        ((0.0, 0.0), (94.0, 0.0))
    """
    layers = in_layers(boxes, lines)
    middles = _middles(layers)
    columns = _columns(layers, middles)
    corners = tuple(
        (columns[slot.layer][0], middle - slot.height / 2) for slot, middle in zip(boxes, middles, strict=False)
    )
    ways = tuple(_way(chain, layers, columns, middles) for chain in layers.chains)
    height = max((middle + slot.height / 2 for middle, slot in zip(middles, layers.slots, strict=True)), default=0.0)
    width = max((x for way in ways for x, _ in way), default=0.0)
    return Layout(corners, ways, max(width, *(right for _, right in columns), 0.0), height)


def _middles(layers: Layers) -> list[float]:
    """Return the height of the middle of each box and lane; the uppermost begins at 0."""
    middles = [0.0] * len(layers.slots)
    for layer in layers.order:
        for number, middle in zip(layer, _stacked(layer, layers.slots), strict=True):
            middles[number] = middle
    pulls = _pulls(layers)
    for sweep in range(_SWEEPS):
        is_leftward = sweep % 2 == 0  # first from the right, where there is most
        for layer in layers.order[::-1] if is_leftward else layers.order:
            # Before everything has been placed once, only what has been counts.
            near = [[pull for pull in pulls[number] if sweep or pull.is_right] for number in layer]
            wanted = [_mean(each, middles, middles[number]) for each, number in zip(near, layer, strict=True)]
            weights = [sum(pull.strength for pull in each) or _LOOSE for each in near]
            for number, middle in zip(layer, _apart(layer, layers.slots, wanted, weights), strict=True):
                middles[number] = middle
    top = min((middle - slot.height / 2 for middle, slot in zip(middles, layers.slots, strict=True)), default=0.0)
    return [middle - top for middle in middles]


class _Pull(NamedTuple):
    """What a connection does to where a box stands."""

    other: int
    strength: float
    is_right: bool


def _pulls(layers: Layers) -> list[list[_Pull]]:
    """Return what pulls at each box: a connection that is one of many pulls less."""
    pulls: list[list[_Pull]] = [[] for _ in layers.slots]
    for one, others in enumerate(layers.right):
        for other in others:
            strength = 1 / max(len(others), len(layers.left[other]))
            pulls[one].append(_Pull(other, strength, is_right=True))
            pulls[other].append(_Pull(one, strength, is_right=False))
    return pulls


def _mean(pulls: Sequence[_Pull], middles: Sequence[float], otherwise: float) -> float:
    if not pulls:
        return otherwise
    return sum(pull.strength * middles[pull.other] for pull in pulls) / sum(pull.strength for pull in pulls)


def _stacked(layer: Sequence[int], slots: Sequence[Slot]) -> list[float]:
    """Return the middles of a layer whose boxes stand as close as they may, the first one at 0."""
    halves = [slots[number].height / 2 + (_BETWEEN if slots[number].width else _BETWEEN_LANES) / 2 for number in layer]
    return list(accumulate((one + other for one, other in pairwise(halves)), initial=0.0))[: len(layer)]


def _apart(
    layer: Sequence[int], slots: Sequence[Slot], wanted: Sequence[float], weights: Sequence[float]
) -> list[float]:
    """Return the middles nearest to those that are wanted, in this order and apart."""
    stacked = _stacked(layer, slots)
    blocks: list[tuple[float, float, int]] = []  # what stands together: its place, its weight, how many
    for want, offset, weight in zip(wanted, stacked, weights, strict=True):
        block = (want - offset, weight, 1)
        while blocks and blocks[-1][0] > block[0]:
            block = _pooled(blocks.pop(), block)
        blocks.append(block)
    places = [place for place, _, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(places, stacked, strict=True)]


def _pooled(above: tuple[float, float, int], below: tuple[float, float, int]) -> tuple[float, float, int]:
    weight = above[1] + below[1]
    return (above[0] * above[1] + below[0] * below[1]) / weight, weight, above[2] + below[2]


def _columns(layers: Layers, middles: Sequence[float]) -> list[tuple[float, float]]:
    """Return the left and right of each layer. Layers whose lines are steep stand further apart."""
    columns: list[tuple[float, float]] = []
    left = 0.0
    for layer in layers.order:
        right = left + max((layers.slots[number].width for number in layer), default=0.0)
        columns.append((left, right))
        climbs = [abs(middles[number] - middles[other]) for number in layer for other in layers.right[number]]
        climb = sum(climbs) / len(climbs) if climbs else 0.0
        left = right + min(_WIDEST, _NARROWEST + climb / _STEEPEST)
    return columns


def _way(
    chain: Sequence[int], layers: Layers, columns: Sequence[tuple[float, float]], middles: Sequence[float]
) -> tuple[Point, ...]:
    source, target = layers.slots[chain[0]], layers.slots[chain[-1]]
    if source.layer == target.layer:
        return _bracket(chain[0], chain[-1], layers, columns[source.layer], middles)
    points: list[Point] = []
    for number in chain:
        slot, (left, right) = layers.slots[number], columns[layers.slots[number].layer]
        right = left + slot.width if slot.width else right  # a box may be narrower than its column
        points += [(left, middles[number]), (right, middles[number])]
    if target.layer < source.layer:
        points = [point for one, other in zip(points[::2], points[1::2], strict=True) for point in (other, one)]
    return tuple(points[1:-1])


def _bracket(
    one: int, other: int, layers: Layers, column: tuple[float, float], middles: Sequence[float]
) -> tuple[Point, ...]:
    """Return the way between two boxes of one layer, at its right."""
    left, right = column
    out = right + _NARROWEST / 2
    return (
        (left + layers.slots[one].width, middles[one]),
        (out, middles[one]),
        (out, middles[other]),
        (left + layers.slots[other].width, middles[other]),
    )
