"""ThreadPool: the threads that handlers run in, and what becomes of one that hangs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from taskroute.foreign import Log
from taskroute.message.delivery import Delivery
from taskroute.quoting import shorten
from taskroute.worker.work_queue import WorkQueue

log = Log("taskroute.worker")

Work = tuple[Delivery, float]
"""What is being handled, and since when by the monotonic clock."""


class ThreadPool:
    """Runs handlers in threads of its own: daemons, so that a hung handler cannot keep the process alive.

    A thread that outlives its handler's timeout is replaced, as no thread can be stopped; there are never more than
    twice `count`. When its handler ends after all, it takes the place of one that could not be replaced, or ends. Safe
    from any thread.

    Args:
        count: how many.
        work: where they get deliveries from. They end when it is closed.
        handle: what they do with one; raises nothing.
        name: their names begin with it.
        on_defect: takes what was raised all the same, and the delivery in hand, if there was one.
    """

    def __init__(
        self,
        count: int,
        work: WorkQueue,
        handle: Callable[[Delivery], None],
        name: str,
        on_defect: Callable[[Delivery | None, BaseException], None] = lambda *_: None,
    ) -> None:
        self._count = count
        self._work = work
        self._handle = handle
        self._name = name
        self._on_defect = on_defect
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # held to replace one, to leave, and to end
        self._is_ending = False
        self._threads: tuple[_HandlerThread, ...] = ()  # replaced, never changed: read without the lock

    def start(self) -> None:
        """Start the threads.

        Raises:
            RuntimeError: one of them could not be started. Then there are none, and they may be started again.
        """
        with self.starting():
            pass

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Start the threads, which begin after the block; if anything fails in it they end, as in `start`."""
        may_begin: Future[bool] = Future()
        threads = [self._new(may_begin) for _ in range(self._count)]
        try:
            for thread in threads:
                thread.start()
            yield
            self._threads = tuple(threads)
            may_begin.set_result(True)
        except BaseException:
            if not may_begin.done():
                self._threads, self._numbers = (), itertools.count()
                may_begin.set_result(False)
                for thread in threads:
                    if thread.was_started:
                        thread.join()
            raise

    def include_current(self) -> bool:
        """Return whether the caller runs in one of them."""
        return threading.current_thread() in self._threads

    def current(self) -> Iterator[Work]:
        """Yield what is being handled, and since when by the monotonic clock."""
        for thread in self._threads:
            if (work := thread.work) is not None:
                yield work

    def describe_current(self) -> list[str]:
        """Return what is being handled, for people."""
        return [thread.describe(work) for thread in self._threads if (work := thread.work) is not None]

    def give_up(self, delivery: Delivery) -> bool:
        """Start another thread if the handler of a delivery still runs, and return whether it does.

        Where no thread can be had now, the next one that is given up tries again.
        """
        runs = any(thread.give_up(delivery) for thread in self._threads)
        if runs:
            for thread in self._threads:
                if thread.is_overdue:
                    self._replace(thread)
        return runs

    def stuck(self) -> list[str]:
        """Return what the handlers are doing that have outlived their timeout, for people."""
        return [thread.describe(work) for thread in self._threads if (work := thread.overdue) is not None]

    def dead_count(self) -> int:
        """Return how many threads have ended that should run."""
        return sum(thread.is_dead for thread in self._threads)

    def is_none_left(self) -> bool:
        """Return whether no thread is left to handle anything: each one is stuck or dead."""
        return bool(self._threads) and all(thread.is_overdue or thread.is_dead for thread in self._threads)

    def end(self, deadline: float, *, has_finished: bool = False) -> None:
        """Wait for the threads that have nothing to do, until `deadline` by the monotonic clock.

        Args:
            deadline: of it.
            has_finished: everything is settled: a thread forgets in a moment what it has done, unless it is overdue.
        """
        with self._lock:
            self._is_ending = True
        for thread in self._threads:
            is_idle = thread.work is None or (has_finished and not thread.is_overdue)
            if is_idle and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _replace(self, hung: _HandlerThread) -> None:
        """Start another thread, outside the lock, for which its place is taken before."""
        begun: Future[bool] = Future()
        begun.set_result(True)
        with self._lock:
            if self._is_ending or hung.is_replaced or len(self._threads) >= 2 * self._count:
                return
            thread = self._new(begun)
            hung.is_replaced = True
            self._threads = (*self._threads, thread)
        try:
            thread.start()
        except BaseException as error:
            with self._lock:
                hung.is_replaced = False
                self._threads = tuple(other for other in self._threads if other is not thread)
            if not isinstance(error, Exception):
                raise
            log.warning("thread_not_replaced thread=%s error=%s", hung.name, type(error).__name__)

    def _leave(self, replaced: _HandlerThread) -> bool:
        """Return whether a thread that was replaced, and is free again, is not needed."""
        with self._lock:
            for thread in self._threads:
                if thread.is_overdue and not thread.is_replaced:  # there was no room for another thread
                    thread.is_replaced, replaced.is_replaced = True, False
                    return False
            self._threads = tuple(thread for thread in self._threads if thread is not replaced)  # which makes room
            return True

    def _new(self, may_begin: Future[bool]) -> _HandlerThread:
        return _HandlerThread(
            self._work,
            self._handle,
            name=f"{self._name}-{next(self._numbers)}",
            may_begin=may_begin,
            leave=self._leave,
            on_defect=self._on_defect,
        )


class _HandlerThread(threading.Thread):
    """Handles one delivery at a time, whatever happens, until there is no more work or it is not needed."""

    def __init__(
        self,
        queue: WorkQueue,
        handle: Callable[[Delivery], None],
        *,
        name: str,
        may_begin: Future[bool],
        leave: Callable[[_HandlerThread], bool],
        on_defect: Callable[[Delivery | None, BaseException], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._queue = queue
        self._handle_one = handle  # Thread has a `_handle` of its own from Python 3.13 on
        self._may_begin = may_begin
        self._leave = leave
        self._on_defect = on_defect
        self.work: Work | None = None  # replaced as a whole: another thread sees one moment of it
        self._given_up: Work | None = None  # what took longer than its handler's timeout
        self.is_replaced = False  # ends after what it is doing, unless it is needed then
        self.has_finished = False

    @property
    def overdue(self) -> Work | None:
        """What it handles now, if that takes longer than the handler's timeout."""
        given_up = self._given_up
        return given_up if given_up is not None and given_up is self.work else None

    @property
    def is_overdue(self) -> bool:
        """Whether what it handles now takes longer than the handler's timeout."""
        return self.overdue is not None

    @property
    def was_started(self) -> bool:
        """Whether the system had a thread for it."""
        return self.ident is not None

    @property
    def is_dead(self) -> bool:
        """Whether something has ended it before its time."""
        return self.was_started and not self.has_finished and not self.is_alive()

    def give_up(self, delivery: Delivery) -> bool:
        """Take note that a handler outlives its timeout, and return whether it still runs here. On another thread."""
        work = self.work
        if work is None or work[0] is not delivery:
            return False
        self._given_up = work
        if self.work is not work:  # it has just ended, and may not have seen the note: nothing must keep its body
            self._given_up = None
            return False
        return True

    def describe(self, work: Work) -> str:
        """Return what it is doing, for people."""
        return f"{self.name} is handling {describe(work[0])}"

    def run(self) -> None:
        if self._may_begin.result():
            while not self._serve():
                pass
        self.has_finished = True

    def _serve(self) -> bool:
        """Handle deliveries, and return whether that is all; not if an exception has come in between."""
        delivery = None
        try:
            while (delivery := self._queue.take()) is not None:
                self.work = (delivery, time.monotonic())
                self._handle_one(delivery)
                delivery = self.work = None  # an idle thread keeps no body alive
                if self._given_up is not None:
                    self._given_up = None
                if self.is_replaced and self._leave(self):
                    return True
            return True
        except BaseException as error:  # noqa: BLE001 - a defect, or what another thread has put here: others wait
            self.work = self._given_up = None
            self._on_defect(delivery, error)
            return False


def describe(delivery: Delivery) -> str:
    """Return key and queue of a delivery, for people."""
    return f"{shorten(delivery.routing_key)} of queue {delivery.queue!r}"
