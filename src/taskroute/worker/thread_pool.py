"""ThreadPool: the threads that handlers run in, and what becomes of one that hangs."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

from taskroute.message.delivery import Delivery
from taskroute.quoting import shorten
from taskroute.worker.work_queue import WorkQueue


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
    """

    def __init__(self, count: int, work: WorkQueue, handle: Callable[[Delivery], None], name: str) -> None:
        self._count = count
        self._work = work
        self._handle = handle
        self._name = name
        self._numbers = itertools.count()
        self._lock = threading.Lock()  # held to replace one, to leave, and to end
        self._is_ending = False
        self._threads = [self._new() for _ in range(count)]  # replaced, never changed: read without the lock

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def include_current(self) -> bool:
        """Return whether the caller runs in one of them."""
        return threading.current_thread() in self._threads

    def current(self) -> Iterator[tuple[Delivery, float]]:
        """Yield what is being handled, and since when by the monotonic clock."""
        for thread in self._threads:
            if (delivery := thread.current) is not None:
                yield delivery, thread.since

    def describe_current(self) -> list[str]:
        """Return what is being handled, for people."""
        return [thread.describe() for thread in self._threads if thread.current is not None]

    def give_up(self, delivery: Delivery) -> bool:
        """Start another thread if the handler of a delivery still runs, and return whether it does."""
        for thread in self._threads:
            if thread.current is delivery:
                thread.overdue = delivery
                self._replace(thread)
                return True
        return False

    def stuck(self) -> list[str]:
        """Return what the handlers are doing that have outlived their timeout, for people."""
        return [thread.describe() for thread in self._threads if thread.is_overdue]

    def are_all_stuck(self) -> bool:
        """Return whether no thread is left to handle anything."""
        return bool(self._threads) and all(thread.is_overdue for thread in self._threads)

    def end(self, deadline: float) -> None:
        """Wait for the threads that have nothing to do, until `deadline` by the monotonic clock."""
        with self._lock:
            self._is_ending = True
        for thread in self._threads:
            if thread.current is None and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _replace(self, hung: _HandlerThread) -> None:
        with self._lock:
            if self._is_ending or hung.is_replaced:
                return
            if len(self._threads) < 2 * self._count:
                thread = self._new()
                thread.start()  # first: where the system has no more threads, nothing has changed
                hung.is_replaced = True
                self._threads = [*self._threads, thread]

    def _leave(self, replaced: _HandlerThread) -> bool:
        """Return whether a thread that was replaced, and is free again, is not needed."""
        with self._lock:
            for thread in self._threads:
                if thread.is_overdue and not thread.is_replaced:  # there was no room for another thread
                    thread.is_replaced, replaced.is_replaced = True, False
                    return False
            self._threads = [thread for thread in self._threads if thread is not replaced]  # which makes room
            return True

    def _new(self) -> _HandlerThread:
        return _HandlerThread(self._work, self._handle, self._leave, f"{self._name}-{next(self._numbers)}")


class _HandlerThread(threading.Thread):
    """Handles one delivery at a time."""

    def __init__(
        self,
        work: WorkQueue,
        handle: Callable[[Delivery], None],
        leave: Callable[[_HandlerThread], bool],
        name: str,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._handle_one = handle  # Thread has a `_handle` of its own from Python 3.13 on
        self._leave = leave
        self.current: Delivery | None = None
        self.since = 0.0
        self.overdue: Delivery | None = None  # the last one that took longer than its handler's timeout
        self.is_replaced = False  # ends after what it is doing, unless it is needed then

    @property
    def is_overdue(self) -> bool:
        """Whether what it handles now takes longer than the handler's timeout."""
        current = self.current
        return current is not None and current is self.overdue

    def run(self) -> None:
        while (delivery := self._work.take()) is not None:
            self.since = time.monotonic()
            self.current = delivery
            self._handle_one(delivery)
            self.current = None
            if self.is_replaced and self._leave(self):
                return

    def describe(self) -> str:
        """Return what it is doing, for people."""
        delivery = self.current
        if delivery is None:
            return f"{self.name} is idle"
        return f"{self.name} is handling {describe(delivery)}"


def describe(delivery: Delivery) -> str:
    """Return key and queue of a delivery, for people."""
    return f"{shorten(delivery.routing_key)} of queue {delivery.queue!r}"
