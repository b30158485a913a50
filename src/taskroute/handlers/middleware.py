"""Middleware: code around handlers, ``(message, call_next) -> result``, composed from the outside in."""

from __future__ import annotations

import asyncio
import inspect
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from contextvars import Context, copy_context
from inspect import isawaitable
from types import CoroutineType
from typing import Any, NamedTuple, Protocol

from taskroute.errors import ConfigurationError
from taskroute.handlers.function import kind_of
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


Submit = Callable[[Coroutine[Any, Any, Any]], Future[Any]]
"""Has a coroutine run on the event loop."""


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
            f"middleware {_name_of(middleware)}{signature} cannot be called with a message and what comes next: {error}"
        ) from None


def awaited(result: Awaitable[Any], submit: Submit) -> Any:
    """Have the event loop await what a plain function has returned, and wait for it here."""
    return _Crossing(submit).wait(_await(result))


async def _await(result: Awaitable[Any]) -> Any:
    return await result


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
                f"middleware {_name_of(middleware)} returns what nobody awaits: write return await call_next(message)"
            )
        if _is_forgotten(returned):
            raise ConfigurationError(
                f"middleware {_name_of(middleware)} never awaits what comes next: write return await call_next(message)"
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
                f"middleware {_name_of(middleware)} looks like a plain function and returns something to await: "
                f"make it an async def"
            )
        return result

    return call


def _once(middleware: Middleware, call_next: CallNext, returned: list[Any]) -> CallNext:
    """Let what comes next be called once, and put into `returned` what it has returned."""

    def once(message: Message, /) -> Any:
        if returned:
            raise ConfigurationError(
                f"middleware {_name_of(middleware)} calls what comes next a second time, which would handle the "
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


def _name_of(middleware: Middleware) -> str:
    return getattr(middleware, "__qualname__", type(middleware).__qualname__)


class _Crossing:
    """The way of one message between its thread and the event loop, and back."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._changed = threading.Condition()
        self._calls: deque[_Call] = deque()  # that come back to the thread
        self._depth = 0  # how many calls wait for the loop, and so make those

    def to_loop(self, call_next: CallNext) -> CallNext:
        """Return a plain function that has async code run, and makes the calls that come back meanwhile."""

        def call(message: Message) -> Any:
            return self.wait(call_next(message))

        return call

    def to_thread(self, call_next: CallNext) -> CallNext:
        """Return an async function that has plain code run in the thread."""

        async def call(message: Message) -> Any:
            # In its context, so that what was set around the call is seen in it, as with asyncio.to_thread.
            coming_back = _Call(Future(), copy_context(), call_next, message)
            with self._changed:
                has_thread = self._depth > 0
                if has_thread:
                    self._calls.append(coming_back)
                    self._changed.notify_all()
            if not has_thread:
                coming_back.refuse()
            return await asyncio.wrap_future(coming_back.result)

        return call

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """On the thread: make the calls that come back until the event loop has run it; return its result."""
        with self._changed:
            self._depth += 1
        result = self._submit(coroutine)
        result.add_done_callback(self._notify)
        while (coming_back := self._next(result)) is not None:
            coming_back.make()
        try:
            return result.result()
        except CancelledError:
            raise asyncio.CancelledError from None  # as in the code that was cancelled, and no `Exception`
        finally:
            del result  # a circle with what it raises

    def _next(self, result: Future[Any]) -> _Call | None:
        """Wait for a call that comes back; None when there is the result."""
        with self._changed:
            self._changed.wait_for(lambda: self._calls or result.done())
            if not result.done():
                return self._calls.popleft()
            self._depth -= 1
            late = [] if self._depth else list(self._calls)
            if late:
                self._calls.clear()
        for call in late:
            call.refuse()
        return None

    def _notify(self, _: Future[Any]) -> None:
        with self._changed:
            self._changed.notify_all()


class _Call(NamedTuple):
    """A call of plain code by async code."""

    result: Future[Any]
    context: Context
    call_next: CallNext
    message: Message

    def refuse(self) -> None:
        """No thread is there to make it."""
        if self.result.set_running_or_notify_cancel():
            self.result.set_exception(RuntimeError("a middleware has called what comes next after it had returned"))

    def make(self) -> None:
        """On the thread. Whatever is raised, an exit too, is the message's error, not the thread's."""
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self.context.run(self.call_next, self.message))
        except StopIteration as error:  # which nothing that is awaited can raise
            raised = RuntimeError("plain code raised StopIteration")
            self.result.set_exception(raised.with_traceback(error.__traceback__))
        except BaseException as error:  # noqa: BLE001
            self.result.set_exception(error)
