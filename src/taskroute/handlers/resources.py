"""Resources: which of the things that are open is the one that a handler asks for. Pure.

One thing, or a dataclass of several. What is asked for by a type is the thing itself, or the field of the dataclass.
"""

from __future__ import annotations

import dataclasses
from inspect import Parameter
from typing import Any, get_origin, get_type_hints

from taskroute.errors import ConfigurationError
from taskroute.handlers.asked import Asked, name_of_type


def find_resource(resources: object, asked: Asked) -> object:
    """Return the resource that is asked for.

    Raises:
        ConfigurationError: there is none, or several and none of them has the name of the parameter.
    """
    if _is_a(resources, asked.type):
        return resources
    declared = _declared(resources)
    found = [name for name, kind in declared.items() if kind == asked.type] or [
        name for name in declared if _is_a(getattr(resources, name), asked.type)
    ]
    name = asked.parameter if asked.parameter in found else found[0] if len(found) == 1 else None
    if name is not None:
        return getattr(resources, name)
    if found:
        raise ConfigurationError(
            f"{asked}, and the resources have several: {', '.join(found)}; give the parameter the name of one"
        )
    if asked.default is not Parameter.empty:
        return asked.default
    raise ConfigurationError(f"{asked}, and the resources are {_described(resources, declared)}")


def _declared(resources: object) -> dict[str, Any]:
    """Return the types of the fields of a dataclass by their names, as far as they can be read."""
    if not dataclasses.is_dataclass(resources):
        return {}
    names = [each.name for each in dataclasses.fields(resources)]
    try:
        hints = get_type_hints(type(resources))
    except Exception:  # noqa: BLE001 - an annotation names what only type checkers know, or is an expression
        hints = {}
    return {name: hints.get(name) for name in names if hasattr(resources, name)}


def _is_a(thing: object, kind: Any) -> bool:
    try:
        return isinstance(thing, get_origin(kind) or kind)
    except TypeError:  # not a class: a NewType, a protocol that cannot be asked at run time
        return False


def _described(resources: object, declared: dict[str, Any]) -> str:
    if resources is None:
        return "none"
    kind = f"a {name_of_type(type(resources))}"
    fields = ", ".join(f"{name}: {name_of_type(type(getattr(resources, name)))}" for name in declared)
    return f"{kind} of {fields}" if fields else kind
