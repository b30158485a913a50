"""Middleware: code around handlers, ``(message, call_next) -> result``, composed from the outside in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

from taskroute.dependencies import kind_of
from taskroute.errors import ConfigurationError
from taskroute.message import Message


class CallNext(Protocol):
    """What a middleware calls: the next one, or the handler."""

    def __call__(self, message: Message, /) -> Any:
        """Return what the handler returns; from an async one, something to await."""


class Middleware(Protocol):
    """A function around handlers. It calls what comes next once, or not at all.

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


Submit = Callable[[Coroutine[Any, Any, Any]], Future[Any]]
"""Has a coroutine run on the event loop."""


class Layer(NamedTuple):
    """A middleware, and whether it is async."""

    function: Middleware
    is_async: bool


def layers(middleware: Iterable[Middleware]) -> tuple[Layer, ...]:
    """Look at each middleware once.

    Raises:
        ConfigurationError: one is not a function, or a generator function.
    """
    return tuple(map(_layer, middleware))


def _layer(middleware: Middleware) -> Layer:
    kind = kind_of(middleware)
    if not callable(middleware) or kind.endswith("generator"):
        raise ConfigurationError(f"middleware={middleware!r} has to be a function of a message and of what comes next")
    return Layer(middleware, kind == "coroutine")


def compose(around: Iterable[Layer], handler: CallNext, handler_is_async: bool, submit: Submit) -> CallNext:
    """Return the handler with its middleware around it, the first one outermost.

    Where plain and async code call each other, the thread that makes the call runs all that is plain and waits
    while the event loop runs what is async. Where all is async the call returns a coroutine, and no thread waits.
    """
    call, is_async = handler, handler_is_async
    crossing: _Crossing | None = None
    for layer in reversed(tuple(around)):
        if layer.is_async != is_async:
            crossing = crossing or _Crossing(submit)
            call = crossing.to_thread(call) if layer.is_async else crossing.to_loop(call)
        call, is_async = _around(layer.function, call), layer.is_async
    return crossing.to_loop(call) if crossing and is_async else call


def _around(middleware: Middleware, call_next: CallNext) -> CallNext:
    return lambda message: middleware(message, call_next)


class _Crossing:
    """The way of one message between its thread and the event loop, and back."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()  # for the thread; None: look around

    def to_loop(self, call_next: CallNext) -> CallNext:
        """Return a plain function that has async code run, and makes the calls that come back meanwhile."""

        def call(message: Message) -> Any:
            result = self._submit(call_next(message))
            result.add_done_callback(lambda _: self._calls.put(None))
            while not result.done():
                coming_back = self._calls.get()
                if coming_back is not None:
                    coming_back()
            return result.result()

        return call

    def to_thread(self, call_next: CallNext) -> CallNext:
        """Return an async function that has plain code run in the thread."""

        async def call(message: Message) -> Any:
            result: Future[Any] = Future()
            context = copy_context()  # so that what was set around the call is seen in it, as with asyncio.to_thread
            self._calls.put(lambda: context.run(_resolve, result, call_next, message))
            return await asyncio.wrap_future(result)

        return call


def _resolve(result: Future[Any], call_next: CallNext, message: Message) -> None:
    if result.set_running_or_notify_cancel():
        try:
            result.set_result(call_next(message))
        except BaseException as error:  # noqa: BLE001 - an exit in a handler is the message's error, not the thread's
            result.set_exception(error)
