"""Draft 7: a JSON schema of draft 2020-12 in the words of draft 7, as AsyncAPI reads them. Pure.

What users write into a schema themselves may be no schema at all: a keyword whose value cannot be one is left out, so
that the document stays valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Json = Any

PREFIX: Final = "#/components/schemas/"
"""Of what a schema of ours refers to."""

_TARGET: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_.-]+|https?://\S+")
_ONE: Final = (
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "additionalProperties",
    "additionalItems",
    "items",
)
"""Keywords whose value is a schema."""
_LISTS: Final = ("allOf", "anyOf", "oneOf")
_MAPS: Final = ("properties", "definitions")
_NUMBERS: Final = ("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum")
_COUNTS: Final = ("maxLength", "minLength", "maxItems", "minItems", "maxProperties", "minProperties")
_TEXTS: Final = ("title", "description", "format", "$comment", "contentMediaType", "contentEncoding")
_FLAGS: Final = ("uniqueItems", "readOnly", "writeOnly", "deprecated")
_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_LEFT_OUT: Final = frozenset(
    {"discriminator", "externalDocs", "schema", "$id", "$schema", "$anchor", "$dynamicRef", "$dynamicAnchor", "$defs"}
)
"""What draft 7 does not know, or AsyncAPI means otherwise: its `discriminator` takes names of schemas, and what has a
`schema` is in another format."""
_OF_PYTHON: Final = re.compile(r"\\[AZz]|\(\?(?:P|[aiLmsux-]+[:)]|>|#|\()|[*+?}]\+")
"""In a regular expression that is none in ECMAScript, which is what JSON schema takes."""


def draft7(schema: Json) -> Json:
    """Return a schema in draft 7.

    >>> draft7({"type": "array", "prefixItems": [{"type": "integer"}], "items": False})
    {'type': 'array', 'items': [{'type': 'integer'}], 'additionalItems': False}
    """
    if not isinstance(schema, Mapping):
        return schema if isinstance(schema, bool) else {}
    translated: dict[str, Json] = {}
    for keyword, value in _renamed(schema):
        read = _TRANSLATIONS.get(keyword, _as_it_is)(value)
        if read is not _NOTHING:
            translated[keyword] = read
    return _beside_no_reference(translated)


def references(schema: Json) -> Iterator[str]:
    """Yield the names of the components that a schema of draft 7 refers to."""
    if isinstance(schema, Mapping):
        target = schema.get("$ref")
        if isinstance(target, str) and target.startswith(PREFIX):
            yield target.removeprefix(PREFIX)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


_NOTHING: Final = object()
"""In place of a value that cannot be one of its keyword."""


def _renamed(schema: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    has_places = isinstance(schema.get("prefixItems"), list)
    for keyword, value in schema.items():
        if keyword == "prefixItems":
            if has_places and value:
                yield "items", value
        elif keyword == "items" and has_places and schema["prefixItems"]:
            yield "additionalItems", value
        elif keyword in ("dependentRequired", "dependentSchemas"):
            yield "dependencies", value
        elif keyword not in _LEFT_OUT:
            yield keyword, value


def _beside_no_reference(schema: dict[str, Json]) -> dict[str, Json]:
    """Return a schema that says the same where a reference makes a reader ignore what stands beside it."""
    if "$ref" not in schema or len(schema) == 1:
        return schema
    rest = {keyword: value for keyword, value in schema.items() if keyword != "$ref"}
    return {**rest, "allOf": [{"$ref": schema["$ref"]}, *rest.get("allOf", ())]}


def _as_it_is(value: Json) -> Json:
    """Return any value that is JSON and has no reference in it, which a reader would follow."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return _NOTHING
    return _NOTHING if '"$ref":' in text else value


def _items(value: Json) -> Json:
    return [draft7(each) for each in value] if isinstance(value, list) and value else _one(value)


def _one(value: Json) -> Json:
    return draft7(value) if isinstance(value, Mapping | bool) else _NOTHING


def _list(value: Json) -> Json:
    return [draft7(each) for each in value] if isinstance(value, list) and value else _NOTHING


def _map(value: Json) -> Json:
    return {str(name): draft7(each) for name, each in value.items()} if isinstance(value, Mapping) else _NOTHING


def _reference(value: Json) -> Json:
    return value if isinstance(value, str) and _TARGET.fullmatch(value) else _NOTHING


def _pattern_map(value: Json) -> Json:
    is_map = isinstance(value, Mapping) and not any(_OF_PYTHON.search(str(pattern)) for pattern in value)
    return _map(value) if is_map else _NOTHING


def _pattern(value: Json) -> Json:
    return value if isinstance(value, str) and not _OF_PYTHON.search(value) else _NOTHING


def _dependencies(value: Json) -> Json:
    if not isinstance(value, Mapping):
        return _NOTHING
    each = {name: _names(needed) if isinstance(needed, list) else _one(needed) for name, needed in value.items()}
    return {name: needed for name, needed in each.items() if needed is not _NOTHING}


def _names(value: Json) -> Json:
    is_names = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return list(dict.fromkeys(value)) if is_names else _NOTHING


def _type(value: Json) -> Json:
    types = [value] if isinstance(value, str) else value
    is_type = isinstance(types, list) and types and all(isinstance(each, str) and each in _TYPES for each in types)
    return (value if isinstance(value, str) else list(dict.fromkeys(types))) if is_type else _NOTHING


def _values(value: Json) -> Json:
    if not isinstance(value, list) or not value or _as_it_is(value) is _NOTHING:
        return _NOTHING
    return [each for place, each in enumerate(value) if not any(_same(each, other) for other in value[:place])]


def _same(one: Json, other: Json) -> bool:
    """Return whether two values are one in JSON, where 1.0 is 1, and true is not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _examples(value: Json) -> Json:
    return _as_it_is(value) if isinstance(value, list) else _NOTHING


def _kind(*kinds: type) -> Callable[[Json], Json]:
    """Return what takes values of some kinds; a bool is no number."""

    def take(value: Json) -> Json:
        is_one = isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))
        return _as_it_is(value) if is_one else _NOTHING

    return take


def _count(value: Json) -> Json:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else _NOTHING


def _positive(value: Json) -> Json:
    is_positive = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    return _as_it_is(value) if is_positive else _NOTHING


_TRANSLATIONS: Final[Mapping[str, Callable[[Json], Json]]] = {
    **dict.fromkeys(_ONE, _one),
    **dict.fromkeys(_LISTS, _list),
    **dict.fromkeys(_MAPS, _map),
    **dict.fromkeys(_NUMBERS, _kind(int, float)),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_TEXTS, _kind(str)),
    "$ref": _reference,
    "pattern": _pattern,
    **dict.fromkeys(_FLAGS, _kind(bool)),
    "patternProperties": _pattern_map,
    "items": _items,
    "dependencies": _dependencies,
    "required": _names,
    "type": _type,
    "enum": _values,
    "examples": _examples,
    "multipleOf": _positive,
}
"""What becomes of each keyword's value. Others are taken as they are, if they are JSON."""
