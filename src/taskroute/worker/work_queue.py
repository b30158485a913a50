"""Ready: deliveries that wait for a handler thread, and who is woken for them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from taskroute.handling.fair_queue import Lines
from taskroute.message.delivery import Delivery


class Ready:
    """Hands deliveries from the session's thread to handler threads, and knows how many are open.

    A delivery is open from `put` until `done`, also while it is handled or handed over. Any thread may call.

    Args:
        lines: of a queue that has a limit there, each delivery that was taken has to be released.
    """

    def __init__(self, lines: Lines | None = None) -> None:
        lock = threading.Lock()
        self._arrived = threading.Condition(lock)
        self._finished = threading.Condition(lock)
        self._lines = Lines() if lines is None else lines
        self._turns = self._lines.turns
        self._next = self._lines.take
        self._open = 0
        self._closed = False
        self._idle = 0  # threads that wait
        self._is_one_called = False  # of them, and has not come yet

    @property
    def open_count(self) -> int:
        """Deliveries that wait, are handled or are handed over."""
        return self._open

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Line deliveries up and wake as many threads."""
        with self._arrived:
            if self._closed:
                return  # they go back to their queue when the connection closes
            self._lines.put(deliveries)
            self._open += len(deliveries)
            self._call_one()

    def take(self) -> Delivery | None:
        """Wait for a delivery; None when there will be none any more."""
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
        """A delivery if there is one, without waiting."""
        with self._arrived:
            return self._next() if self._turns else None

    def permit(self, queue: str, count: int | None) -> None:
        """Let so many more deliveries of a queue with a limit be taken and then none; None lifts that."""
        with self._arrived:
            self._lines.permit(queue, count)
            self._call_one()

    def release(self, queue: str) -> None:
        """A handler of a queue with a limit has ended: another delivery of it may be taken."""
        with self._arrived:
            self._lines.release(queue)
            self._call_one()

    def done(self) -> None:
        """One delivery is settled, or will be redelivered."""
        with self._finished:
            self._open -= 1
            if not self._open:
                self._finished.notify_all()

    def forget_waiting(self) -> None:
        """Drop what no thread has taken: its connection is gone, and the broker will deliver it again."""
        with self._finished:
            self._drop_waiting()

    def close(self) -> None:
        """Take no more, drop what waits, and let the threads that wait end."""
        with self._arrived:
            self._closed = True
            self._drop_waiting()
            self._arrived.notify_all()

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until nothing is open, `timeout` seconds at most; whether nothing is."""
        with self._finished:
            return self._finished.wait_for(lambda: self._open == 0, timeout)

    def _call_one(self) -> None:
        """Wake one thread more, if there is something for it and none is on its way.

        Each calls the next one. While handlers only compute, the first thread does all the work and no other one takes
        part in a struggle for the interpreter's lock; as soon as one waits for something, the next one has its turn.
        """
        if self._turns and self._idle and not self._is_one_called:
            self._is_one_called = True
            self._arrived.notify()

    def _drop_waiting(self) -> None:
        self._open -= self._lines.clear()
        if not self._open:
            self._finished.notify_all()
