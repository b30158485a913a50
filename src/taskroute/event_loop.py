"""EventLoop: one thread with an asyncio loop, on which a worker's async handlers run."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)


class EventLoop:
    """Runs coroutines for other threads. The loop and its thread come into being with the first one.

    Thread-safe: everything. A daemon thread, so that a coroutine that blocks it cannot keep the process alive.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._posted: deque[Coroutine[Any, Any, None]] = deque()
        self._is_called = False  # to begin what was posted, and has not come yet
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Have a coroutine run, with no way to wait for it. Cheap: the loop is called once for many of them."""
        loop = self._started()
        self._posted.append(coroutine)
        if not self._is_called:
            self._is_called = True  # before the call: whoever comes until the loop gets there need not call it again
            loop.call_soon_threadsafe(self._begin)

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have a coroutine run; the future has what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._started())

    def stop(self) -> None:
        """Cancel what runs, and have the thread end when all of it has. Does not wait for it; see `join`."""
        with self._lock:
            loop, self._stopping = self._loop, True
        if loop is not None:
            with suppress(RuntimeError):  # ended before
                # After a turn of the loop: what is cancelled before its first step would not see it.
                loop.call_soon_threadsafe(loop.call_soon, self._cancel_all)

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; whether it has."""
        if self._thread is None:
            return True
        self._thread.join(max(timeout, 0.0))
        return not self._thread.is_alive()

    def _started(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop
                if loop is None:
                    loop = self._loop = asyncio.new_event_loop()
                    self._thread = threading.Thread(target=self._run, args=(loop,), name=self.name, daemon=True)
                    self._thread.start()
        return loop

    # The loop's thread runs everything below.

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._stopping:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # A task that a handler has left behind: asyncio lets these through, and the others' loop must go on.
                log.warning("loop_interrupted error=%s", type(error).__name__)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def _begin(self) -> None:
        self._is_called = False
        loop = asyncio.get_running_loop()
        while self._posted:
            task = loop.create_task(self._posted.popleft())
            self._tasks.add(task)  # the loop itself keeps no task alive
            task.add_done_callback(self._tasks.discard)

    def _cancel_all(self) -> None:
        loop = asyncio.get_running_loop()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        ended = asyncio.gather(*tasks, return_exceptions=True)
        ended.add_done_callback(lambda _: loop.stop())
