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
    """Holds a broker's lock from enter to exit. It is the queues' `Host`.

    Every part of the broker that is not synchronized is called inside an operation: by the broker, or by the clock
    through `call_at`. What the parts bury is for `complete` to dead-letter, before another operation can look.

    Args:
        lock: the broker's.
        clock: the broker's.
        complete: called at the end of every operation, under the lock.
    """

    __slots__ = ("_clock", "_complete", "_lock", "buried")

    def __init__(self, lock: threading.Lock, clock: Clock, complete: Callable[[], None]) -> None:
        self.buried: deque[tuple[Queue, StoredMessage, Reason]] = deque()
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

    # What queues ask for, inside an operation

    def now(self) -> float:
        """Return the seconds of the clock, monotonic."""
        return self._clock.now()

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Have the clock make `call` at `moment`, as an operation of its own."""

        def operate() -> None:
            with self:
                call()

        self._clock.call_at(moment, operate)

    def bury(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        """Note a message that leaves `queue` dead."""
        self.buried.append((queue, message, reason))
