"""Shrinking: from a sequence that shows something to a small one that shows it, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Any

from tests.fuzz.operations import Operation

Shows = Callable[[Sequence[Operation]], bool]


def shrunk(sequence: Sequence[Operation], shows: Shows) -> tuple[Operation, ...]:
    """Return a sequence that shows it, from which nothing can be left out, and of which nothing can be made simpler."""
    small, before = tuple(sequence), None
    while small != before:
        before = small
        small = _simplified(_shortened(small, shows), shows)
    return small


def _shortened(sequence: tuple[Operation, ...], shows: Shows) -> tuple[Operation, ...]:
    """Leave out half of it, a quarter, and so on down to single operations; the last ones first."""
    size = max(len(sequence) // 2, 1)
    while True:
        for start in range(len(sequence) - size, -size, -size):
            candidate = sequence[: max(start, 0)] + sequence[start + size :]
            if len(candidate) < len(sequence) and shows(candidate):
                sequence = candidate
        if size == 1:
            return sequence
        size //= 2


def _simplified(sequence: tuple[Operation, ...], shows: Shows) -> tuple[Operation, ...]:
    for at in range(len(sequence)):
        for field in fields(sequence[at]):
            for value in _simpler(getattr(sequence[at], field.name), _usual(field)):
                candidate = (*sequence[:at], replace(sequence[at], **{field.name: value}), *sequence[at + 1 :])
                if shows(candidate):
                    sequence = candidate
                    break
    return sequence


def _usual(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _simpler(value: Any, usual: Any) -> Iterator[Any]:
    """Yield values that are simpler, the simplest first: the usual one, and tables without one of their entries."""
    if usual is MISSING or value == usual:
        return
    yield usual
    if isinstance(value, Mapping) and len(value) > 1:
        for key in value:
            yield {name: each for name, each in value.items() if name != key}
