"""Layers: boxes in columns, and in each the order in which few lines cross. Pure.

A line that passes a layer has a place of its own there, a lane. A layer is ordered by the barycentre of what its boxes
are connected with in the layer before it, from the left and from the right in turn. The same input has the same order.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_LANE: Final = 6.0
_SWEEPS: Final = 8


@dataclass(frozen=True, slots=True)
class Slot:
    """A box before it has a place: its layer, counted from the left, and its size."""

    layer: int
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layers:
    """Boxes and lanes in their layers. All are known by their numbers; the boxes come first.

    Attributes:
        slots: of each box and lane.
        left: what each is connected with in the layer to its left.
        right: the same to its right.
        chains: the boxes and lanes that each line passes, from its source to its target.
        order: those of each layer, from top to bottom.
    """

    slots: tuple[Slot, ...]
    left: tuple[tuple[int, ...], ...]
    right: tuple[tuple[int, ...], ...]
    chains: tuple[tuple[int, ...], ...]
    order: tuple[tuple[int, ...], ...]


def in_layers(boxes: Sequence[Slot], lines: Sequence[tuple[int, int]]) -> Layers:
    """Return boxes and the lanes of the lines between them, ordered."""
    slots = list(boxes)
    chains = tuple(tuple(_chain(slots, source, target)) for source, target in lines)
    left: list[list[int]] = [[] for _ in slots]
    right: list[list[int]] = [[] for _ in slots]
    for chain in chains:
        for one, other in pairwise(chain):
            first, second = (one, other) if slots[one].layer <= slots[other].layer else (other, one)
            if slots[first].layer != slots[second].layer:
                right[first].append(second)
                left[second].append(first)
    order: list[list[int]] = [[] for _ in range(1 + max((slot.layer for slot in slots), default=-1))]
    for number, slot in enumerate(slots):
        order[slot.layer].append(number)
    best = tuple(map(tuple, _sorted(order, left, right)))
    return Layers(tuple(slots), tuple(map(tuple, left)), tuple(map(tuple, right)), chains, best)


def _chain(slots: list[Slot], source: int, target: int) -> Iterator[int]:
    """Yield what a line passes; add a lane for each layer between its ends."""
    yield source
    step = 1 if slots[source].layer < slots[target].layer else -1
    for layer in range(slots[source].layer + step, slots[target].layer, step):
        slots.append(Slot(layer, 0.0, _LANE))
        yield len(slots) - 1
    yield target


def _sorted(order: list[list[int]], left: list[list[int]], right: list[list[int]]) -> list[list[int]]:
    """Sweep to and fro, and return the order with the fewest crossings."""
    best, fewest = [list(layer) for layer in order], _crossings(order, right)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        _sweep(order, left) if sweep % 2 == 0 else _sweep(order[::-1], right)
        crossings = _crossings(order, right)
        if crossings < fewest or (crossings == fewest and sweep % 2 == 0):  # from the left, as it is read
            best, fewest = [list(layer) for layer in order], crossings
    return best


def _sweep(order: list[list[int]], near: list[list[int]]) -> None:
    """Sort each layer by where its neighbours in the one before stand; what has none stays where it is.

    Those that want the same place stand in the order of their numbers.
    """
    before: list[int] = []
    for layer in order:
        share = {number: (at + 0.5) / len(before) for at, number in enumerate(before)}
        share |= {number: (at + 0.5) / len(layer) for at, number in enumerate(layer)}
        wanted = {
            number: sum(map(share.__getitem__, near[number])) / len(near[number]) if near[number] else share[number]
            for number in layer
        }
        layer.sort(key=lambda number: (wanted[number], number))
        before = layer


def _crossings(order: list[list[int]], right: list[list[int]]) -> int:
    """Return how often lines between neighbouring layers cross."""
    found = 0
    for layer, following in pairwise(order):
        place = {number: at for at, number in enumerate(following)}
        passed: list[int] = []
        for number in layer:
            ends = sorted(place[other] for other in right[number])
            found += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return found
