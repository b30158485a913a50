"""Examples: made-up JSON of a type, to find out whether such a body is read. Pure.

The first example is as ordinary as can be; each of the others departs from it in one place: a number at a limit, an
empty string, a field left out, another alternative.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

from pydantic_core import from_json, to_json

from taskroute.graph.bodies.record import Field, Record
from taskroute.graph.bodies.schema import CONSTANTS, RECORDS, UNIONS, Schema
from taskroute.graph.bodies.whole_numbers import LARGE, is_read_as_float

_MOST: Final = 200
"""How many examples a node has at most."""

_LONGEST: Final = 2_000
"""The greatest length of a made-up string or array."""

_PLAIN: Final[Mapping[str, tuple[Any, ...]]] = {
    "any": ("x",),
    "none": (None,),
    "bool": (True, False),
    "int": (1, 0, -1, LARGE),
    "float": (0.5, -0.5, 1e300),
    "decimal": ("1.5", "-1", "1000000000000"),
    "str": ("x", "", "two words"),
    "bytes": ("x", ""),
    "date": ("2001-02-03",),
    "time": ("04:05:06.789", "04:05:06Z"),
    "datetime": ("2001-02-03T04:05:06.789", "2001-02-03T04:05:06Z"),
    "timedelta": ("PT1.5S", "-P2D"),
    "uuid": ("12345678-1234-4678-8234-567812345678",),
    "url": ("http://example.org/",),
}
_LIMITS: Final = frozenset({"ge", "gt", "le", "lt", "min_length", "max_length", "str_min_length", "str_max_length"})


def limits(node: object) -> frozenset[int]:
    """Return the whole numbers in the constraints of a core schema, and their neighbours."""
    return frozenset(number + step for number in _limits(node) for step in (-1, 0, 1))


def _limits(node: object) -> Iterator[int]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key in _LIMITS and isinstance(value, int | float):
                yield int(value)
            elif key != "metadata":
                yield from _limits(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _limits(value)


def examples(schema: Schema, around: frozenset[int] = frozenset()) -> Iterator[bytes]:
    """Yield documents of a type. The type's own validators may refuse some.

    Args:
        schema: of the type.
        around: numbers and lengths to try.
    """
    for example in _Examples(around | limits(schema.node)).of(schema):
        yield to_json(example)


class _Examples:
    def __init__(self, around: frozenset[int]) -> None:
        self._around = sorted(around)
        self._lengths = [number for number in self._around if 0 < number <= _LONGEST]

    def of(self, schema: Schema, above: tuple[str, ...] = ()) -> list[Any]:
        """Return examples of a node. `above`: the definitions that the node is inside of."""
        if schema.kind == "definition-ref":
            name = schema.node["schema_ref"]
            if name in above:
                return []
            above = (*above, name)
        return list(islice(self._of(schema, above), _MOST))

    def _of(self, schema: Schema, above: tuple[str, ...]) -> Iterator[Any]:
        inner = schema.reached()
        if inner is not None:
            yield from self.of(inner, above)
        elif schema.kind in UNIONS:
            for choice in schema.choices():
                yield from self.of(choice, above)
        elif schema.kind in CONSTANTS:
            yield from map(from_json, schema.constants())
        elif schema.kind in _PLAIN:
            yield from self._plain(schema)
        elif schema.kind in RECORDS:
            yield from self._records(Record.of(schema), above)
        elif schema.kind == "dict":
            yield from self._dicts(schema, above)
        else:
            yield from self._arrays(schema, above)

    def _plain(self, schema: Schema) -> Iterator[Any]:
        candidates: list[Any] = list(_PLAIN[schema.kind])
        if schema.kind in ("int", "float"):
            candidates += filter(is_read_as_float, self._around)
        if schema.kind == "decimal":
            candidates += map(str, self._around)
        if schema.kind in ("str", "bytes"):
            candidates += ["x" * length for length in self._lengths]
        reads = schema.reader()
        return (candidate for candidate in candidates if reads(to_json(candidate)))

    def _records(self, record: Record, above: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        fields = [(field, self.of(field.schema, above) if field.read_as else []) for field in record.fields]
        if any(field.is_required and not found for field, found in fields):
            return
        ordinary = {_name(field): found[0] for field, found in fields if found}
        yield ordinary
        yield {_name(field): found[0] for field, found in fields if field.is_required}
        for field, found in fields:
            for value in found[1:]:
                yield ordinary | {_name(field): value}
            if found and not field.is_required:
                yield {name: value for name, value in ordinary.items() if name != _name(field)}
        if record.extra == "allow":
            yield ordinary | {"something_else": "x"}

    def _dicts(self, schema: Schema, above: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        keys = [key if isinstance(key, str) else str(key) for key in self.of(schema.keys(), above)]
        values = self.of(schema.values(), above)
        for key in keys[:1]:
            for value in values:
                yield {key: value}
        for key in keys[1:]:
            for value in values[:1]:
                yield {key: value}
        yield {}

    def _arrays(self, schema: Schema, above: tuple[str, ...]) -> Iterator[list[Any]]:
        item = schema.item()
        if item is not None:
            found = self.of(item, above)
            for length in (schema.node.get("min_length") or 1, *self._lengths, 0):
                yield (found * length)[:length]
            for value in found[1:]:
                yield [value]
            return
        places = [self.of(place, above) for place in schema.places() or ()]
        if schema.places() is not None and all(places):
            yield from _one_at_a_time(places)


def _one_at_a_time(places: list[list[Any]]) -> Iterator[list[Any]]:
    ordinary = [found[0] for found in places]
    yield ordinary
    for at, found in enumerate(places):
        for value in found[1:]:
            yield [*ordinary[:at], value, *ordinary[at + 1 :]]


def _name(field: Field) -> str:
    return field.read_as[0] if field.read_as else field.name
