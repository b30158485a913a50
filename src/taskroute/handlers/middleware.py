"""Middleware: code around handlers, ``(message, call_next) -> result``, composed from the outside in."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

import inspect
import weakref
from asyncio import Future
from collections.abc import Iterable
from inspect import isawaitable
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.handlers.annotations import signature_as_written
from taskroute.handlers.crossing import Crossing, Submit
from taskroute.handlers.function import kind_of, name_of
from taskroute.handlers.returned import check_ran
from taskroute.message.message import Message
from taskroute.quoting import shown


@exported_by("taskroute")
class CallNext(Protocol):
    """What a middleware calls, as ``call_next(message)``: the next middleware, or the handler."""

    def __call__(self, message: Message, /) -> Any:
        """Return what the handler returns; in an async middleware, something to await.

        Raises:
            ConfigurationError: it is called a second time.
        """


@exported_by("taskroute")
class Middleware(Protocol):
    """A function ``(message, call_next) -> result`` around handlers.

    It calls ``call_next`` once, or not at all; an async one also awaits it.

    What it raises is an error of the message. It may pass another message to ``call_next`` (``dataclasses.replace``):
    the handler then sees the body, headers and properties of that one. A plain function runs in the handler's thread,
    an ``async def`` on the worker's event loop.

    Example:
        >>> def timed(message, call_next):
        ...     began = time.monotonic()
        ...     try:
        ...         return call_next(message)
        ...     finally:
        ...         print(message.routing_key, time.monotonic() - began)
    """

    def __call__(self, message: Message, call_next: CallNext, /) -> Any:
        """Return what the handler returned, or anything else: the result is not used."""


class Layer(NamedTuple):
    """A middleware, and whether it is async. `is_own`: part of this library, so its calls need no checks."""

    function: Middleware
    is_async: bool
    is_own: bool = False


def layers(middleware: Iterable[Middleware]) -> tuple[Layer, ...]:
    """Return middleware as layers, the first one outermost.

    Raises:
        ConfigurationError: `middleware` is no list, or holds what is not a function of two arguments: a generator
            function, a class instead of an object.
    """
    if callable(middleware):
        raise ConfigurationError(f"middleware={shown(middleware)} must be a list: middleware=[...]")
    return tuple(map(_layer, middleware))


def _layer(middleware: Any) -> Layer:
    if isinstance(middleware, type):  # calling it would make an object and not call the next layer
        name = middleware.__qualname__
        raise ConfigurationError(f"middleware {name} is a class: pass an object of it, {name}(...)")
    kind = kind_of(middleware)
    if not callable(middleware) or kind.endswith(("generator", "context_manager")):
        raise ConfigurationError(
            f"middleware={shown(middleware)} must be a function of a message and of what comes next"
        )
    _check_arguments(middleware)
    return Layer(middleware, kind == "coroutine")


def _check_arguments(middleware: Middleware) -> None:
    try:
        signature = signature_as_written(middleware)
    except Exception:  # noqa: BLE001 - for example a function written in C, whose arguments only a call checks
        return
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(
            f"middleware {name_of(middleware)}{signature} cannot be called with a message and what comes next: {error}"
        ) from None


def compose(around: Iterable[Layer], handler: CallNext, handler_is_async: bool, submit: Submit) -> CallNext:
    """Return the handler with its middleware around it, the first one outermost.

    Where plain and async code call each other, the calling thread runs all plain code, and waits while the event loop
    runs async code. Where all is async, the call returns a coroutine and no thread waits.
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
        if _is_pending(result):  # most likely the handler: it would never run, and count as handled
            raise ConfigurationError(
                f"middleware {name_of(middleware)} returns what nobody awaits: write return await call_next(message)"
            )
        if _is_forgotten(returned):
            raise ConfigurationError(
                f"middleware {name_of(middleware)} never awaits what comes next: write return await call_next(message)"
            )
        if result is not None:
            check_ran(middleware, result)
        return result

    return call


def _around_plain(middleware: Middleware, call_next: CallNext) -> CallNext:
    once = _once(middleware, call_next, [])

    def call(message: Message) -> Any:
        result = middleware(message, once)
        if result is None:
            return None
        if isawaitable(result):
            if isinstance(result, CoroutineType):
                result.close()
            raise ConfigurationError(
                f"middleware {name_of(middleware)} looks like a plain function and returns something to await: "
                f"make it an async def"
            )
        check_ran(middleware, result)
        return result

    return call


def _once(middleware: Middleware, call_next: CallNext, returned: list[Any]) -> CallNext:
    """Return `call_next` for one call only, which puts its result into `returned`."""

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


def _is_pending(result: Any) -> bool:
    """Return whether an async middleware returned a coroutine, which is closed, or a task that has not ended."""
    if isinstance(result, CoroutineType):
        result.close()
        return True
    return isinstance(result, Future) and not result.done()


def _is_forgotten(returned: list[Any]) -> bool:
    """Return whether the coroutine in `returned` has not started, and no reference to it is left to await it by."""
    if not returned or not isinstance(returned[0], CoroutineType):
        return False
    if returned[0].cr_frame is None or inspect.getcoroutinestate(returned[0]) != inspect.CORO_CREATED:
        return False
    held = weakref.ref(returned[0])
    returned[0] = None
    return held() is None  # otherwise something holds it, for example a task that has not started
