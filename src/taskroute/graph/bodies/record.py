"""Record: the fields of a model, dataclass or typed dict, and under which names each is read and written. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from taskroute.graph.bodies.schema import FUNCTIONS, NOTHING, Node, Schema, is_initialised


class Field(NamedTuple):
    """A field of a record.

    `read_as` None: from a path. `is_always_written` None: never.
    """

    name: str
    schema: Schema
    is_required: bool
    read_as: tuple[str, ...] | None
    written_as: str
    is_always_written: bool | None


class Record(NamedTuple):
    """A model, dataclass or typed dict. `validators`: the kinds of the user's validators that run on it as a whole."""

    schema: Schema
    fields: tuple[Field, ...]
    extra: str
    validators: frozenset[str]

    @classmethod
    def of(cls, schema: Schema) -> Record:
        """Read a node of one of the kinds `RECORDS`."""
        node, validators = schema.node, set()
        if node.get("custom_init"):
            validators.add("function-plain")
        if is_initialised(node):
            validators.add("function-after")
        config = node.get("config") or (NOTHING if schema.kind != "typed-dict" else schema.config)
        inner = node if schema.kind == "typed-dict" else node["schema"]
        while inner["type"] in FUNCTIONS:
            validators.add(inner["type"])
            inner = inner.get("schema", {"type": "any"})
        inside = schema.at(inner, config)
        if inner.get("extras_schema") or inner.get("extras_keys_schema"):
            validators.add("function-after")
        extra = inner.get("extra_behavior") or config.get("extra_fields_behavior") or "ignore"
        return cls(schema, tuple(_fields(inside)), extra, frozenset(validators))


def _fields(schema: Schema) -> Iterator[Field]:
    listed = schema.node.get("fields", ())
    named = listed.items() if isinstance(listed, Mapping) else ((field["name"], field) for field in listed)
    for name, field in named:
        yield _field(schema, name, field)
    for computed in schema.node.get("computed_fields", ()):
        written_as = computed.get("alias") or computed["property_name"]
        yield Field("", schema.at(computed["return_schema"]), False, (), written_as, True)


def _field(schema: Schema, name: str, field: Node) -> Field:
    required = field["required"] if "required" in field else field["schema"]["type"] != "default"
    always: bool | None = field.get("serialization_exclude_if") is None and field.get("required", True)
    if field.get("serialization_exclude") or field.get("init_only"):
        always = None
    written_as = field.get("serialization_alias") or name
    read_as = _read_as(schema.config, name, field)
    return Field(name, schema.at(field["schema"]), required and read_as != (), read_as, written_as, always)


def _read_as(config: Node, name: str, field: Node) -> tuple[str, ...] | None:
    """Return the names under which a field is read; None where it is read from a path."""
    alias = field.get("validation_alias")
    if field.get("init") is False:
        return ()
    if alias is None:
        return (name,)
    paths = [[alias]] if isinstance(alias, str) else alias if isinstance(alias[0], list) else [alias]
    names = [path[0] for path in paths if len(path) == 1 and isinstance(path[0], str)]
    if len(names) < len(paths):
        return None
    by_name = config.get("validate_by_name") or config.get("populate_by_name")
    return (*(names if config.get("validate_by_alias", True) else ()), *((name,) if by_name else ()))
