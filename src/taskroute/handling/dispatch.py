"""Dispatch: from a delivery to its handler, and to how that ended. No I/O, no threads.

Any thread may call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from inspect import isawaitable
from typing import Any, Final

from taskroute.code_place import comes_from_us, place_of_function
from taskroute.errors import AmbiguousHandlerError, ConfigurationError
from taskroute.handlers.crossing import Submit, awaited
from taskroute.handlers.function import names_of
from taskroute.handlers.handler import Handler, HandlerMatch
from taskroute.handlers.middleware import CallNext, Layer, compose
from taskroute.handlers.returned import ran
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.handling.unhandled import no_handler
from taskroute.instrumentation.hooks import Handling
from taskroute.keys.pattern import Captures
from taskroute.message.delivery import Delivery
from taskroute.message.message import Message
from taskroute.message.outcome import Failed, HandlerTimeoutError, Outcome, Reason, Reject, Retry
from taskroute.quoting import shorten
from taskroute.raised import TELL_ALL, Disclosure, Raised

DEFAULT_MAX_BODY_SIZE: Final = 1024 * 1024
"""Bytes of a body that a handler gets at most, unless the worker says otherwise."""

_GRACE: Final = 1.0
"""Seconds that what runs on the event loop has to end after it was cancelled, before it counts as overdue."""


def _no_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    coroutine.close()
    raise RuntimeError("plain and async code around one handler need an event loop")


class Dispatcher:
    """Calls the handler of a delivery. Safe from any thread: it holds nothing that changes.

    Args:
        resolve: the handler of a queue and routing key.
        max_body_size: bytes; a longer body is not even parsed.
        watch: is called when a handler with a timeout is about to be called, with the seconds after which it is
            overdue, and again when it goes on on the event loop.
        submit: has a coroutine run on the event loop, where middleware and handler are not of one kind.
        handling: entered around each handler and its middleware, in the thread or task that runs it.
        unhandled: the outcome of what no handler takes.
        disclosure: what is told of what a handler raises.
    """

    __slots__ = ("_disclosure", "_handling", "_max_body_size", "_resolve", "_submit", "_unhandled", "_watch")

    def __init__(
        self,
        resolve: Callable[[str, str], HandlerMatch | None],
        max_body_size: int = DEFAULT_MAX_BODY_SIZE,
        watch: Callable[[Delivery, Handler, float], None] = lambda *_: None,
        submit: Submit = _no_loop,
        handling: Handling | None = None,
        unhandled: Callable[[Delivery], Failed] = no_handler,
        disclosure: Disclosure = TELL_ALL,
    ) -> None:
        self._resolve = resolve
        self._max_body_size = max_body_size
        self._watch = watch
        self._submit = submit
        self._handling = handling
        self._unhandled = unhandled
        self._disclosure = disclosure

    def dispatch(self, delivery: Delivery) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Call the handler. Whatever it raises becomes an outcome, `SystemExit` and its like included.

        An async handler has not run yet: the coroutine runs it, on an event loop, and returns the outcome.
        """
        if delivery.malformed is not None:
            return Failed(*delivery.malformed)
        if len(delivery.body) > self._max_body_size:
            return Failed("too_large", f"body: {len(delivery.body)} bytes, the limit is {self._max_body_size}")
        try:
            match = self._resolve(delivery.queue, delivery.routing_key)
        except AmbiguousHandlerError as error:
            return Failed("no_handler", str(error))
        if match is None:
            return self._unhandled(delivery)
        handler = match.handler
        try:
            submit = self._submit if handler.timeout is None else self._watched(delivery, handler, handler.timeout)
            if handler.middleware or self._handling is not None:
                result = self._call_through(handler, delivery, match.captures, submit)
            else:
                result = handler.call(delivery, match.captures, submit)
            if result is None or not isawaitable(result):
                return handler.handled
            if handler.timeout is not None and not handler.is_async:
                self._watch(delivery, handler, handler.timeout + _GRACE)
        except BaseException as error:  # noqa: BLE001 - an exit in a handler must not end a worker's thread
            return _failure(error, handler, self._disclosure)
        return _finish(result, handler, self._disclosure)

    def _watched(self, delivery: Delivery, handler: Handler, timeout: float) -> Submit:
        """Begin to watch a handler, and return what has a coroutine of it run, which is cancelled at the timeout."""

        def submit(coroutine: Coroutine[Any, Any, Any]) -> Any:
            self._watch(delivery, handler, timeout + _GRACE)
            return self._submit(coroutine)

        self._watch(delivery, handler, timeout + _GRACE if handler.is_async else timeout)
        return submit

    def _call_through(self, handler: Handler, delivery: Delivery, captures: Captures, submit: Submit) -> Any:
        message = delivery.message()

        def call(given: Message) -> Any:
            return handler.call(delivery if given is message else delivery.carrying(given), captures, submit)

        def call_plain(given: Message) -> Any:
            result = call(given)
            # Of what looked like a plain function.
            return result if result is None or not isawaitable(result) else awaited(result, submit)

        async def call_async(given: Message) -> Any:
            value = await call(given)
            return value if value is None else await ran(handler.function, value)

        around = handler.middleware
        if self._handling is not None:
            around = (self._observed(handler, self._handling), *around)
        call_handler = call_async if handler.is_async else call_plain
        return compose(around, call_handler, handler.is_async, submit)(message)

    @staticmethod
    def _observed(handler: Handler, handling: Handling) -> Layer:
        def observe(message: Message, call_next: CallNext) -> Any:
            with handling(message, handler.name):
                return call_next(message)

        async def observe_async(message: Message, call_next: CallNext) -> Any:
            with handling(message, handler.name):
                return await call_next(message)

        is_async = handler.middleware[0].is_async if handler.middleware else handler.is_async
        return Layer(observe_async if is_async else observe, is_async, is_own=True)


async def _finish(result: Awaitable[Any], handler: Handler, disclosure: Disclosure) -> Outcome:
    try:
        value = await result
        if value is not None:
            await ran(handler.function, value)
    except BaseException as error:  # noqa: BLE001 - an exit in a handler must not end the loop
        return _failure(error, handler, disclosure)
    return handler.handled


def _failure(error: BaseException, handler: Handler, disclosure: Disclosure) -> Failed:
    """Return the outcome of what a handler has raised, or of what reading that has raised."""
    try:
        return _read(error, handler, disclosure)
    except BaseException as another:  # noqa: BLE001 - as above: an exception's own methods may raise
        return _retryable("handler_error", another, handler, disclosure.of(another, _package(handler)))


def _read(error: BaseException, handler: Handler, disclosure: Disclosure) -> Failed:
    if isinstance(error, InvalidArgumentError):
        return Failed(error.reason, error.error, handler=handler.name, place=place_of_function(handler.function))
    raised = disclosure.of(error, _package(handler))
    if isinstance(error, Reject):
        return Failed("rejected", _verdict(raised), handler=handler.name, raised=raised)
    if isinstance(error, HandlerTimeoutError):
        return _retryable("handler_timeout", error, handler, raised)
    failed = _retryable("handler_error", error, handler, raised)
    if isinstance(error, Retry):
        if not isinstance(error.delay, timedelta | None):  # changed since it was made
            raise ConfigurationError("Retry: delay is neither a timedelta nor None")
        return replace(failed, error=_verdict(raised), delay=error.delay, asked_for_retry=True)
    return failed


def _retryable(reason: Reason, error: BaseException, handler: Handler, raised: Raised) -> Failed:
    # The text of a timeout, or of a mistake in the code, is our own, and quotes nothing of the message.
    is_our_text = isinstance(error, HandlerTimeoutError | ConfigurationError) and comes_from_us(error)
    return Failed(
        reason,
        str(error) if is_our_text else raised.error,
        retryable=True,
        delays=_own_delays(handler),
        handler=handler.name,
        place=place_of_function(handler.function) if is_our_text else "",
        raised=raised,
    )


def _verdict(raised: Raised) -> str:
    """Return what a handler says with a verdict; if that is nothing, or may not be told, its type and place."""
    return shorten(raised.text, 200) if raised.text else raised.error


def _package(handler: Handler) -> str:
    return names_of(handler.function)[0].partition(".")[0]


def _own_delays(handler: Handler) -> tuple[timedelta, ...] | None:
    if handler.retry is None:
        return None
    return handler.retry.delays if handler.retry else ()
