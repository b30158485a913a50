"""Operation: the lock of a broker, and what belongs to holding it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.clock import Clock
from taskroute.broker.embedded.dead_letter import Reason
from taskroute.broker.embedded.queue import Queue


class Operation:
    """Holds a broker's lock from enter to exit, and is the `Host` of its queues.

    Every part of the broker that is not synchronized is called inside an operation: by the broker, or by the clock
    through `call_at`. `complete` dead-letters what queues discard meanwhile, so that no other operation sees a message
    that is in neither queue.

    Args:
        lock: the broker's.
        clock: the broker's.
        complete: called at the end of every operation, under the lock.
    """

    __slots__ = ("_clock", "_complete", "_lock", "discarded")

    def __init__(self, lock: threading.Lock, clock: Clock, complete: Callable[[], None]) -> None:
        self.discarded: deque[tuple[Queue, StoredMessage, Reason]] = deque()
        self._lock = lock
        self._clock = clock
        self._complete = complete

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        try:
            self._complete()
        finally:
            self._lock.release()

    # What queues ask of it, inside an operation

    def now(self) -> float:
        """Return the seconds of the clock, monotonic."""
        return self._clock.now()

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Make `call` at `moment`, on the clock's thread, as an operation of its own."""

        def operate() -> None:
            with self:
                call()

        self._clock.call_at(moment, operate)

    def discard(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        """Keep for `complete` a message that `queue` drops."""
        self.discarded.append((queue, message, reason))
