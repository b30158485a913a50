"""Signatures: the parameters of a function, or why it cannot be a handler or a provider."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import get_origin

from taskroute.errors import HandlerSignatureError
from taskroute.handlers.marks import MARKS, Depends, Header, marks_of


def parameters_of(function: Callable[..., object], name: str) -> Iterable[inspect.Parameter]:
    """Return the parameters of a function; refuse those that cannot be fed."""
    try:
        # A class with its type arguments, ``Repository[int]``, is called as the class is.
        signature = inspect.signature(get_origin(function) or function, eval_str=True)
    except NameError as error:
        raise HandlerSignatureError(
            f"handler {name}: an annotation names {error.name!r}, which its module does not have; "
            f"define or import it at module level"
        ) from None
    except Exception as error:  # noqa: BLE001 - a quoted annotation is an expression and may raise anything
        raise HandlerSignatureError(f"handler {name}: its signature cannot be read: {error}") from None
    for parameter in signature.parameters.values():
        _check_marks(parameter, name)
        if isinstance(parameter.default, Depends | Header):
            mark = type(parameter.default).__name__
            raise HandlerSignatureError(
                f"handler {name}: parameter {parameter.name!r} has {mark}(...) as its default; "
                f"it belongs into the annotation: {parameter.name}: Annotated[..., {mark}(...)]"
            )
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise HandlerSignatureError(
                f"handler {name}: parameter {str(parameter).split(':')[0]!r} cannot be passed by name; "
                f"name each parameter and leave out '/', * and **"
            )
    return signature.parameters.values()


def _check_marks(parameter: inspect.Parameter, name: str) -> None:
    """Refuse what looks like a mark and is none, which would be passed over: another library's, or one not called."""
    for mark in (*marks_of(parameter.annotation), parameter.default):
        kind = mark if isinstance(mark, type | FunctionType) else type(mark)
        own = MARKS.get(kind.__name__)
        subject = f"handler {name}: parameter {parameter.name!r} is marked with"
        if own is not None and kind is not own:
            raise HandlerSignatureError(
                f"{subject} {kind.__module__}.{kind.__name__}: import {kind.__name__} from taskroute instead"
            )
        if own is not None and mark is own:
            raise HandlerSignatureError(f"{subject} {kind.__name__}: write {kind.__name__}(...), with brackets")
