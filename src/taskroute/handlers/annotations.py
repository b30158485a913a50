"""Annotations: what those of a function's parameters say, with names in them that its module may not have.

Type checkers know names that the program has not: imported `if TYPE_CHECKING`, or local to the function around. Where
nothing needs the type, as beside `Depends`, such a name does no harm; where something does, it can be named.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from inspect import Parameter
from typing import Annotated, Any, ForwardRef, Literal, get_args, get_origin, get_type_hints

if sys.version_info >= (3, 14):  # annotations are evaluated when they are asked for
    from annotationlib import Format

    _AS_THEY_ARE: Mapping[str, Any] = {"annotation_format": Format.FORWARDREF}
else:
    _AS_THEY_ARE: Mapping[str, Any] = {}


class _Absent(type):
    """Stands for a name that is not there, and for all that is taken from it."""

    def __getattr__(cls, name: str) -> _Absent:
        if name.startswith("_"):
            raise AttributeError(name)
        return _absent(f"{cls.__name__}.{name}")

    def __getitem__(cls, _: object) -> _Absent:
        return cls


def _absent(name: str) -> _Absent:
    return _Absent(name, (), {})


def absent_names(annotation: object) -> Iterator[str]:
    """Yield the names in an annotation that are not there."""
    if isinstance(annotation, _Absent):
        yield annotation.__name__
    for part in get_args(annotation):
        yield from absent_names(part)


def signature_as_written(function: Callable[..., object]) -> inspect.Signature:
    """Return a function's signature without evaluating its annotations: for names and defaults."""
    return inspect.signature(function, **_AS_THEY_ARE)


def parameters_with_annotations(function: Callable[..., object]) -> tuple[Parameter, ...]:
    """Return a function's parameters, with no text or reference left in their annotations.

    What the function returns is not looked at.

    Raises:
        Exception: its signature cannot be read, or an annotation raises, which is an expression.
    """
    # A class with its type arguments, ``Repository[int]``, is called as the class is.
    called = get_origin(function) or function
    try:
        found = inspect.signature(called, eval_str=True)
    except NameError:
        found = signature_as_written(called)
    return tuple(_closed(parameter, called) for parameter in found.parameters.values())


def return_annotation(function: Callable[..., object]) -> Any:
    """Return what a function says that it returns, `Signature.empty` where it does not, or cannot be asked."""
    try:
        called = get_origin(function) or function
        annotation = signature_as_written(called).return_annotation
        return _resolved(annotation, _namespace(called)) if _is_open(annotation) else annotation
    except Exception:  # noqa: BLE001 - an annotation is an expression and may raise anything
        return inspect.Signature.empty


def _closed(parameter: Parameter, function: Callable[..., object]) -> Parameter:
    if not _is_open(parameter.annotation):
        return parameter
    return parameter.replace(annotation=_resolved(parameter.annotation, _namespace(function)))


def _is_open(annotation: object) -> bool:
    """Return whether there is a text or a reference where a type belongs."""
    kind, parts = get_origin(annotation), get_args(annotation)
    parts = () if kind is Literal else parts[:1] if kind is Annotated else parts
    return isinstance(annotation, str | ForwardRef) or any(map(_is_open, parts))


def _resolved(annotation: object, namespace: Mapping[str, Any]) -> Any:
    def holder() -> None: ...

    absent: dict[str, Any] = {}
    while True:
        holder.__annotations__ = {"it": annotation}
        try:
            return get_type_hints(holder, dict(namespace), absent, include_extras=True)["it"]
        except NameError as error:
            if not error.name or error.name in absent:
                raise
            absent[error.name] = _absent(error.name)


def _namespace(function: Any) -> Mapping[str, Any]:
    """Return the names that a function's module has."""
    while isinstance(function, partial) or hasattr(function, "__wrapped__"):
        function = function.func if isinstance(function, partial) else function.__wrapped__
    if inspect.isclass(function):
        module = sys.modules.get(function.__module__)
        return getattr(function.__init__, "__globals__", {}) | (vars(module) if module else {})
    code = function if inspect.isroutine(function) else type(function).__call__
    return getattr(inspect.unwrap(code), "__globals__", {})
