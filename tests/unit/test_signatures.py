"""The public API in full: tests/api.txt has a line for each name, method and field, so that each change is seen."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from difflib import unified_diff
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_overloads, is_typeddict

from pydantic import BaseModel

import taskroute
import taskroute.instrumentation
import taskroute.testing

PINNED = Path(__file__).parents[1] / "api.txt"
PACKAGE = Path(taskroute.__file__).parent
MODULES = (taskroute, taskroute.instrumentation, taskroute.testing)
LAZY = ("__annotate__", "__annotate_func__")
"""What Python 3.14 gives a class that has annotations."""
HINT = "If you mean this, run `python -m tests.unit.test_signatures --write` and tell it in CHANGELOG.md."


def test_public_api_matches_the_listed_one() -> None:
    pinned = PINNED.read_text().splitlines()

    changes = list(unified_diff(pinned, lines(), "tests/api.txt", "the code", lineterm="", n=0))

    assert not changes, "\n".join(["the public API has changed:", *changes, HINT])


def lines() -> list[str]:
    names = [(f"{module.__name__}.{name}", getattr(module, name)) for module in MODULES for name in module.__all__]
    return sorted(line for name, thing in names for line in describe(name, thing))


def describe(name: str, thing: Any) -> Iterator[str]:
    if not isinstance(thing, type):
        yield f"{name} {' | '.join(each.__name__ for each in get_args(thing)) or type(thing).__name__}"
        return
    bases = "TypedDict" if is_typeddict(thing) else ", ".join(base.__name__ for base in thing.__bases__)
    yield f"{name} class({bases.removeprefix('object')}) in {thing.__module__}"
    attributes: dict[str, Any] = {}
    annotations: dict[str, Any] = {}
    for owner in reversed(thing.__mro__):
        if owner.__module__.partition(".")[0] == "taskroute":
            attributes |= vars(owner)
            annotations |= inspect.get_annotations(owner)
    yield from (f"{name}.{line}" for line in (*fields(thing, annotations), *methods(thing, attributes)))


def fields(owner: type, annotations: dict[str, Any]) -> Iterator[str]:
    specified = owner.model_fields if issubclass(owner, BaseModel) else {}
    given = {
        name: field.get_default(call_default_factory=True)
        for name, field in specified.items()
        if not field.is_required()
    }
    for name, value in annotations.items():
        shown = str(annotation(value))
        if not name.startswith("_") and not shown.startswith("ClassVar"):
            yield f"{name}: {shown} = {default(given[name])}" if name in given else f"{name}: {shown}"


def methods(owner: type, attributes: dict[str, Any]) -> Iterator[str]:
    for name, value in attributes.items():
        # What a property, cached property, class method or static method is made of.
        inner = (getattr(value, attribute, None) for attribute in ("fget", "func", "__func__"))
        function = next(filter(None, inner), value)
        if inspect.isfunction(function) and is_public(owner, name, function):
            kinds = [type(value).__name__] * (function is not value) + ["async"] * inspect.iscoroutinefunction(function)
            kind = f": {' '.join(kinds)} " if kinds else ""
            yield from (f"{name}{kind}{signature(each)}" for each in (*get_overloads(function), function))


def is_public(owner: type, name: str, function: Any) -> bool:
    """Return whether users call it, by its name or by an operator, and it is the package's own."""
    if name == "__init__" and hasattr(owner, "__dataclass_fields__"):
        return True
    is_operator = name.endswith("__") and name not in {*vars(object), "__post_init__", *LAZY}
    is_ours = Path(inspect.unwrap(function).__code__.co_filename).is_relative_to(PACKAGE)
    return is_ours and (name == "__init__" or is_operator or not name.startswith("_"))


class Verbatim:
    """Text in the place of an annotation or a default. A signature would show a string in quotes."""

    def __init__(self, text: object) -> None:
        self.text = str(text)

    def __repr__(self) -> str:
        return self.text


def signature(function: Any) -> str:
    found = inspect.signature(function)
    parameters = [
        each.replace(annotation=annotation(each.annotation), default=default(each.default))
        for each in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters, return_annotation=annotation(found.return_annotation)))


def annotation(value: Any) -> Any:
    """Show it as it is written, or where it is an object already, as it might have been."""
    return value if value is inspect.Signature.empty else Verbatim(written(value))


def written(value: Any) -> str:
    """Return a type as code, without the modules of its names and what `Annotated` adds to it."""
    value = getattr(value, "__forward_arg__", value)  # a TypedDict wraps a string
    if isinstance(value, str):
        return value
    origin, parts = get_origin(value), get_args(value)
    if origin is Annotated:
        return written(parts[0])
    if origin in (Union, UnionType):
        # `typing` takes unions of the same members for one, in whichever order the first of them has.
        return " | ".join(sorted(map(written, parts), key=lambda member: (member == "None", member)))
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, parts))}]"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if value in (None, NoneType, ...):
        return "..." if value is ... else "None"
    name = str(getattr(origin or value, "__qualname__", None) or getattr(value, "__name__", value))
    return f"{name}[{', '.join(map(written, parts))}]" if parts else name


def default(value: Any) -> Any:
    """Show it as Python does, unless that would have an address in it."""
    return value if value is inspect.Signature.empty else Verbatim("..." if "<" in repr(value) else repr(value))


if __name__ == "__main__" and sys.argv[1:] == ["--write"]:
    PINNED.write_text("\n".join(lines()) + "\n")
