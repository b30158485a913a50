"""EventLoop: one thread with an asyncio loop, on which a worker's async handlers run."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from inspect import CORO_CREATED, getcoroutinelocals, getcoroutinestate, iscoroutine
from typing import Any, NamedTuple

from taskroute.foreign import Log

log = Log("taskroute.worker")


class EventLoop:
    """Runs coroutines for other threads. The loop and its thread come into being with the first one.

    What resides there is not cancelled with the rest, which makes use of it: the loop goes on until it ends by itself.

    Thread-safe: everything. A daemon thread, so that a coroutine that blocks it cannot keep the process alive.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()  # guards what other threads touch: everything but `_taken` and the tasks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._posted: deque[_Posted] = deque()  # while it has any, the loop was called to begin them
        self._taken: deque[_Posted] = deque()  # from there, to be begun
        self._stopping = False
        self._is_cancelling = False
        self._ended = False  # nothing more is begun
        self._tasks: set[asyncio.Task[Any]] = set()
        self._residents: set[asyncio.Task[Any]] = set()  # changed with the lock held
        self._rested = threading.Event()  # after `stop`: only residents run, or nothing

    @property
    def is_stopping(self) -> bool:
        """Whether what runs is being cancelled, or was."""
        return self._stopping

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in its thread."""
        return threading.current_thread() is self._thread

    @property
    def is_dead(self) -> bool:
        """Whether its thread has ended that should run."""
        return self._thread is not None and not self._thread.is_alive() and not self._ended

    def run(self, coroutine: Coroutine[Any, Any, None], on_drop: Callable[[], object] = lambda: None) -> None:
        """Have a coroutine run, in an empty context, with no way to wait for it.

        Args:
            coroutine: to run. One that comes after the end is dropped.
            on_drop: is called if it never runs, on this or the loop's thread.

        Raises:
            OSError, RuntimeError: no descriptor, no thread can be had now. It was closed.
        """
        self._post(_Posted(coroutine, on_drop=on_drop))

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have a coroutine run in the caller's context; the future has what it returns. Cancelled after the end.

        Raises:
            OSError, RuntimeError: as `run`.
        """
        result: Future[Any] = Future()
        self._post(_Posted(coroutine, result, copy_context()))
        return result

    def reside(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have a coroutine run that `stop` does not cancel, in the caller's context. The loop waits for its end.

        Raises:
            OSError, RuntimeError: as `run`.
        """
        result: Future[Any] = Future()
        self._post(_Posted(coroutine, result, copy_context(), resides=True))
        return result

    def stop(self) -> None:
        """Cancel what runs, and have the thread end when all has ended, residents too. Does not wait; see `join`.

        While something resides, only what `run` and `submit` began is cancelled. What that left behind is in the end.
        """
        with self._lock:
            loop, self._stopping = self._loop, True
            if loop is None:
                self._ended = True
        if loop is not None:
            with suppress(RuntimeError):  # it is closed
                # After a turn of the loop: what is cancelled before its first step would not see it.
                loop.call_soon_threadsafe(loop.call_soon, self._begin_cancelling, context=Context())

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end, or for all but residents, and return whether they did.

        A thread that never started has ended.
        """
        if self._thread is None:
            return True
        if self._thread is threading.current_thread():
            return False
        end = time.monotonic() + max(timeout, 0.0)
        self._rested.wait(max(timeout, 0.0))
        with self._lock:
            has_rest = self._rested.is_set() and bool(self._residents)
        if not has_rest:
            self._thread.join(max(end - time.monotonic(), 0.0))
        return has_rest or not self._thread.is_alive()

    def _post(self, posted: _Posted) -> None:
        """Cheap: the loop is called once for many of them."""
        if self._loop is None and not self._stopping:
            self._start(posted)
        is_first = True
        try:
            with self._lock:
                loop = None if self._ended else self._loop
                if loop is not None:
                    is_first = not self._posted
                    self._posted.append(posted)
            if loop is None:
                posted.drop()
            elif is_first:
                self._call_to_begin(loop)
        except BaseException:
            if self._loop is not None and not self._ended:
                self._call_to_begin(self._loop)  # once too often rather than never
            raise

    def _call_to_begin(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # it has just been closed, and drops what was posted
            # A context of its own: what a plain handler has left in that of its thread is none of the tasks' business.
            loop.call_soon_threadsafe(self._begin, context=Context())

    def _start(self, posted: _Posted) -> None:
        """Start the thread. Of several callers at once, that of the first is kept. If it fails, `posted` is closed."""
        loop = thread = None
        may_run: Future[bool] = Future()
        try:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=self._run, args=(loop, may_run), name=self.name, daemon=True)
            thread.start()
            with self._lock:
                if self._loop is None and not self._stopping:
                    self._loop, self._thread = loop, thread
            may_run.set_result(self._loop is loop)
        except BaseException:
            if not may_run.done():
                may_run.set_result(self._loop is loop)
            if loop is not None and (thread is None or thread.ident is None):
                loop.close()
            posted.close()
            raise

    # The loop's thread runs everything below.

    def _run(self, loop: asyncio.AbstractEventLoop, may_run: Future[bool]) -> None:
        try:
            if may_run.result():
                self._run_until_ended(loop)
        finally:
            loop.close()
            self._rested.set()

    def _run_until_ended(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            while not self._ended:
                _run_on(loop.run_forever)
            loop.set_task_factory(None)  # a handler's own may fail
            _run_on(lambda: loop.run_until_complete(loop.shutdown_asyncgens()))
        finally:
            self._take_posted()
            while self._taken:
                self._taken.popleft().drop()

    def _take_posted(self) -> None:
        with self._lock:
            self._taken.extend(self._posted)
            self._posted.clear()

    def _begin(self) -> None:
        if self._ended:
            return  # what was posted until then is dropped
        loop = asyncio.get_running_loop()
        try:
            self._take_posted()
            while self._taken:
                self._begin_task(loop, self._taken.popleft())
        except BaseException:
            loop.call_soon(self._begin)  # for the others
            raise

    def _begin_task(self, loop: asyncio.AbstractEventLoop, posted: _Posted) -> None:
        task = None
        try:
            task = _make_task(loop, posted)
            if posted.resides:
                self._note_resident(task)
            else:
                self._tasks.add(task)  # the loop itself keeps no task alive
                task.add_done_callback(self._tasks.discard)
            if posted.result is not None:
                task.add_done_callback(partial(_resolve, posted.result))
        except BaseException:
            if task is None:
                posted.drop()
            elif posted.result is not None:
                posted.result.cancel()
            raise

    def _note_resident(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            self._residents.add(task)
        task.add_done_callback(self._on_resident_end)

    def _on_resident_end(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            self._residents.discard(task)
            is_last = not self._residents
        if is_last and self._rested.is_set():
            self._cancel_all()

    def _begin_cancelling(self) -> None:
        if not self._is_cancelling:  # `stop` may be called again: what is cleaning up must not be cancelled again
            self._is_cancelling = True
            self._cancel_all()

    def _cancel_all(self) -> None:
        """Cancel what runs, and what it begins while it is being cancelled, until nothing is left but residents."""
        loop = asyncio.get_running_loop()
        try:
            with self._lock:
                has_posted = bool(self._posted or self._taken)
                tasks = set(self._tasks) if self._residents else asyncio.all_tasks(loop)
                self._ended = not has_posted and not tasks and not self._residents
            if has_posted:
                self._begin()
                loop.call_soon(self._cancel_all)  # after their first step
            elif tasks:
                for task in tasks:
                    task.cancel()
                ended = asyncio.gather(*tasks, return_exceptions=True)
                ended.add_done_callback(lambda _: self._cancel_all())
            elif self._residents:
                self._rested.set()  # the end of the last one goes on from here
            else:
                loop.stop()
        except BaseException:
            loop.call_soon(self._cancel_all)
            raise


class _Posted(NamedTuple):
    """A coroutine to be run: the future of its result, and the context that it runs in, if any."""

    coroutine: Coroutine[Any, Any, Any]
    result: Future[Any] | None = None
    context: Context | None = None
    on_drop: Callable[[], object] = lambda: None
    resides: bool = False

    def close(self) -> None:
        """Make sure that it never runs."""
        _never_run(self.coroutine)
        if self.result is not None:
            self.result.cancel()

    def drop(self) -> None:
        """Do the same, and say so."""
        self.close()
        self.on_drop()


def _make_task(loop: asyncio.AbstractEventLoop, posted: _Posted) -> asyncio.Task[Any]:
    try:
        return loop.create_task(posted.coroutine, context=posted.context)
    except Exception as error:  # of a task factory that a handler has set
        if getcoroutinestate(posted.coroutine) != CORO_CREATED:
            raise
        log.warning("task_factory_failed error=%s", type(error).__name__)
        return asyncio.Task(posted.coroutine, loop=loop, context=posted.context)


def _never_run(coroutine: Coroutine[Any, Any, Any]) -> None:
    """Close a coroutine that was not begun, and those that it would have awaited: Python warns of each otherwise."""
    if iscoroutine(coroutine) and getcoroutinestate(coroutine) == CORO_CREATED:
        for value in getcoroutinelocals(coroutine).values():
            if iscoroutine(value):
                _never_run(value)
    coroutine.close()


def _resolve(result: Future[Any], task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        result.cancel()
    elif (error := task.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(task.result())


def _run_on(run: Callable[[], object]) -> None:
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - the loop must go on for others
        # Of a task that a handler has left behind: asyncio lets exits through.
        log.warning("loop_interrupted error=%s", type(error).__name__)
