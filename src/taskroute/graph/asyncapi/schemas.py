"""Schemas: Python types as the JSON schemas that a document shares. Pure.

Pydantic writes draft 2020-12, and AsyncAPI 3.0 reads draft 7: `draft7` translates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from taskroute.graph.asyncapi.draft7 import PREFIX, draft7, references

Direction = Literal["validation", "serialization"]
"""Whether a value is read or written: a field with a default may be missing in the one and never in the other."""

_ANYTHING: Final[dict[str, Any]] = {}


class Wanted(NamedTuple):
    """A type whose schema is wanted. Two are equal if they are the same adapter, not only the same type."""

    adapter: TypeAdapter[Any]
    direction: Direction


class Schemas(NamedTuple):
    """The schemas of some types.

    Attributes:
        components: those that are shared, by their name.
        by_type: what stands for each type, by the `id` of its adapter and the direction.
    """

    components: Mapping[str, dict[str, Any]]
    by_type: Mapping[tuple[int, str], dict[str, Any]]

    def of(self, wanted: Wanted) -> dict[str, Any]:
        """Return the schema of a type, mostly a reference to a component."""
        return self.by_type[_key(wanted)]


def schemas_of(types: Iterable[Wanted]) -> Schemas:
    """Return the schemas of types. One that has none, as its own code cannot make it, is anything."""
    wanted = {_key(each): each for each in types}
    made = [key for key, each in wanted.items() if _has_schema(each)]
    by_type, definitions = _generated([wanted[key] for key in made])
    components = {name: draft7(schema) for name, schema in definitions.items()}
    schemas = {key: draft7(by_type[key]) if key in by_type else _ANYTHING for key in wanted}
    return Schemas(_used(components, schemas.values()), schemas)


class _Generator(GenerateJsonSchema):
    """Takes what JSON schema cannot say for anything, where pydantic would give the whole type up."""

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:  # noqa: ARG002
        return {}

    def emit_warning(self, kind: Any, detail: str) -> None:
        """Leave out a default that JSON cannot say, without a word."""


def _key(wanted: Wanted) -> tuple[int, str]:
    return id(wanted.adapter), wanted.direction


def _has_schema(wanted: Wanted) -> bool:
    try:
        _generated([wanted])
    except Exception:  # noqa: BLE001 - types bring their own code, which may raise anything
        return False
    return True


def _generated(types: list[Wanted]) -> tuple[dict[tuple[int, str], Any], dict[str, Any]]:
    inputs = [(id(each.adapter), each.direction, each.adapter) for each in types]
    by_type, whole = TypeAdapter.json_schemas(inputs, ref_template=PREFIX + "{model}", schema_generator=_Generator)
    return {(int(key), direction): schema for (key, direction), schema in by_type.items()}, whole.get("$defs", {})


def _used(components: Mapping[str, dict[str, Any]], roots: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the components that are referred to, also by each other, in the order of their names.

    One that nobody has, as a user wrote the reference, is anything.
    """
    pending = [name for root in roots for name in references(root)]
    used: dict[str, dict[str, Any]] = {}
    while pending:
        name = pending.pop()
        if name not in used:
            used[name] = components.get(name, _ANYTHING)
            pending += references(used[name])
    return dict(sorted(used.items()))
