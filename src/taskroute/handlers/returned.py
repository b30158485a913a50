"""Returned: whether what a call has returned has run. What nobody runs must not count as handled.

How a function looks does not tell: a decorator may return a coroutine or a generator from a plain function.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, closing, contextmanager, nullcontext
from functools import partial
from inspect import isawaitable
from itertools import starmap
from threading import Thread
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import Any, Final

from taskroute.errors import ConfigurationError
from taskroute.handlers.function import name_of
from taskroute.quoting import kind_with_article


@contextmanager
def _context() -> Iterator[None]:
    yield


@asynccontextmanager
async def _async_context() -> AsyncIterator[None]:
    yield


CONTEXT: Final = type(_context())
"""What a function returns that `contextlib.contextmanager` has made."""
ASYNC_CONTEXT: Final = type(_async_context())

_PLAIN: Final = frozenset({bool, int, float, str, bytes})
"""Types of most results."""

_NEVER_RUN: Final[tuple[tuple[tuple[type, ...], str], ...]] = (
    (
        (Generator, AsyncGenerator),
        "a generator, in which nothing has run: write a function without yield, or loop over it",
    ),
    ((map, filter, starmap), "an iterator, in which nothing has run: loop over it"),
    (
        (CONTEXT, ASYNC_CONTEXT, closing, aclosing, nullcontext, ExitStack, AsyncExitStack),
        "a context manager that nobody enters: enter it with a with statement",
    ),
    ((Future,), "a future that nobody waits for: return its result()"),
    ((Thread,), "a thread that nobody waits for: start() and join() it, and return what it has found"),
    (
        (FunctionType, MethodType, BuiltinFunctionType, partial),
        "a function that nobody calls: call it; a decorator that takes arguments needs brackets",
    ),
)
"""What certainly has not run, or may not have ended, and the way out. Awaitables are awaited before.

Of the context managers only those that are good for nothing else: files, locks and responses are used without.
"""

_ALL: Final = tuple(kind for kinds, _ in _NEVER_RUN for kind in kinds)
_LOOKED_INTO: Final = (list, tuple, set, frozenset, dict)
_LEVELS: Final = 3
"""Containers inside of each other that are looked into: a list of pairs, of lists."""


def check_ran(function: Callable[..., Any], result: object) -> None:
    """Raise ConfigurationError if what `function` has returned, not None, is something that nobody runs."""
    if isinstance(result, _LOOKED_INTO):
        if _unfinished(result):
            raise ConfigurationError(
                f"{name_of(function)} returned {kind_with_article(result)} of coroutines or futures that nobody waits "
                f"for: await asyncio.gather(*those), or return each one's result()"
            )
    elif isinstance(result, BaseException) or (isinstance(result, type) and issubclass(result, BaseException)):
        raise ConfigurationError(f"{name_of(function)} returned an exception: raise it")
    elif type(result) not in _PLAIN and isinstance(result, _ALL) and not _has_ended(result):
        what = next(text for kinds, text in _NEVER_RUN if isinstance(result, kinds))
        raise ConfigurationError(f"{name_of(function)} returned {what}")


def _unfinished(items: Any, levels: int = _LEVELS) -> int:
    """Return how many items of a result have not run, or not to the end. All are visited: each coroutine is closed."""
    count = 0
    for item in items.values() if isinstance(items, dict) else items:
        if isinstance(item, _LOOKED_INTO):
            count += _unfinished(item, levels - 1) if levels > 1 else 0
        elif isinstance(item, CoroutineType):
            item.close()
            count += 1
        elif isinstance(item, Future | asyncio.Future):
            count += not item.done()
        elif isinstance(item, Thread | Generator | AsyncGenerator):
            count += not _has_ended(item)
    return count


def _has_ended(result: object) -> bool:
    """Return whether a thread was started and has ended; whatever else may not have run has not."""
    return isinstance(result, Thread) and result.ident is not None and not result.is_alive()


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
