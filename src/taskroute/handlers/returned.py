"""Returned: whether what a call has returned has run. What nobody runs must not count as handled.

How a function looks does not tell: a decorator may return a coroutine or a generator from a plain function.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from inspect import isawaitable
from itertools import starmap
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import Any, Final

from taskroute.errors import ConfigurationError
from taskroute.handlers.function import name_of


@contextmanager
def _context() -> Iterator[None]:
    yield


@asynccontextmanager
async def _async_context() -> AsyncIterator[None]:
    yield


CONTEXT: Final = type(_context())
"""What a function returns that `contextlib.contextmanager` has made."""
ASYNC_CONTEXT: Final = type(_async_context())

_PLAIN: Final = frozenset({bool, int, float, str, bytes, dict})
"""Types of most results."""

_NEVER_RUN: Final[tuple[tuple[tuple[type, ...], str], ...]] = (
    (
        (Generator, AsyncGenerator),
        "a generator, in which nothing has run: write a function without yield, or loop over it",
    ),
    ((map, filter, starmap), "an iterator, in which nothing has run: loop over it"),
    ((CONTEXT, ASYNC_CONTEXT), "a context manager that nobody enters: enter it with a with statement"),
    ((Future,), "a future that nobody waits for: return its result()"),
    (
        (FunctionType, MethodType, BuiltinFunctionType, partial),
        "a function that nobody calls: call it; a decorator that takes arguments needs brackets",
    ),
)
"""What certainly has not run, or may not have ended, and the way out. Awaitables are awaited before."""

_ALL: Final = tuple(kind for kinds, _ in _NEVER_RUN for kind in kinds)


def check_ran(function: Callable[..., Any], result: object) -> None:
    """Raise ConfigurationError if what `function` has returned, not None, is something that nobody runs."""
    if isinstance(result, list | tuple | set):
        if sum(map(_is_unfinished, result)):  # of all: each coroutine is closed
            raise ConfigurationError(
                f"{name_of(function)} returned a {type(result).__name__} of coroutines or futures that nobody waits "
                f"for: await asyncio.gather(*those), or return each one's result()"
            )
    elif type(result) not in _PLAIN and isinstance(result, _ALL):
        what = next(text for kinds, text in _NEVER_RUN if isinstance(result, kinds))
        raise ConfigurationError(f"{name_of(function)} returned {what}")


def _is_unfinished(item: object) -> bool:
    """Return whether an item of a result is a coroutine, which is closed, or a future that has no result yet."""
    if isinstance(item, CoroutineType):
        item.close()
        return True
    return isinstance(item, Future | asyncio.Future) and not item.done()


async def ran(function: Callable[..., Any], value: Any) -> Any:
    """Return what `function` has returned in the end, not None: an awaitable is awaited, what never runs is an error.

    Runs on the event loop.
    """
    while isawaitable(value):
        given = await value
        if given is None or given is value:  # some objects give themselves
            return given
        value = given
    check_ran(function, value)
    return value
