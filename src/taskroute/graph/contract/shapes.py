"""Shapes: what a type writes or reads as JSON, in the words of JSON Schema, so that a file can hold it. Pure.

A shape is made from pydantic's core schema and not from its JSON schema: it holds what decides whether a body is read,
and nothing else. Titles, descriptions, examples and defaults stay out (a default may be a secret), and no version of
pydantic changes a line. What JSON Schema has no word for begins with ``x-``:

- ``x-validator``: code of the user's decides as well, after the type's own rules, or in place of them (``instead``).
- ``x-serializer``: code of the user's writes it.
- ``x-also``: further names under which a field is read; ``x-path``: it is read from a path.
- ``x-strict``: no other JSON type is read as it, such as the text "1" as a number.
- ``x-unknown``: a type that is not looked into.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_json

from taskroute.graph.bodies.record import Field, Record
from taskroute.graph.bodies.schema import ARRAYS, CONSTANTS, FUNCTIONS, RECORDS, UNIONS, Schema

Shape = dict[str, Any]
Mode = Literal["read", "written"]

ANYTHING: Final[Shape] = {}
UNKNOWN: Final = "x-unknown"
SERIALIZER: Final = "x-serializer"
VALIDATOR: Final = "x-validator"
ALSO: Final = "x-also"
BY_PATH: Final = "x-path"
STRICT: Final = "x-strict"
SCHEMES: Final = "x-allowed-schemes"
REFERENCE: Final = "#/$defs/"

PLAIN: Final[Mapping[str, tuple[str, str | None]]] = {
    "none": ("null", None),
    "bool": ("boolean", None),
    "int": ("integer", None),
    "float": ("number", None),
    "str": ("string", None),
    "decimal": ("string", "decimal"),
    "bytes": ("string", "binary"),
    "date": ("string", "date"),
    "time": ("string", "time"),
    "datetime": ("string", "date-time"),
    "timedelta": ("string", "duration"),
    "uuid": ("string", "uuid"),
    "url": ("string", "uri"),
}
"""Type and format of a plain type, as JSON Schema has them."""

CONSTRAINTS: Final[Mapping[str, str]] = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "max_digits": "x-max-digits",
    "decimal_places": "x-decimal-places",
}
_LENGTHS: Final[Mapping[str, str]] = {"string": "Length", "array": "Items", "object": "Properties"}
_LAX: Final = frozenset({"bool", "int", "float", "decimal"})
"""Types that also read other JSON types, unless they are strict."""

_MOST_NODES: Final = 20_000
_OTHERS: Final = frozenset(
    {"strip_whitespace", "to_lower", "to_upper", "tz_constraint", "now_op", "version", "host_required"}
)
"""Further constraints, of which JSON Schema has none. One that is not known is left out: it may hold a default."""


def shape_of(schema: Schema, mode: Mode) -> Shape:
    """Return the shape of what a type writes, or of what it reads."""
    try:
        return _Walk(mode).whole(schema)
    except Exception:  # noqa: BLE001 - a core schema of another version of pydantic
        return {UNKNOWN: True}


def text_of(shape: object) -> str:
    """Return a shape as text that is equal for equal shapes."""
    return json.dumps(shape, sort_keys=True)


class _TooLargeError(Exception):
    """A type has more nodes than anybody reads."""


class _Walk:
    """Visits the nodes of one type. A type inside itself is a reference, and any other node stands where it is used."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._count = 0
        self._inside: dict[int, object] = {}  # the nodes around the one that is visited; kept, so that ids stay theirs
        self._names: dict[int, str] = {}
        self._definitions: dict[str, Shape] = {}

    def whole(self, schema: Schema) -> Shape:
        shape = self.of(schema)
        if self._definitions:
            shape = {**shape, "$defs": dict(sorted(self._definitions.items(), key=lambda item: int(item[0])))}
        known: Shape = _sorted(shape)
        return known

    def of(self, schema: Schema) -> Shape:
        self._count += 1
        if self._count > _MOST_NODES:
            raise _TooLargeError
        schema = schema.written() if self._mode == "written" else schema.read()
        key = id(schema.node)
        if key in self._names or key in self._inside:
            name = self._names.setdefault(key, str(len(self._names) + 1))
            return {"$ref": REFERENCE + name}
        self._inside[key] = schema.node
        try:
            shape = self._node(schema)
        finally:
            del self._inside[key]
        if key not in self._names:
            return shape
        self._definitions[self._names[key]] = shape
        return {"$ref": REFERENCE + self._names[key]}

    def _node(self, schema: Schema) -> Shape:
        kind = schema.kind
        if kind == "any":
            return dict(ANYTHING)
        if kind == "custom":
            return {SERIALIZER: True}
        if kind in FUNCTIONS:
            return self._function(schema)
        if kind in CONSTANTS:
            return _any_of([{"enum": sorted({text.decode() for text in schema.constants()})}])
        if kind in UNIONS:
            return _any_of(self.of(choice) for choice in schema.choices())
        if kind in RECORDS:
            return self._record(Record.of(schema))
        if kind == "dict":
            return self._dict(schema)
        if kind in ARRAYS:
            return self._array(schema)
        return _plain(schema) if kind in PLAIN else _leaf(schema, self._mode)

    def _function(self, schema: Schema) -> Shape:
        node = schema.node
        module = str(getattr(node.get("function", {}).get("function"), "__module__", ""))
        of_pydantic = module.partition(".")[0] == "pydantic"
        if schema.kind == "function-plain":
            return _leaf(schema, self._mode) if of_pydantic else {VALIDATOR: "instead"}
        inner = self.of(schema.at(node["schema"]))
        return inner if of_pydantic and schema.kind == "function-wrap" else _validated(inner, [schema.kind])

    def _record(self, record: Record) -> Shape:
        properties = {}
        required = []
        for field in record.fields:
            name = _name(field, self._mode)
            if name is None:
                continue
            properties[name] = self._field(field)
            if field.is_required if self._mode == "read" else field.is_always_written:
                required.append(name)
        shape: Shape = {"type": "object", "properties": properties}
        if required:
            shape["required"] = sorted(required)
        if record.extra != "ignore" and (self._mode == "read" or record.extra == "allow"):
            shape["additionalProperties"] = record.extra == "allow"
        return _validated(shape, record.validators)

    def _field(self, field: Field) -> Shape:
        shape = self.of(field.schema)
        if self._mode == "read" and field.read_as is None:
            return {**shape, BY_PATH: True}
        if self._mode == "read" and len(field.read_as or ()) > 1:
            return {**shape, ALSO: list((field.read_as or ())[1:])}
        return shape

    def _dict(self, schema: Schema) -> Shape:
        keys, values = self.of(schema.keys()), self.of(schema.values())
        shape: Shape = {"type": "object", "additionalProperties": values or True}
        if keys not in (ANYTHING, {"type": "string"}):
            shape["propertyNames"] = keys
        return shape | _constraints(schema, "object")

    def _array(self, schema: Schema) -> Shape:
        places = schema.places()
        if places is not None:
            items = [self.of(place) for place in places]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        item = schema.item()
        if item is None:  # a tuple with any number of items in the middle
            return {UNKNOWN: True}
        shape: Shape = {"type": "array", "items": self.of(item)}
        if schema.kind in ("set", "frozenset") and self._mode == "written":
            shape["uniqueItems"] = True
        return shape | _constraints(schema, "array")


def _name(field: Field, mode: Mode) -> str | None:
    """Return the name under which a field is read or written, None where it is not."""
    if mode == "written":
        return None if field.is_always_written is None else field.written_as
    return field.name if field.read_as is None else next(iter(field.read_as), None)


def _plain(schema: Schema) -> Shape:
    kind, form = PLAIN[schema.kind]
    shape: Shape = {"type": kind} if form is None else {"type": kind, "format": form}
    if schema.is_strict and schema.kind in _LAX:
        shape[STRICT] = True
    return shape | _constraints(schema, kind)


def _constraints(schema: Schema, kind: str) -> Shape:
    found: Shape = {}
    for key, value in schema.constraints().items():
        if key in ("min_length", "max_length") and kind in _LENGTHS:
            found[key[:3] + _LENGTHS[kind]] = value
        elif key in CONSTRAINTS:
            found[CONSTRAINTS[key]] = _number_or_text(value)
        elif key == "allowed_schemes":
            found[SCHEMES] = sorted(value)
        elif key in _OTHERS:
            found["x-" + key.replace("_", "-")] = value
    return found


def _number_or_text(value: object) -> object:
    """Return a limit as JSON: the limits of a date are dates, and a compiled pattern is one, too."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    compiled = getattr(value, "pattern", None)
    return compiled if isinstance(compiled, str) else json.loads(to_json(value))


def _leaf(schema: Schema, mode: Mode) -> Shape:
    """Return type and format of a type that is not looked into, as pydantic's JSON schema has them."""
    try:
        generator = GenerateJsonSchema(by_alias=True)
        node: Any = schema.node
        known = generator.generate(node, "validation" if mode == "read" else "serialization")
    except Exception:  # noqa: BLE001 - pydantic says by this that there is none
        return {UNKNOWN: True}
    kept = {key: known[key] for key in ("type", "format") if isinstance(known.get(key), str)}
    return {**kept, UNKNOWN: True} if set(kept) != {"type", "format"} else kept


def _validated(shape: Shape, kinds: Iterable[str]) -> Shape:
    """Return a shape that says which code of the user's decides as well."""
    found = set(kinds)
    if not found:
        return shape
    instead = found != {"function-after"} or shape.get(VALIDATOR) == "instead"
    return {**shape, VALIDATOR: "instead" if instead else "after"}


def _any_of(shapes: Iterable[Shape]) -> Shape:
    """Return one of several: without those that are there twice, constants together, in an order of their own."""
    constants: set[str] = set()
    others: dict[str, Shape] = {}
    for shape in _alternatives(shapes):
        if shape.keys() == {"enum"}:
            constants |= set(shape["enum"])
        elif shape == ANYTHING:
            return dict(ANYTHING)
        else:
            others[text_of(_sorted(shape))] = shape
    if "null" in constants and {"type": "null"} in others.values():
        constants.remove("null")
    found = [others[text] for text in sorted(others)] + ([{"enum": sorted(constants)}] if constants else [])
    return found[0] if len(found) == 1 else {"anyOf": found}


def _alternatives(shapes: Iterable[Shape]) -> Iterator[Shape]:
    for shape in shapes:
        if shape.keys() == {"anyOf"}:
            yield from shape["anyOf"]
        elif shape.keys() == {"enum"} and "null" in shape["enum"] and len(shape["enum"]) > 1:
            yield {"type": "null"}
            yield {"enum": [text for text in shape["enum"] if text != "null"]}
        elif shape.keys() == {"enum"} and shape["enum"] == ["null"]:
            yield {"type": "null"}
        else:
            yield shape


def _sorted(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _final(key, shape[key]) for key in sorted(shape)}
    return [_sorted(each) for each in shape] if isinstance(shape, list) else shape


def _final(key: str, value: Any) -> Any:
    """Return a part of a shape in its final form: constants become the values that their texts stand for."""
    if key == "enum" and isinstance(value, list):
        return [json.loads(text) for text in value]
    return _sorted(value)


def places(shape: Any, is_wanted: Callable[[Shape], bool], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the parts of a shape that are wanted. A part of a path is a field's name, or ``*``."""
    if not isinstance(shape, dict):
        return
    if is_wanted(shape):
        yield path
    for choice in shape.get("anyOf", ()):
        yield from places(choice, is_wanted, path)
    for name, inner in shape.get("properties", {}).items():
        yield from places(inner, is_wanted, (*path, name))
    for at, inner in enumerate(shape.get("prefixItems", ())):
        yield from places(inner, is_wanted, (*path, str(at)))
    for key in ("items", "additionalProperties"):
        yield from places(shape.get(key), is_wanted, (*path, "*"))
    for inner in shape.get("$defs", {}).values():
        yield from places(inner, is_wanted, ("*",) if path == () else path)
