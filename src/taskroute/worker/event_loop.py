"""EventLoop: one thread with an asyncio loop, on which a worker's async handlers run."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, NamedTuple

log = logging.getLogger("taskroute.worker")


class EventLoop:
    """Runs coroutines for other threads. The loop and its thread come into being with the first one.

    Thread-safe: everything. A daemon thread, so that a coroutine that blocks it cannot keep the process alive.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()  # guards what other threads touch: everything but the tasks
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._posted: list[_Posted] = []
        self._is_called = False  # the loop was called to begin what was posted, and has not begun it yet
        self._stopping = False
        self._ended = False  # nothing more is begun
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_stopping(self) -> bool:
        """Whether what runs is being cancelled, or was."""
        return self._stopping

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in its thread."""
        return threading.current_thread() is self._thread

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Have a coroutine run, with no way to wait for it. One that comes after the end is dropped."""
        self._post(_Posted(coroutine))

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have a coroutine run in the caller's context; the future has what it returns. Cancelled after the end."""
        result: Future[Any] = Future()
        self._post(_Posted(coroutine, result, copy_context()))
        return result

    def stop(self) -> None:
        """Cancel what runs, and have the thread end when all of it has. Does not wait for it; see `join`."""
        with self._lock:
            if self._stopping:
                return
            loop, self._stopping = self._loop, True
            self._ended = loop is None
        if loop is not None:
            # After a turn of the loop: what is cancelled before its first step would not see it.
            loop.call_soon_threadsafe(loop.call_soon, self._cancel_all)

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end, and return whether it did. A thread that never started has ended."""
        if self._thread is None:
            return True
        if self._thread is not threading.current_thread():
            self._thread.join(max(timeout, 0.0))
        return not self._thread.is_alive()

    def _post(self, posted: _Posted) -> None:
        """Cheap: the loop is called once for many of them."""
        with self._lock:
            loop = None if self._ended else self._started()
            if loop is not None:
                self._posted.append(posted)
                is_first, self._is_called = not self._is_called, True
        if loop is None:
            posted.drop()
        elif is_first:
            with suppress(RuntimeError):  # it has just been closed, and drops what was posted
                loop.call_soon_threadsafe(self._begin)

    def _started(self) -> asyncio.AbstractEventLoop | None:
        if self._loop is None and not self._stopping:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._run, args=(self._loop,), name=self.name, daemon=True)
            self._thread.start()
        return self._loop

    def _take_posted(self) -> list[_Posted]:
        with self._lock:
            self._is_called = False
            posted, self._posted = self._posted, []
        return posted

    # The loop's thread runs everything below.

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._ended:
            _run_on(loop.run_forever)
        try:
            _run_on(lambda: loop.run_until_complete(loop.shutdown_asyncgens()))
        finally:
            loop.close()
            for posted in self._take_posted():
                posted.drop()

    def _begin(self) -> None:
        if self._ended:
            return  # what was posted until then is dropped
        loop = asyncio.get_running_loop()
        for posted in self._take_posted():
            task = loop.create_task(posted.coroutine, context=posted.context)
            self._tasks.add(task)  # the loop itself keeps no task alive
            task.add_done_callback(self._tasks.discard)
            if posted.result is not None:
                task.add_done_callback(partial(_resolve, posted.result))

    def _cancel_all(self) -> None:
        """Cancel what runs, and what it begins while it is being cancelled, until nothing is left."""
        loop = asyncio.get_running_loop()
        with self._lock:
            has_posted = bool(self._posted)
            self._ended = not has_posted and not asyncio.all_tasks(loop)
        if has_posted:
            self._begin()
            loop.call_soon(self._cancel_all)  # after their first step
        elif tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            ended = asyncio.gather(*tasks, return_exceptions=True)
            ended.add_done_callback(lambda _: self._cancel_all())
        else:
            loop.stop()


class _Posted(NamedTuple):
    """A coroutine to be run: the future of its result, and the context that it runs in, if any."""

    coroutine: Coroutine[Any, Any, Any]
    result: Future[Any] | None = None
    context: Context | None = None

    def drop(self) -> None:
        """Never run it."""
        self.coroutine.close()
        if self.result is not None:
            self.result.cancel()


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
    except (SystemExit, KeyboardInterrupt) as error:
        # Of a task that a handler has left behind: asyncio lets these through, and the loop must go on for others.
        log.warning("loop_interrupted error=%s", type(error).__name__)
