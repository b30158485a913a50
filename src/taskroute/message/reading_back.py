"""Reading back: what must be looked at of a body so that a handler of the same type reads what is written. Pure.

A core schema tells once for each type. Most types need nothing: pydantic reads what it writes. Where numbers may be
NaN, what is written is searched for it. Where code of the user's or an alternative decides what is read, only a trial
tells, for each body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple

from pydantic_core import SchemaSerializer, SchemaValidator

Need = Literal["finite", "decimal", "trial", "untyped", "depth"]
"""``finite``: no number may be NaN or infinite. ``decimal``: no Decimal may be. ``trial``: a body must be read back.
``untyped``: it has places that hold anything, where what is read may be of another type. ``depth``: it may be nested
deeper than JSON is read."""

Needs = frozenset[Need]
Node = Mapping[str, Any]


class Survey(NamedTuple):
    """What must be looked at of a body.

    Attributes:
        needs: for each body.
        kind: the type of the body itself, if it is a model or dataclass.
        classes: models and dataclasses that are fields. Where one has subclasses, a body is read back.
        open_fields: names of attributes of `kind` that hold anything, models too.
    """

    needs: Needs
    kind: type | None = None
    classes: tuple[type, ...] = ()
    open_fields: tuple[str, ...] = ()


_NOTHING: Final[Needs] = frozenset()
_FINITE: Final[Needs] = frozenset({"finite"})
_DECIMAL: Final[Needs] = frozenset({"decimal"})
_TRIAL: Final[Needs] = frozenset({"finite", "trial"})
_UNTYPED: Final[Needs] = frozenset({"finite", "untyped", "depth"})
_DEPTH: Final[Needs] = frozenset({"depth"})

_TEXTS: Final = ("str", "bytes", "date", "time", "datetime", "timedelta", "decimal", "uuid")
_FLOATS_AND_OTHERS: Final = SchemaSerializer({"type": "union", "choices": [{"type": "float"}, {"type": "bool"}]})
_WRITES_FLOATS: Final = _FLOATS_AND_OTHERS.to_json(False) != b"false"
"""Whether any number is written as a float where it may be one, as by pydantic before 2.9."""

_JSON_KINDS: Final[Mapping[str, str]] = {
    "none": "none",
    **{kind: "number" if _WRITES_FLOATS else kind for kind in ("bool", "int", "float")},
    **dict.fromkeys(_TEXTS, "text"),
    **dict.fromkeys(("list", "set", "frozenset", "tuple"), "array"),
    **dict.fromkeys(("dict", "model", "dataclass", "typed-dict"), "object"),
}
"""What JSON has for a type, by which alternatives can be told apart."""

_KEYS: Final = frozenset({"str", "int", "uuid"})
"""Types of keys that are read as they were written."""

_CHANGES_FORMAT: Final = ("ser_json_", "val_json_", "val_temporal_")
_WRAPPERS: Final = ("definitions", "default", "function-before", "function-after", "function-wrap")
_RECORDS: Final = ("model", "dataclass")
_ABOUT: Final = ("metadata", "config", "cls", "function", "serialization")


def survey(schema: Node) -> Survey:
    """Return what must be looked at of a body, given the core schema of its type."""
    walk = _Walk()
    try:
        needs = walk.of(schema, {})
    except (KeyError, TypeError, ValueError, AttributeError):  # a core schema of another version of pydantic
        return Survey(_TRIAL | _UNTYPED)
    root = _root(schema)
    kind = root["cls"] if root["type"] in _RECORDS else None
    classes = walk.classes[1:] if kind in walk.classes[:1] else walk.classes
    return Survey(needs, kind, tuple(dict.fromkeys(classes)), walk.open_fields if kind else ())


def root_kind(schema: Node) -> str:
    """Return the type of the node that is inside of validators and defaults."""
    return str(_root(schema)["type"])


def _root(node: Node) -> Node:
    known: dict[str, Node] = {}
    while node["type"] in _WRAPPERS or node.get("schema_ref") in known:
        known |= {each["ref"]: each for each in node.get("definitions", ())}
        node = node["schema"] if "schema" in node else known[node["schema_ref"]]
    return node


class _Walk:
    """Visits the nodes of one schema, with the configuration that applies to each."""

    def __init__(self) -> None:
        self.known: dict[str, Node] = {}
        self.visited: set[str] = set()
        self.classes: list[type] = []
        self.open_fields: tuple[str, ...] = ()

    def of(self, node: Node, config: Node) -> Needs:
        """Return what a node needs."""
        if "serialization" in node or any(key.startswith(_CHANGES_FORMAT) for key in config):
            return _unknown(node)
        return _VISITS.get(node["type"], _not_understood)(self, node, config)

    def each(self, nodes: Iterable[Node], config: Node) -> Needs:
        """Return what several nodes need."""
        return _NOTHING.union(*(self.of(node, config) for node in nodes))


def _unknown(node: object) -> Needs:
    return _TRIAL | (_UNTYPED if _holds_anything(node) else _NOTHING)


def _holds_anything(node: object) -> bool:
    if isinstance(node, Mapping):
        return node.get("type") == "any" or any(
            _holds_anything(inside) for key, inside in node.items() if key not in _ABOUT
        )
    return isinstance(node, list | tuple) and any(map(_holds_anything, node))


def _not_understood(_walk: _Walk, node: Node, _config: Node) -> Needs:
    return _unknown(node)


def _plain(_walk: _Walk, _node: Node, _config: Node) -> Needs:
    return _NOTHING


def _decimal(_walk: _Walk, _node: Node, _config: Node) -> Needs:
    return _DECIMAL


def _any(_walk: _Walk, _node: Node, _config: Node) -> Needs:
    return _UNTYPED


def _float(_walk: _Walk, node: Node, config: Node) -> Needs:
    return _FINITE if node.get("allow_inf_nan", config.get("allow_inf_nan", True)) else _NOTHING


def _literal(_walk: _Walk, node: Node, _config: Node) -> Needs:
    return _NOTHING if _are_alike(node["expected"]) else _TRIAL


def _enum(_walk: _Walk, node: Node, _config: Node) -> Needs:
    return _NOTHING if _are_alike([member.value for member in node["members"]]) else _TRIAL


def _are_alike(constants: Iterable[object]) -> bool:
    """Return whether constants are all texts or all whole numbers, so that none is read as another one."""
    kinds = set(map(type, constants))
    return kinds <= {str} or kinds <= {int}


def _inside(walk: _Walk, node: Node, config: Node) -> Needs:
    return walk.of(node["schema"], config)


def _default(walk: _Walk, node: Node, config: Node) -> Needs:
    """A default is not validated: it may be what the type does not read."""
    needs = walk.of(node["schema"], config)
    if "default" not in node:
        return needs
    definitions = [dict(known) for known in walk.known.values()]
    inner = {"type": "definitions", "schema": node["schema"], "definitions": definitions}
    return needs if SchemaValidator(inner).isinstance_python(node["default"], strict=True) else needs | _TRIAL


def _definitions(walk: _Walk, node: Node, config: Node) -> Needs:
    walk.known |= {each["ref"]: each for each in node["definitions"]}
    return walk.of(node["schema"], config)


def _reference(walk: _Walk, node: Node, config: Node) -> Needs:
    name = node["schema_ref"]
    if name in walk.visited:
        walk.classes += [cls] if (cls := walk.known[name].get("cls")) else []
        return _DEPTH
    walk.visited.add(name)
    return walk.of(walk.known[name], config)


def _union(walk: _Walk, node: Node, config: Node) -> Needs:
    choices = [choice[0] if isinstance(choice, tuple) else choice for choice in node["choices"]]
    kinds = [_json_kind(walk, choice) for choice in choices]
    needs = walk.each(choices, config)
    are_told_apart = len(set(kinds)) == len(kinds) and None not in kinds and node.get("mode", "smart") == "smart"
    return needs if are_told_apart else needs | _TRIAL


def _json_kind(walk: _Walk, node: Node) -> str | None:
    while node["type"] == "definition-ref":
        node = walk.known[node["schema_ref"]]
    return None if node.get("root_model") else _JSON_KINDS.get(node["type"])


def _tagged(walk: _Walk, node: Node, config: Node) -> Needs:
    needs = walk.each(node["choices"].values(), config)
    return needs if isinstance(node["discriminator"], str) else needs | _TRIAL


def _array(walk: _Walk, node: Node, config: Node) -> Needs:
    items = node.get("items_schema") or {"type": "any"}
    return walk.each(items if isinstance(items, list | tuple) else [items], config)


def _dict(walk: _Walk, node: Node, config: Node) -> Needs:
    keys, values = (node.get(name) or {"type": "any"} for name in ("keys_schema", "values_schema"))
    needs = walk.of(keys, config) | walk.of(values, config)
    return needs if keys["type"] in _KEYS or keys["type"] == "any" else needs | _TRIAL


def _model(walk: _Walk, node: Node, _config: Node) -> Needs:
    config = node.get("config") or {}
    walk.classes.append(node["cls"])
    if node.get("custom_init") or node.get("post_init") not in (None, "init_private_attributes"):
        return _unknown(node) if not _is_private(node) else _record(walk, node["schema"], config)
    if not node.get("root_model"):
        return _record(walk, node["schema"], config)
    needs = walk.of(node["schema"], config)
    walk.open_fields = ("root",) if _is_open(needs) else ()
    return needs


def _is_private(node: Node) -> bool:
    """Return whether what runs on a new instance only sets its private attributes."""
    hook = node.get("post_init")
    return not node.get("custom_init") and getattr(node["cls"], str(hook)).__name__ == "init_private_attributes"


def _dataclass(walk: _Walk, node: Node, _config: Node) -> Needs:
    walk.classes.append(node["cls"])
    return _unknown(node) if node.get("post_init") else _record(walk, node["schema"], node.get("config") or {})


def _typed_dict(walk: _Walk, node: Node, config: Node) -> Needs:
    return _record(walk, node, node.get("config") or config)


def _record(walk: _Walk, node: Node, config: Node) -> Needs:
    listed = node.get("fields")
    if listed is None or node.get("extras_schema") or node.get("extras_keys_schema"):
        return _unknown(node)  # validators of the user's stand around the fields
    named = listed.items() if isinstance(listed, Mapping) else [(field["name"], field) for field in listed]
    each = {name: walk.of(field["schema"], config) for name, field in named}
    needs = _NOTHING.union(*each.values())
    walk.open_fields = tuple(name for name, needed in each.items() if _is_open(needed))  # the outermost is the last
    extra = node.get("extra_behavior") or config.get("extra_fields_behavior") or "ignore"
    if extra == "allow":
        needs |= _UNTYPED
        walk.open_fields += ("model_extra",)
    is_read = all(_is_read_as_written(name, field) for name, field in named)
    return needs if is_read and not (node.get("computed_fields") and extra != "ignore") else needs | _TRIAL


def _is_open(needs: Needs) -> bool:
    """Return whether a field holds models that are written by what they are, and by nothing else."""
    return "untyped" in needs and "trial" not in needs


def _is_read_as_written(name: str, field: Node) -> bool:
    is_written = not field.get("serialization_exclude") and field.get("serialization_exclude_if") is None
    is_taken = field.get("init", True) and not field.get("init_only")
    return is_written and is_taken and field.get("validation_alias", name) == field.get("serialization_alias", name)


_Visit = Callable[[_Walk, Node, Node], Needs]

_VISITS: Final[Mapping[str, _Visit]] = {
    **dict.fromkeys(("none", "bool", "int", *_TEXTS), _plain),
    "decimal": _decimal,
    "any": _any,
    "float": _float,
    "literal": _literal,
    "enum": _enum,
    "nullable": _inside,
    "default": _default,
    "definitions": _definitions,
    "definition-ref": _reference,
    "union": _union,
    "tagged-union": _tagged,
    **dict.fromkeys(("list", "set", "frozenset", "tuple"), _array),
    "dict": _dict,
    "model": _model,
    "dataclass": _dataclass,
    "typed-dict": _typed_dict,
}
"""What reads a node of each type; of all others nothing is known."""
