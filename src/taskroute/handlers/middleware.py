"""Middleware: code around handlers, ``(message, call_next) -> result``, composed from the outside in."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable
from inspect import isawaitable
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from taskroute.errors import ConfigurationError
from taskroute.handlers.crossing import Crossing, Submit
from taskroute.handlers.function import kind_of, name_of
from taskroute.message.message import Message


class CallNext(Protocol):
    """What a middleware calls, as ``call_next(message)``: the next one, or the handler."""

    def __call__(self, message: Message, /) -> Any:
        """Return what the handler returns; from an async one, something to await.

        Raises:
            ConfigurationError: it is called a second time.
        """


class Middleware(Protocol):
    """A function ``(message, call_next) -> result`` around handlers.

    It calls what comes next once, or not at all; an async one also awaits it.

    What it raises is an error of the message. It may hand on another message (``dataclasses.replace``): its body,
    headers and properties are then what the handler sees. A plain function runs in the handler's thread, an
    ``async def`` on the worker's event loop.

    Example:
        >>> def timed(message, call_next):
        ...     began = time.monotonic()
        ...     try:
        ...         return call_next(message)
        ...     finally:
        ...         print(message.routing_key, time.monotonic() - began)
    """

    def __call__(self, message: Message, call_next: CallNext, /) -> Any:
        """Return what the handler returned, or something else; nothing depends on it."""


class Layer(NamedTuple):
    """A middleware, and whether it is async. One of our own is known to call what comes next once, and to await it."""

    function: Middleware
    is_async: bool
    is_own: bool = False


def layers(middleware: Iterable[Middleware]) -> tuple[Layer, ...]:
    """Look at each middleware once.

    Raises:
        ConfigurationError: one is not a function of two arguments, is a generator function, or a class instead of an
            object; or it is not a list of them.
    """
    if callable(middleware):
        raise ConfigurationError(f"middleware={middleware!r} has to be a list: middleware=[...]")
    return tuple(map(_layer, middleware))


def _layer(middleware: Any) -> Layer:
    if isinstance(middleware, type):  # calling it would make an object, and nothing else
        name = middleware.__qualname__
        raise ConfigurationError(f"middleware {name} is a class: pass an object of it, {name}(...)")
    kind = kind_of(middleware)
    if not callable(middleware) or kind.endswith("generator"):
        raise ConfigurationError(f"middleware={middleware!r} has to be a function of a message and of what comes next")
    _check_arguments(middleware)
    return Layer(middleware, kind == "coroutine")


def _check_arguments(middleware: Middleware) -> None:
    try:
        signature = inspect.signature(middleware)
    except Exception:  # noqa: BLE001 - written in C, say: nobody knows before it is called
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"middleware {name_of(middleware)}{signature} cannot be called with a message and what comes next: {error}"
        ) from None


def compose(around: Iterable[Layer], handler: CallNext, handler_is_async: bool, submit: Submit) -> CallNext:
    """Return the handler with its middleware around it, the first one outermost.

    Where plain and async code call each other, the thread that makes the call runs all that is plain and waits
    while the event loop runs what is async. Where all is async the call returns a coroutine, and no thread waits.
    """
    call, is_async = handler, handler_is_async
    crossing: Crossing | None = None
    for layer in reversed(tuple(around)):
        if layer.is_async != is_async:
            crossing = crossing or Crossing(submit)
            call = crossing.to_thread(call) if layer.is_async else crossing.to_loop(call)
        wrap = _around_own if layer.is_own else _around_async if layer.is_async else _around_plain
        call = wrap(layer.function, call)
        is_async = layer.is_async
    return crossing.to_loop(call) if crossing and is_async else call


def _around_own(middleware: Middleware, call_next: CallNext) -> CallNext:
    return lambda message: middleware(message, call_next)


def _around_async(middleware: Middleware, call_next: CallNext) -> CallNext:
    returned: list[Any] = []
    once = _once(middleware, call_next, returned)

    async def call(message: Message) -> Any:
        result = await middleware(message, once)
        if isinstance(result, CoroutineType):  # the handler, which would never run, and pass for having returned
            result.close()
            raise ConfigurationError(
                f"middleware {name_of(middleware)} returns what nobody awaits: write return await call_next(message)"
            )
        if _is_forgotten(returned):
            raise ConfigurationError(
                f"middleware {name_of(middleware)} never awaits what comes next: write return await call_next(message)"
            )
        return result

    return call


def _around_plain(middleware: Middleware, call_next: CallNext) -> CallNext:
    once = _once(middleware, call_next, [])

    def call(message: Message) -> Any:
        result = middleware(message, once)
        if result is not None and isawaitable(result):
            if isinstance(result, CoroutineType):
                result.close()
            raise ConfigurationError(
                f"middleware {name_of(middleware)} looks like a plain function and returns something to await: "
                f"make it an async def"
            )
        return result

    return call


def _once(middleware: Middleware, call_next: CallNext, returned: list[Any]) -> CallNext:
    """Let what comes next be called once, and put into `returned` what it has returned."""

    def once(message: Message, /) -> Any:
        if returned:
            raise ConfigurationError(
                f"middleware {name_of(middleware)} calls what comes next a second time, which would handle the "
                f"message twice: call it once, or not at all; raise Retry() for another attempt"
            )
        returned.append(None)
        returned[0] = result = call_next(message)
        return result

    return once


def _is_forgotten(returned: list[Any]) -> bool:
    """Whether what was returned has not begun, and nobody is left who could await it."""
    if not returned or not isinstance(returned[0], CoroutineType):
        return False
    if returned[0].cr_frame is None or inspect.getcoroutinestate(returned[0]) != inspect.CORO_CREATED:
        return False
    held = weakref.ref(returned[0])
    returned[0] = None
    return held() is None  # otherwise a task holds it, say, that has not had its turn
