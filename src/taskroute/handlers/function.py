"""Functions: the name of one, and how it must be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, Final, Literal, get_origin

Kind = Literal["function", "generator", "coroutine", "async_generator", "context_manager", "async_context_manager"]
"""What a call of a function returns: a value, or what must be run to get values."""

_OF_CONTEXTLIB: Final = tuple(make(iter).__code__ for make in (contextmanager, asynccontextmanager))  # type: ignore[arg-type]
"""The code of the functions that `contextlib` makes of generator functions."""


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return how a function must be called."""
    function = _unwrapped(function)
    if getattr(function, "__code__", None) in _OF_CONTEXTLIB:
        return "async_context_manager" if inspect.isasyncgenfunction(inspect.unwrap(function)) else "context_manager"
    # An object is called by its class's `__call__`, which may be async; calling a class makes an object.
    for code in (function, None if inspect.isclass(function) else getattr(function, "__call__", None)):  # noqa: B004
        if inspect.isasyncgenfunction(code):
            return "async_generator"
        if inspect.isgeneratorfunction(code):
            return "generator"
        if inspect.iscoroutinefunction(code):
            return "coroutine"
    return "function"


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether a call gives a coroutine. A plain function that returns one is not known before it is called."""
    return kind_of(function) == "coroutine"


def is_class(function: Callable[..., Any]) -> bool:
    """Return whether a call makes an object."""
    function = _unwrapped(function)
    return inspect.isclass(get_origin(function) or function)


def is_wrapper(function: Callable[..., Any]) -> bool:
    """Return whether a function says that it stands for another one, as a decorator's wrapper does."""
    return hasattr(_unwrapped(function), "__wrapped__")


def chooses_by_position(function: Callable[..., Any]) -> bool:
    """Return whether a function is one of `functools.singledispatch`, or such a method."""
    function = _unwrapped(function)
    module = getattr(function, "__globals__", {}).get("__name__", type(function).__module__)
    return module == "functools" and hasattr(function, "register")


def describe(function: Callable[..., object]) -> str:
    """Return the name of a function for errors and logs: its module and qualified name."""
    return ".".join(names_of(function))


def name_of(function: Callable[..., object]) -> str:
    """Return the qualified name of a function."""
    return names_of(function)[1]


def names_of(function: Callable[..., object]) -> tuple[str, str]:
    """Return the module and the qualified name of a function, or of the class of an object that can be called.

    >>> names_of(partial(partial(describe)))
    ('taskroute.handlers.function', 'describe')
    """
    function = _unwrapped(function)
    qualified, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    return (
        module if isinstance(module, str) else "?",  # methods of C have a module of None
        qualified if isinstance(qualified, str) else type(function).__qualname__,  # an object may have anything
    )


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a partial or a static method calls."""
    while isinstance(function, partial | staticmethod):
        function = function.func if isinstance(function, partial) else function.__func__
    return function
