"""Functions: what one is called, and how it has to be called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

Kind = Literal["function", "generator", "coroutine", "async_generator"]


def kind_of(function: Callable[..., Any]) -> Kind:
    """Return how a function has to be called."""
    function = unwrapped(function)
    # An object may be called by something async; a class is called to make one.
    for code in (function, None if inspect.isclass(function) else getattr(function, "__call__", None)):  # noqa: B004
        if inspect.isasyncgenfunction(code):
            return "async_generator"
        if inspect.isgeneratorfunction(code):
            return "generator"
        if inspect.iscoroutinefunction(code):
            return "coroutine"
    return "function"


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a partial or a static method calls."""
    while isinstance(function, partial | staticmethod):
        function = function.func if isinstance(function, partial) else function.__func__
    return function


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling a function gives a coroutine, as far as can be seen before."""
    return kind_of(function) == "coroutine"


def describe(function: Callable[..., object]) -> str:
    """Name of a function for errors and logs: module and qualified name."""
    return ".".join(names_of(function))


def names_of(function: Callable[..., object]) -> tuple[str, str]:
    """Module and qualified name of a function; of a partial, those of what it calls; of an object, its class's."""
    while isinstance(function, partial):
        function = function.func
    qualified = getattr(function, "__qualname__", None) or type(function).__qualname__
    return getattr(function, "__module__", "?"), qualified


def name_of(function: Callable[..., Any]) -> str:
    """Return the qualified name of a function; of an object, that of its class."""
    function = unwrapped(function)
    return getattr(function, "__qualname__", type(function).__qualname__)
