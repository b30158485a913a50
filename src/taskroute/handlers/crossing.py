"""Crossing: the way of one message between its thread and the event loop, and back."""

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
"""Has a coroutine run on the event loop."""

Next = Callable[[Message], Any]
"""Plain or async code that a message goes on to."""


def awaited(result: Awaitable[Any], submit: Submit) -> Any:
    """Have the event loop await what a plain function has returned, and wait for it here."""
    return Crossing(submit).wait(_await(result))


async def _await(result: Awaitable[Any]) -> Any:
    return await result


class Crossing:
    """The way of one message between its thread and the event loop, and back."""

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._changed = threading.Condition()
        self._calls: deque[_Call] = deque()  # that come back to the thread
        self._depth = 0  # how many calls wait for the loop, and so make those

    def to_loop(self, call_next: Next) -> Next:
        """Return a plain function that has async code run, and makes the calls that come back meanwhile."""

        def call(message: Message) -> Any:
            return self.wait(call_next(message))

        return call

    def to_thread(self, call_next: Next) -> Next:
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
    call_next: Next
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
