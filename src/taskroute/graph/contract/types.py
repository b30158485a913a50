"""Types: the type that a shape describes, so that bodies can be made up of it and read by it. Pure.

A type is read from a file, without the code that the shape was made of. Records become typed dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from pydantic import ValidationError
from pydantic_core import CoreSchema, SchemaError, SchemaValidator

from taskroute.graph.bodies.schema import NOTHING, Schema
from taskroute.graph.contract.shapes import ALSO, BY_PATH, CONSTRAINTS, PLAIN, REFERENCE, SCHEMES, STRICT, Shape

Node = dict[str, Any]

_BY_FORMAT: Final[Mapping[tuple[Any, Any], str]] = {form: kind for kind, form in PLAIN.items()}
_OF_CONSTRAINTS: Final = {name: key for key, name in CONSTRAINTS.items()}
_LENGTHS: Final[Mapping[str, str]] = {
    f"{end}{what}": f"{end}_length" for end in ("min", "max") for what in ("Length", "Items", "Properties")
}
_LIMITED: Final = frozenset({"int", "float", "str", "decimal", "bytes"})
_ANY: Final[Node] = {"type": "any"}


def type_of(shape: Shape) -> Schema:
    """Return the type that a shape describes. What it leaves open takes anything."""
    inner = _node({key: value for key, value in shape.items() if key != "$defs"})
    definitions = [{**_node(each), "ref": name} for name, each in shape.get("$defs", {}).items()]
    node = {"type": "definitions", "schema": inner, "definitions": definitions} if definitions else inner
    return Schema(_usable(node), {}, NOTHING)


def validator_of(schema: Schema) -> SchemaValidator:
    """Return what reads JSON of a type."""
    node: Any = schema.node
    return SchemaValidator(node)


@lru_cache(maxsize=256)
def _compiles(pattern: str) -> bool:
    try:
        SchemaValidator({"type": "str", "pattern": pattern, "regex_engine": "python-re"})
    except SchemaError:
        return False
    return True


def _usable(node: Node) -> Node:
    """Return a node that pydantic takes; one that it does not take leaves everything open."""
    try:
        SchemaValidator(cast("CoreSchema", node))
    except (SchemaError, ValidationError, ValueError, TypeError, RecursionError):
        return _ANY
    return node


def _node(shape: Shape) -> Node:
    if "$ref" in shape:
        return {"type": "definition-ref", "schema_ref": str(shape["$ref"]).removeprefix(REFERENCE)}
    if "enum" in shape:
        simple = all(isinstance(value, str | int | float | None) for value in shape["enum"])
        return {"type": "literal", "expected": shape["enum"]} if simple and shape["enum"] else _ANY
    if "anyOf" in shape:
        return {"type": "union", "choices": [_node(choice) for choice in shape["anyOf"]]}
    makers: Mapping[Any, Callable[[Shape], Node]] = {"object": _object, "array": _array}
    return makers.get(shape.get("type"), _plain)(shape)


def _plain(shape: Shape) -> Node:
    kind = _BY_FORMAT.get((shape.get("type"), shape.get("format")))
    if kind is None:  # the format of a text that nobody knows
        return {"type": "str"} if shape.get("type") == "string" else _ANY
    node: Node = {"type": kind, **(_limits(shape) if kind in _LIMITED else {})}
    if kind == "url" and shape.get(SCHEMES):
        node["allowed_schemes"] = shape[SCHEMES]
    if shape.get(STRICT):
        node["strict"] = True
    if "pattern" in node:
        if _compiles(node["pattern"]):
            node["regex_engine"] = "python-re"
        else:
            del node["pattern"]
    return node


def _limits(shape: Shape) -> Node:
    found = {_LENGTHS[name]: value for name, value in shape.items() if name in _LENGTHS}
    found |= {_OF_CONSTRAINTS[name]: value for name, value in shape.items() if name in _OF_CONSTRAINTS}
    return found | {
        name: True for name in ("strip_whitespace", "to_lower", "to_upper") if shape.get("x-" + name.replace("_", "-"))
    }


def _object(shape: Shape) -> Node:
    if "properties" not in shape:
        values = shape.get("additionalProperties", True)
        return {
            "type": "dict",
            "keys_schema": _node(shape.get("propertyNames", {"type": "string"})),
            "values_schema": _node(values) if isinstance(values, dict) else _ANY,
            **_limits(shape),
        }
    required = set(shape.get("required", ()))
    others = shape.get("additionalProperties")
    return {
        "type": "typed-dict",
        "fields": {name: _field(name, inner, name in required) for name, inner in shape["properties"].items()},
        "extra_behavior": "ignore" if others is None else "allow" if others else "forbid",
    }


def _field(name: str, shape: Shape, is_required: bool) -> Node:
    field: Node = {
        "type": "typed-dict-field",
        "schema": _node({key: value for key, value in shape.items() if key not in (ALSO, BY_PATH)}),
        "required": is_required and not shape.get(BY_PATH),
    }
    if shape.get(ALSO):
        field["validation_alias"] = [[name], *([other] for other in shape[ALSO])]
    return field


def _array(shape: Shape) -> Node:
    if "prefixItems" in shape:
        return {"type": "tuple", "items_schema": [_node(each) for each in shape["prefixItems"]]}
    kind = "set" if shape.get("uniqueItems") else "list"
    return {"type": kind, "items_schema": _node(shape.get("items", {})), **_limits(shape)}
