"""Schema: what a type writes as JSON and what it reads, according to pydantic's core schema. Pure.

A core schema is a tree of dicts. Unlike a JSON schema it has the user's own validators and serializers, strictness, and
the names under which a field is read and written.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator, to_json

if TYPE_CHECKING:
    from pydantic_core.core_schema import CoreConfig, CoreSchema

Node = Mapping[str, Any]

FUNCTIONS: Final = ("function-before", "function-after", "function-wrap", "function-plain")
RECORDS: Final = ("model", "dataclass", "typed-dict")
ARRAYS: Final = ("list", "tuple", "set", "frozenset")
UNIONS: Final = ("nullable", "union", "tagged-union")
CONSTANTS: Final = ("literal", "enum")

NOTHING: Final[Node] = {}
_WRITTEN_BY: Final = {
    "definitions": "schema",
    "default": "schema",
    "function-before": "schema",
    "function-after": "schema",
    "function-wrap": "schema",
    "json-or-python": "json_schema",
    "lax-or-strict": "strict_schema",
}
_READ_BY: Final = {
    "definitions": "schema",
    "default": "schema",
    "json-or-python": "json_schema",
    "lax-or-strict": "lax_schema",
}
_ABOUT: Final = frozenset({"metadata", "ref", "title"})
"""Keys of a node that do not concern values."""
_NO_CONSTRAINTS: Final = _ABOUT | {"type", "strict", "serialization"}
_RULES_OF_CONFIG: Final = ("strict", "str_", "allow_inf_nan", "ser_json_", "val_json_", "coerce_", "regex_engine")


@dataclass(frozen=True, slots=True)
class Schema:
    """A node of a core schema, with the definitions that it may refer to and the configuration that applies to it."""

    node: Node
    definitions: Mapping[str, Node]
    config: Node

    @property
    def kind(self) -> str:
        """The node's type."""
        return str(self.node["type"])

    @property
    def is_strict(self) -> bool:
        """Return whether values must already be of the type."""
        return bool(self.node.get("strict", self.config.get("strict", False)))

    def at(self, node: Node, config: Node | None = None) -> Schema:
        """Return another node of the same tree."""
        return Schema(node, self.definitions, self.config if config is None else config)

    def resolved(self) -> Schema:
        """Return the node that a reference or a default stands for."""
        inner = self._inner({"definitions": "schema", "default": "schema"})
        return self if inner is None else inner.resolved()

    def written(self) -> Schema:
        """Return the node that decides on the JSON that is written, of type ``custom`` where the user's code does."""
        if self.node.get("serialization", NOTHING).get("type") == "to-string":
            return self.at({"type": "str"})
        if self.kind == "function-plain" or _is_written_by_users_code(self.node):
            return self.at({"type": "custom"})
        inner = self._inner(_WRITTEN_BY)
        return self if inner is None else inner.written()

    def reached(self) -> Schema | None:
        """Return the node inside a node that only adds how to read it; None for any other node."""
        if self.kind == "chain":
            return self.at(self.node["steps"][0])
        return self._inner(_READ_BY | dict.fromkeys(FUNCTIONS[:3], "schema"))

    def read(self) -> Schema:
        """Return the node that decides on the JSON that is read."""
        by = _READ_BY | {"lax-or-strict": "strict_schema"} if self.is_strict else _READ_BY
        inner = self._inner(by)
        return self if inner is None else inner.read()

    def _inner(self, by: Mapping[str, str]) -> Schema | None:
        if self.kind == "definition-ref":
            return self.at(self.definitions[self.node["schema_ref"]])
        if self.kind == "definitions":
            known = {node["ref"]: node for node in self.node["definitions"]}
            return Schema(self.node["schema"], {**self.definitions, **known}, self.config)
        if self.kind == "model" and self.node.get("root_model"):
            inside = self.node["schema"]
            checked = {"type": "function-after", "schema": inside} if is_initialised(self.node) else inside
            return self.at(checked, self.node.get("config") or NOTHING)
        return self.at(self.node[by[self.kind]]) if self.kind in by else None

    def choices(self) -> Iterator[Schema]:
        """Yield the alternatives of a node of one of the kinds `UNIONS`."""
        if self.kind == "nullable":
            yield self.at(self.node["schema"])
            yield self.at({"type": "none"})
            return
        choices = self.node["choices"]
        for choice in choices.values() if isinstance(choices, Mapping) else choices:
            yield self.at(choice[0] if isinstance(choice, tuple) else choice)

    def constants(self) -> list[bytes]:
        """Return the values of a literal or an enum, as JSON."""
        if self.kind == "literal":
            return [to_json(value) for value in self.node["expected"]]
        return [to_json(member.value) for member in self.node["members"]]

    def places(self) -> tuple[Schema, ...] | None:
        """Return what is at each place of a tuple of fixed length; None for any other node."""
        if self.kind != "tuple" or self.node.get("variadic_item_index") is not None:
            return None
        return tuple(map(self.at, self.node["items_schema"]))

    def item(self) -> Schema | None:
        """Return what an array of any length holds; None for any other node."""
        if self.kind == "tuple":
            items = self.node["items_schema"]
            return self.at(items[0]) if len(items) == 1 and self.node.get("variadic_item_index") == 0 else None
        return self.at(self.node.get("items_schema") or {"type": "any"}) if self.kind in ARRAYS else None

    def keys(self) -> Schema:
        """Return the schema of a dict's keys."""
        return self.at(self.node.get("keys_schema") or {"type": "any"})

    def values(self) -> Schema:
        """Return the schema of a dict's values."""
        return self.at(self.node.get("values_schema") or {"type": "any"})

    def constraints(self) -> dict[str, Any]:
        """Return what the node requires of a value besides its type."""
        asked = {key: value for key, value in self.node.items() if key not in _NO_CONSTRAINTS}
        if self.kind == "str":
            asked |= {
                key: self.config[f"str_{key}"]
                for key in ("min_length", "max_length", "strip_whitespace")
                if self.config.get(f"str_{key}") and key not in asked
            }
        return {key: value for key, value in asked.items() if value is not None and value is not False}

    def reader(self) -> Callable[[bytes], bool]:
        """Return a function that tells whether a JSON document is read without an error."""
        whole = {"type": "definitions", "schema": self.node, "definitions": list(self.definitions.values())}
        validator = SchemaValidator(cast("CoreSchema", whole), cast("CoreConfig", self.config))

        def reads(document: bytes) -> bool:
            try:
                validator.validate_json(document)
            except Exception:  # noqa: BLE001 - a validator of the user's may raise anything
                return False
            return True

        return reads


def _is_written_by_users_code(node: Node) -> bool:
    """Return whether the user's serializer writes a node. What pydantic's own serializers write, the type reads."""
    serializer = node.get("serialization")
    if serializer is None or serializer.get("when_used") in ("python", "python-unless-none"):
        return False
    return not _of_pydantic(serializer.get("function"))


def is_initialised(node: Node) -> bool:
    """Return whether code of the user's runs on a new instance."""
    hook = node.get("post_init")
    if isinstance(hook, str):  # pydantic uses such a hook to set private attributes, too
        return bool(getattr(node["cls"], hook).__name__ != "init_private_attributes")
    return bool(hook)


def schema_of(adapter: TypeAdapter[Any]) -> Schema:
    """Return the schema of a type."""
    return Schema(adapter.core_schema, {}, NOTHING)


def schema_of_annotation(annotation: Any) -> Schema:
    """Return the schema of a parameter's annotation; a parameter without one takes anything."""
    return schema_of(TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation))


def alike(one: Schema, other: Schema) -> bool:
    """Return whether two nodes describe one type, so that the other reads what the one writes.

    A type that cannot read what it writes itself is not noticed.
    """
    ours, theirs = _rules(one.config), _rules(other.config)
    return ours == theirs and _same(one.node, other.node)


def _rules(config: Node) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key.startswith(_RULES_OF_CONFIG)}


def _same(one: object, other: object) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = (one.keys() | other.keys()) - _ABOUT
        return all(key in one and key in other and _same(one[key], other[key]) for key in keys)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return type(one) is type(other) and (one == other or _of_pydantic(one) == _of_pydantic(other) != "")


def _of_pydantic(function: object) -> str:
    """Return the name of a function of pydantic's own, empty for any other. Pydantic makes some anew for each type."""
    module = str(getattr(function, "__module__", ""))
    name = str(getattr(function, "__qualname__", ""))
    return f"{module}.{name}" if module.partition(".")[0] == "pydantic" else ""
