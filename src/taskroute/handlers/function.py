"""Functions: the name of one, and how it must be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

Kind = Literal["function", "generator", "coroutine", "async_generator"]
"""What a call of a function returns: a value, or what must be run to get values."""


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return how a function must be called."""
    function = _unwrapped(function)
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
    qualified = getattr(function, "__qualname__", None) or type(function).__qualname__
    return getattr(function, "__module__", None) or "?", qualified  # methods of C have a module of None


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a partial or a static method calls."""
    while isinstance(function, partial | staticmethod):
        function = function.func if isinstance(function, partial) else function.__func__
    return function
