"""Ready: deliveries that wait for a handler thread, one line per queue, taken in turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from taskroute.message import Delivery


class Ready:
    """Hands deliveries from the session's thread to handler threads, and knows how many are open.

    A delivery is open from `put` until `done`, also while it is handled or handed over. Any thread may call.
    """

    def __init__(self) -> None:
        lock = threading.Lock()
        self._arrived = threading.Condition(lock)
        self._finished = threading.Condition(lock)
        self._lines: dict[str, deque[Delivery]] = {}
        self._turns: deque[deque[Delivery]] = deque()  # the lines that are not empty, the next one first
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
            for delivery in deliveries:
                line = self._lines.get(delivery.queue)
                if line is None:
                    line = self._lines[delivery.queue] = deque()
                if not line:
                    self._turns.append(line)
                line.append(delivery)
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

    def _next(self) -> Delivery:
        line = self._turns.popleft()
        delivery = line.popleft()
        if line:
            self._turns.append(line)
        return delivery

    def _drop_waiting(self) -> None:
        self._open -= sum(len(line) for line in self._turns)
        for line in self._turns:
            line.clear()
        self._turns.clear()
        if not self._open:
            self._finished.notify_all()
