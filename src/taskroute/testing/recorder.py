"""Recorder: records the arguments and errors of handlers, by wrapping the handlers of a registry.

Handlers' threads and the event loop write, the test's thread reads.
"""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import CoroutineType, TracebackType
from typing import Any, Final

from taskroute.errors import ConfigurationError
from taskroute.handlers.annotations import signature_as_written
from taskroute.handlers.arguments import plan_arguments
from taskroute.handlers.function import describe, names_of
from taskroute.handlers.handler import Handler
from taskroute.handlers.marks import Provider
from taskroute.handlers.middleware import CallNext, Layer
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.message.message import Message
from taskroute.message.outcome import Reject, Retry
from taskroute.quoting import shown
from taskroute.raised import Disclosure
from taskroute.testing.calls import Call

_LIBRARY: Final = str(Path(__file__).parents[1])

_MESSAGE: Final = "the message"
"""The key of the message among the arguments of a recorded function: no parameter can have this name."""


class Recorder:
    """Records the calls of the handlers that `recorded` returns, and the errors that the test has not looked at.

    Handlers' threads and the event loop write, the test's thread reads.

    Args:
        now: returns the time of the clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._disclosure = Disclosure("place")
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._running: dict[int, tuple[Handler, Message]] = {}
        self._calls: dict[int, Call] = {}
        self._failed: list[Call] = []
        self._unseen: list[tuple[Call, BaseException]] = []
        self._first_attempts: dict[object, int] = {}
        self._changes = 0

    @property
    def changes(self) -> int:
        """How often handling has begun or ended so far."""
        with self._lock:
            return self._changes

    @property
    def running(self) -> list[str]:
        """A sentence for each message that is being handled."""
        with self._lock:
            running = list(self._running.values())
        return [f"{handler.name} handles {_describe(message)}" for handler, message in running]

    def recorded(self, handler: Handler, overrides: Mapping[Provider, Provider]) -> Handler:
        """Return a copy of a handler whose calls are recorded, with some of its providers replaced."""
        plan = handler.plan
        if overrides and (plan.dependencies or plan.asked):
            plan = plan_arguments(handler.function, handler.pattern, overrides)
        return replace(
            handler,
            plan=plan.also(_MESSAGE, lambda delivery, _: delivery.message()),
            function=self._function(handler),
            middleware=(self._outermost(handler), *handler.middleware),
        )

    def handled(self, function: Callable[..., object]) -> list[Call]:
        """Return the calls of a function that returned, in the order in which they began."""
        with self._lock:
            calls = [call for _, call in sorted(self._calls.items())]
        return [call for call in calls if call.error is None and call.handler.function == function]

    def failed(self, function: Callable[..., object]) -> list[Call]:
        """Return the failed attempts of a function, in the order in which they ended. Their errors are seen then."""
        with self._lock:
            self._unseen = [unseen for unseen in self._unseen if unseen[0].handler.function != function]
            return [call for call in self._failed if call.handler.function == function]

    def unseen_errors(self) -> list[BaseException]:
        """Return the errors that the test has not looked at. They are seen then.

        An error that later attempts of a message repeat is returned once.
        """
        with self._lock:
            unseen, self._unseen = self._unseen, []
        return [_annotated(call, error) for call, error in unseen if not self._repeats(call.message, error)]

    def _repeats(self, message: Message, error: BaseException) -> bool:
        """Return whether an earlier attempt at the message failed with the same error."""
        key = (message.queue, message.message_id, self._disclosure.of(error).error)
        return self._first_attempts.setdefault(key, message.attempt) < message.attempt

    # On a handler's thread or the event loop's:

    def _function(self, handler: Handler) -> Callable[..., Any]:
        function = handler.function

        def record(**arguments: Any) -> Any:
            return _within(self._recording(handler, arguments), lambda: function(**arguments))

        async def record_async(**arguments: Any) -> Any:
            return await record(**arguments)

        return _named_like(function, record_async if handler.is_async else record)

    def _outermost(self, handler: Handler) -> Layer:
        """Return a middleware that is entered before all others."""

        def watch(message: Message, call_next: CallNext) -> Any:
            return _within(self._watching(handler, message), lambda: call_next(message))

        async def watch_async(message: Message, call_next: CallNext) -> Any:
            return await watch(message, call_next)

        return Layer(watch_async if handler.is_async else watch, handler.is_async, is_own=True)

    @contextmanager
    def _recording(self, handler: Handler, arguments: dict[str, Any]) -> Iterator[None]:
        message = arguments.pop(_MESSAGE)
        names = signature_as_written(handler.function).parameters
        in_order = {name: arguments[name] for name in names if name in arguments}
        call = Call(arguments=in_order, message=message, at=self._now(), handler=handler)
        number = next(self._numbers)
        try:
            yield
        except BaseException as error:
            call = replace(call, error=error)
            raise
        finally:
            with self._lock:
                self._calls[number] = call

    @contextmanager
    def _watching(self, handler: Handler, message: Message) -> Iterator[None]:
        number, at = next(self._numbers), self._now()
        with self._lock:
            self._changes += 1
            self._running[number] = (handler, message)
        try:
            yield
        except BaseException as error:
            self._note(Call(arguments={}, message=message, at=at, error=error, handler=handler), error)
            raise
        finally:
            with self._lock:
                self._changes += 1
                del self._running[number]

    def _note(self, failed: Call, error: BaseException) -> None:
        if isinstance(error, InvalidArgumentError):
            return  # the message does not fit the handler, which was not called
        with self._lock:
            for call in reversed(self._calls.values()):
                if call.error is error and call.message.message_id == failed.message.message_id:
                    failed = call
                    break
            self._failed.append(failed)
            if not isinstance(error, Reject | Retry):  # verdicts, not errors
                self._unseen.append((failed, error))


def check_overrides(
    handlers: Iterable[Handler], overrides: Mapping[Provider, Provider], lifespan: Provider | None
) -> None:
    """Raise ConfigurationError for what no handler asks for, and is not the lifespan, and for what is no provider."""
    plans = [handler.plan for handler in handlers]
    known = {dependency.provider for plan in plans for dependency in plan.dependencies}
    known |= {asked.type for plan in plans for asked in plan.asked} | ({lifespan} if lifespan else set())
    for provider, other in overrides.items():
        if provider not in known:
            names = ", ".join(sorted(map(describe, known))) or "none"
            raise ConfigurationError(f"overrides: no handler asks for {describe(provider)}; what they ask for: {names}")
        if not callable(other):
            raise ConfigurationError(
                f"overrides: what replaces {describe(provider)} is an object, {shown(other)}: write a function that "
                f"returns it, lambda: fake"
            )


def _within(context: AbstractContextManager[object], run: Callable[[], Any]) -> Any:
    """Call `run` in a context. If it returns a coroutine, the context is left when that has run."""
    with ExitStack() as stack:
        stack.enter_context(context)
        result = run()
        if isinstance(result, CoroutineType):
            return _awaited(stack.pop_all(), result)
        return result


async def _awaited(context: ExitStack, coroutine: CoroutineType[Any, Any, Any]) -> Any:
    with context:
        return await coroutine


def _named_like(function: Callable[..., object], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    functools.update_wrapper(wrapper, function, updated=())
    wrapper.__module__, wrapper.__qualname__ = names_of(function)
    return wrapper


def _annotated(failed: Call, error: BaseException) -> BaseException:
    """Return the error for the test, with a note and the traceback of the user's code."""
    error.add_note(f"raised while {failed.handler.name} had {_describe(failed.message)}")
    return error.with_traceback(_from_users_code(error.__traceback__))


def _from_users_code(trace: TracebackType | None) -> TracebackType | None:
    """Return the traceback without its first frames, which are of this library."""
    users = trace
    while users is not None and users.tb_frame.f_code.co_filename.startswith(_LIBRARY):
        users = users.tb_next
    return users or trace


def _describe(message: Message) -> str:
    return f"{message.routing_key!r} of queue {message.queue!r}, attempt {message.attempt}"
