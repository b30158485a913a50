"""Signatures: the parameters of a function that is to be a handler or a provider.

What could never be fed is refused here, at registration: `CHECKS` is the table of what no parameter may be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import Parameter
from types import FunctionType
from typing import Any, Final

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.annotations import absent_names, parameters_with_annotations
from taskroute.handlers.marks import MARKS, SHARED_NAMES, Depends, mark_of, marks_of


@contextmanager
def naming(subject: str) -> Iterator[None]:
    """Put `subject` before what is wrong with a signature."""
    try:
        yield
    except HandlerSignatureError as error:
        raise HandlerSignatureError(f"{subject}: {error}") from None


def parameters_of(function: Callable[..., object]) -> tuple[Parameter, ...]:
    """Return the parameters of a function.

    Raises:
        HandlerSignatureError: they cannot be read, or one of `CHECKS` refuses one of them.
    """
    parameters = _parameters(function)
    for parameter in parameters:
        for check in CHECKS:
            if problem := check(parameter):
                raise HandlerSignatureError(f"parameter {_shown(parameter)!r} {problem}")
    return parameters


def _parameters(function: Callable[..., object]) -> tuple[Parameter, ...]:
    try:
        return parameters_with_annotations(function)
    except Exception as error:  # noqa: BLE001 - a quoted annotation is an expression and may raise anything
        raise HandlerSignatureError(f"its signature cannot be read: {error}") from None


def _shown(parameter: Parameter) -> str:
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    return stars + parameter.name


# --- what no parameter may be ---

_WRAPS: Final = "; above a decorator's wrapper write @functools.wraps(function)"


def _of_another_library(parameter: Parameter) -> str | None:
    """Find a mark with a name of ours that is not ours. It would mean nothing here, and be passed over."""
    for mark in _possible_marks(parameter):
        kind = mark if isinstance(mark, type | FunctionType) else type(mark)
        if kind.__name__ in SHARED_NAMES and MARKS[kind.__name__] is not kind:
            named = f"{kind.__module__}.{kind.__name__}"
            return f"is marked with {named}: import {kind.__name__} from taskroute instead"
    return None


def _without_brackets(parameter: Parameter) -> str | None:
    for mark in _possible_marks(parameter):
        if any(mark is kind for kind in MARKS.values()):
            return f"is marked with {mark.__name__}: write {mark.__name__}(...), with brackets"
    return None


def _as_default(parameter: Parameter) -> str | None:
    if not isinstance(parameter.default, tuple(MARKS.values())):
        return None
    mark = type(parameter.default).__name__
    return (
        f"has {mark}(...) as its default; it belongs in the annotation: {parameter.name}: Annotated[..., {mark}(...)]"
    )


def _without_name(parameter: Parameter) -> str | None:
    if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        return None
    wraps = "" if parameter.kind is parameter.POSITIONAL_ONLY else _WRAPS
    return f"cannot be passed by name; name each parameter and leave out '/', * and **{wraps}"


def _of_an_absent_type(parameter: Parameter) -> str | None:
    """Find a type that has to be known, of which the module has only the name, if that."""
    name = next(absent_names(parameter.annotation), None)
    if name is None or mark_of(parameter, Depends) is not None:
        return None
    return (
        f"has an annotation that names {name!r}, which its module does not have: define or import it at module level, "
        f"not in a function and not under `if TYPE_CHECKING`"
    )


def _possible_marks(parameter: Parameter) -> tuple[Any, ...]:
    return (*marks_of(parameter), parameter.default)


Check = Callable[[Parameter], str | None]
"""Says what is wrong with a parameter, None where nothing is."""

CHECKS: Final[tuple[Check, ...]] = (
    _of_another_library,
    _without_brackets,
    _as_default,
    _without_name,
    _of_an_absent_type,
)
