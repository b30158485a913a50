"""WorkQueue: deliveries that wait for a handler thread, and which thread is woken for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from taskroute.handling.fair_queue import FairQueue
from taskroute.handling.waiting_times import Line
from taskroute.message.delivery import Delivery


class WorkQueue:
    """Hands deliveries from the session's thread to handler threads, and knows how many are open.

    A delivery is open from `put` until `done`, also while it is handled or republished. Any thread may call.

    Args:
        waiting: decides which delivery is next. Of a queue that has a limit there, each delivery that was taken must
            be released.
    """

    def __init__(self, waiting: FairQueue | None = None) -> None:
        lock = threading.Lock()
        self._arrived = threading.Condition(lock)
        self._finished = threading.Condition(lock)
        self._waiting = FairQueue() if waiting is None else waiting
        self._turns = self._waiting.turns
        self._next = self._waiting.take
        self._open = 0
        self._closed = False
        self._idle = 0  # threads that wait
        self._is_one_called = False  # one of them was woken, and does not run yet

    @property
    def open_count(self) -> int:
        """Deliveries that wait, are handled or are republished."""
        return self._open

    def put(self, deliveries: Sequence[Delivery]) -> bool:
        """Line deliveries up, and wake a thread if one is idle. Return False if it is closed, and takes none."""
        with self._arrived:
            if self._closed:
                return False
            self._waiting.put(deliveries)
            self._open += len(deliveries)
            self._call_one()
            return True

    def take(self) -> Delivery | None:
        """Wait for a delivery and return it, None once the queue is closed."""
        with self._arrived:
            while not self._turns:
                if self._closed:
                    return None
                self._idle += 1
                self._arrived.wait()
                self._idle -= 1
                self._is_one_called = False
            delivery = self._next()
            self._call_one()
            return delivery

    def take_now(self) -> Delivery | None:
        """Return a delivery if one may be taken, without waiting."""
        with self._arrived:
            return self._next() if self._turns else None

    def permit(self, queue: str, count: int | None) -> None:
        """Let so many more deliveries of a queue with a limit be taken and then none; None lifts that."""
        with self._arrived:
            self._waiting.permit(queue, count)
            self._call_one()

    def release(self, queue: str) -> None:
        """Record that a handler of a queue with a limit has ended: another delivery of it may be taken."""
        with self._arrived:
            self._waiting.release(queue)
            self._call_one()

    def done(self) -> None:
        """Record that one delivery is settled, or will be redelivered."""
        with self._finished:
            self._open -= 1
            if not self._open:
                self._finished.notify_all()

    def forget_waiting(self, queue: str | None = None) -> None:
        """Drop what no thread has taken, of one queue or of all: the broker will deliver it again."""
        with self._finished:
            self._drop_waiting(queue)

    def line(self, queue: str) -> Line | None:
        """Return what waits of a queue, None if nothing does."""
        with self._arrived:
            return self._waiting.line(queue)

    def withdraw(self, queue: str, keep: int) -> list[Delivery]:
        """Drop what waits of a queue behind the first `keep`, and return it: it is put back to the broker's queue."""
        with self._finished:
            return self._drop(self._waiting.withdraw(queue, keep))

    def close(self) -> list[Delivery]:
        """Take no more, let the threads that wait end, and return what no thread has taken."""
        with self._arrived:
            self._closed = True
            waiting = self._drop_waiting(None)
            self._arrived.notify_all()
            return waiting

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until nothing is open, `timeout` seconds at most, and return whether nothing is."""
        with self._finished:
            return self._finished.wait_for(lambda: self._open == 0, timeout)

    def _call_one(self) -> None:
        """Wake one more thread, if there is something for it and none is on its way.

        Each thread wakes the next one. While handlers only compute, the first thread does all the work and no other
        thread competes for the interpreter's lock; as soon as one waits for something, the next one has its turn.
        """
        if self._turns and self._idle and not self._is_one_called:
            self._is_one_called = True
            self._arrived.notify()

    def _drop_waiting(self, queue: str | None) -> list[Delivery]:
        return self._drop(self._waiting.clear(queue))

    def _drop(self, dropped: list[Delivery]) -> list[Delivery]:
        self._open -= len(dropped)
        if not self._open:
            self._finished.notify_all()
        return dropped
