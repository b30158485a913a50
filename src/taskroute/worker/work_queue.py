"""WorkQueue: deliveries that wait for a handler thread, and which thread is woken for them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from taskroute.handling.fair_queue import FairQueue
from taskroute.handling.waiting_times import Line
from taskroute.message.delivery import Delivery


class WorkQueue:
    """Hands deliveries from the session's thread to handler threads, and knows which are open.

    A delivery is open from `put` until `done` or `abandon`, also while it is handled or republished. Any thread may
    call. An exception that another thread or a debugger has put into one of the calls leaves nothing half done:
    what is derived (turns, threads that wait) is put right before the lock is released.

    Args:
        waiting: decides which delivery is next. Of a queue that has a limit there, each delivery that was taken must
            be released.
    """

    def __init__(self, waiting: FairQueue | None = None) -> None:
        self._lock = threading.Lock()
        self._mending = _Mending(self._mend)
        self._arrived = threading.Condition(self._lock)
        self._finished = threading.Condition(self._lock)
        self._waiting = FairQueue() if waiting is None else waiting
        self._turns = self._waiting.turns
        self._next = self._waiting.take
        self._open: set[Delivery] = set()
        self._abandoned: set[Delivery] = set()
        self._closed = False
        self._idle: set[int] = set()  # threads that wait
        self._is_one_called = False  # one of them was woken, and does not run yet

    @property
    def open_count(self) -> int:
        """Deliveries that wait, are handled or are republished."""
        with self._lock, self._mending:
            return len(self._open)

    def has_open(self, delivery: Delivery) -> bool:
        """Return whether a delivery is open."""
        with self._lock:
            return delivery in self._open

    @property
    def open_by_queue(self) -> Mapping[str, int]:
        """The same by queue, and with what is abandoned."""
        with self._lock, self._mending:
            return Counter(delivery.queue for delivery in (*self._open, *self._abandoned))

    @property
    def abandoned(self) -> list[Delivery]:
        """Deliveries that stay unacknowledged until their connection closes."""
        with self._lock, self._mending:
            return list(self._abandoned)

    def put(self, deliveries: Sequence[Delivery]) -> bool:
        """Line deliveries up, and wake a thread if one is idle. Return False if it is closed, and takes none."""
        with self._lock, self._mending:
            if self._closed:
                return False
            try:
                self._open.update(deliveries)
                self._waiting.put(deliveries)
                self._call_one()
            except BaseException:
                self._open.difference_update(deliveries)
                raise
            return True

    def take(self) -> Delivery | None:
        """Wait for a delivery and return it, None once the queue is closed."""
        delivery = None
        try:
            with self._lock:
                while not self._turns:
                    if self._closed:
                        return None
                    self._wait()
                delivery = self._turns[0][0]  # known before it is taken: an exception may come in between
                self._next()
                self._call_one()
                return delivery
        except BaseException:
            self._undo_take(delivery)
            raise

    def take_now(self) -> Delivery | None:
        """Return a delivery if one may be taken, without waiting."""
        with self._lock, self._mending:
            return self._next() if self._turns else None

    def put_back(self, delivery: Delivery) -> None:
        """Undo that a delivery was taken: it is the next one of its queue; it is dropped if the queue is closed."""
        with self._lock, self._mending:
            if self._closed:
                self._open.discard(delivery)
                self._tell_if_finished()
            else:
                self._waiting.put_back(delivery)
                self._call_one()

    def permit(self, queue: str, count: int | None) -> None:
        """Let so many more deliveries of a queue with a limit be taken and then none; None lifts that."""
        with self._lock, self._mending:
            self._waiting.permit(queue, count)
            self._call_one()

    def hold(self, queue: str) -> None:
        """Let nothing of a queue be taken until `let_go`."""
        with self._lock, self._mending:
            self._waiting.hold(queue)

    def let_go(self, queue: str) -> None:
        """End `hold`."""
        with self._lock, self._mending:
            self._waiting.let_go(queue)
            self._call_one()

    def release(self, delivery: Delivery) -> None:
        """Record that a handler of a queue with a limit has ended: another delivery of it may be taken."""
        with self._lock, self._mending:
            self._waiting.release(delivery)
            self._call_one()

    def done(self, delivery: Delivery) -> None:
        """Record that a delivery is settled, or will be redelivered. Once more does nothing."""
        with self._lock:
            try:  # each message comes here: no calls
                self._open.discard(delivery)
                self._abandoned.discard(delivery)
                if not self._open:
                    self._finished.notify_all()
            except BaseException:
                self._mend()
                raise

    def abandon(self, delivery: Delivery) -> None:
        """Record that nobody works at an open delivery any longer, and that it is not settled."""
        with self._lock, self._mending:
            if delivery in self._open:
                self._abandoned.add(delivery)
                self._open.discard(delivery)
                self._tell_if_finished()

    def forget_waiting(self, queue: str | None = None, is_lost: Callable[[Delivery], bool] = lambda _: True) -> None:
        """Drop what no thread has taken, of one queue or of all: the broker will deliver it again.

        Args:
            queue: None for all.
            is_lost: returns whether a delivery is one of those: a queue may have them from the one that it replaces.
        """
        with self._lock, self._mending:
            self._abandoned = {
                delivery for delivery in self._abandoned if queue not in (None, delivery.queue) or not is_lost(delivery)
            }
            self._drop(self._waiting.clear(queue, is_lost))

    def line(self, queue: str) -> Line | None:
        """Return what waits of a queue, None if nothing does."""
        with self._lock, self._mending:
            return self._waiting.line(queue)

    def withdraw(self, queue: str, keep: int) -> list[Delivery]:
        """Drop what waits of a queue behind the first `keep`, and return it: it is put back to the broker's queue."""
        with self._lock, self._mending:
            return self._drop(self._waiting.withdraw(queue, keep))

    def close(self) -> list[Delivery]:
        """Take no more, let the threads that wait end, and return what no thread has taken."""
        with self._lock, self._mending:
            self._closed = True
            self._arrived.notify_all()
            return self._drop(self._waiting.clear())

    def wait_idle(self, timeout: float | None) -> bool:
        """Wait until nothing is open, `timeout` seconds at most, and return whether nothing is."""
        with self._lock, self._mending:
            return self._finished.wait_for(lambda: not self._open, timeout)

    def _undo_take(self, delivery: Delivery | None) -> None:
        with self._lock:
            self._idle.discard(threading.get_ident())
            if delivery is not None:
                self._waiting.put_back(delivery)
            self._mend()

    # With the lock:

    def _wait(self) -> None:
        me = threading.get_ident()
        self._idle.add(me)
        self._arrived.wait()
        self._idle.remove(me)
        self._is_one_called = False

    def _call_one(self) -> None:
        """Wake one more thread, if there is something for it and none is on its way.

        Each thread wakes the next one. While handlers only compute, the first thread does all the work and no other
        thread competes for the interpreter's lock; as soon as one waits for something, the next one has its turn.
        """
        if self._turns and self._idle and not self._is_one_called:
            self._is_one_called = True
            self._arrived.notify()

    def _drop(self, dropped: list[Delivery]) -> list[Delivery]:
        self._open.difference_update(dropped)
        self._tell_if_finished()
        return dropped

    def _tell_if_finished(self) -> None:
        if not self._open:
            self._finished.notify_all()

    def _mend(self) -> None:
        """Put right what follows from the rest. Calls a thread too many rather than none."""
        self._waiting.mend()
        self._is_one_called = False
        self._call_one()
        self._tell_if_finished()
        if self._closed:
            self._arrived.notify_all()


class _Mending:
    """A block that is mended if an exception cuts it short. The lock around it is another one's: that is C code."""

    __slots__ = ("_mend",)

    def __init__(self, mend: Callable[[], None]) -> None:
        self._mend = mend

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._mend()
