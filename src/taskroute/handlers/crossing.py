"""Crossing: the way of one message between its thread and the event loop, and back.

Plain code always runs in the thread that handles the message, async code always on the event loop. While the thread
waits for async code, it makes the calls of plain code that the async code asks for: no other thread is needed.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from contextvars import Context, copy_context
from typing import Any, NamedTuple

from taskroute.message.message import Message

Submit = Callable[[Coroutine[Any, Any, Any]], Future[Any]]
"""Runs a coroutine on the event loop."""

Next = Callable[[Message], Any]
"""Plain or async code that takes the message next."""


def awaited(result: Awaitable[Any], submit: Submit) -> Any:
    """Await on the event loop what a plain function returned, and wait for it in this thread."""
    return Crossing(submit).wait(_await(result))


async def _await(result: Awaitable[Any]) -> Any:
    return await result


class Crossing:
    """The way of one message. Made and waited for in its thread; shared with the event loop.

    Args:
        submit: runs a coroutine on the event loop.
    """

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._changed = threading.Condition()
        self._plain_calls: deque[_PlainCall] = deque()  # for the thread to make
        self._depth = 0  # how many waits of the thread are nested; while there are any, it makes the calls

    def to_loop(self, call_next: Next) -> Next:
        """Return async code as a plain function, for the thread to call."""

        def call(message: Message) -> Any:
            return self.wait(call_next(message))

        return call

    def to_thread(self, call_next: Next) -> Next:
        """Return plain code as an async function, for the event loop to call."""

        async def call(message: Message) -> Any:
            # With a copy of the context, like asyncio.to_thread: plain code sees the variables set around its call.
            plain_call = _PlainCall(Future(), copy_context(), call_next, message)
            with self._changed:
                has_thread = self._depth > 0
                if has_thread:
                    self._plain_calls.append(plain_call)
                    self._changed.notify_all()
            if not has_thread:
                plain_call.refuse()
            try:
                return await asyncio.wrap_future(plain_call.result)
            finally:
                del plain_call  # as in `wait`

        return call

    # On the message's thread:

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the event loop and return its result; make plain calls until it is there."""
        with self._changed:
            self._depth += 1
        result = self._submit(coroutine)
        result.add_done_callback(self._wake)
        while (plain_call := self._next(result)) is not None:
            plain_call.make()
        try:
            return result.result()
        except CancelledError:
            raise asyncio.CancelledError from None  # the error of the cancelled code, which is no `Exception`
        finally:
            # Else there is a circle with message and body in it: error, traceback, this frame, future, error.
            del result

    def _next(self, result: Future[Any]) -> _PlainCall | None:
        """Wait for a call to make; None when there is the result."""
        with self._changed:
            self._changed.wait_for(lambda: self._plain_calls or result.done())
            if not result.done():
                return self._plain_calls.popleft()
            self._depth -= 1
            late = [] if self._depth else list(self._plain_calls)
            if late:
                self._plain_calls.clear()
        for plain_call in late:
            plain_call.refuse()
        return None

    # On any thread:

    def _wake(self, _: Future[Any]) -> None:
        with self._changed:
            self._changed.notify_all()


class _PlainCall(NamedTuple):
    """A call of plain code that async code waits for."""

    result: Future[Any]
    context: Context
    call_next: Next
    message: Message

    def refuse(self) -> None:
        """Fail the call, because no thread waits to make it."""
        if self.result.set_running_or_notify_cancel():
            self.result.set_exception(RuntimeError("a middleware has called what comes next after it had returned"))

    def make(self) -> None:
        """Make the call. Any error, an exit too, is the message's and goes to the caller; the thread lives on."""
        if not self.result.set_running_or_notify_cancel():
            return
        try:
            self.result.set_result(self.context.run(self.call_next, self.message))
        except StopIteration as error:  # no awaitable can raise it
            raised = RuntimeError("plain code raised StopIteration")
            self.result.set_exception(raised.with_traceback(error.__traceback__))
        except BaseException as error:  # noqa: BLE001
            self.result.set_exception(error)
        finally:
            del self  # as in `Crossing.wait`
