"""PrefetchWatch: keeps messages that nobody has begun from waiting until the broker takes them back."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from taskroute.broker.roles.consumer import Consumer
from taskroute.foreign import Log
from taskroute.handling.waiting_times import CHECKS, Overlong, WaitingTimes
from taskroute.worker.admissions import Admissions
from taskroute.worker.notifications import Notifications
from taskroute.worker.scheduler import Scheduler
from taskroute.worker.work_queue import WorkQueue

log = Log("taskroute.worker")


class PrefetchWatch:
    """Looks at what waits of each queue, warns, and shrinks the prefetch of a queue whose messages wait for too long.

    The scheduler's thread, which is the consuming session's, makes every call but `start`.

    Args:
        limits: seconds that the broker gives the messages of a queue, by queue.
        work: what waits.
        consumer: whose prefetch is shrunk.
        scheduler: of the consuming session.
        admissions: which queues are paused by hand: what waits of them goes back.
        notifications: reports that.
    """

    def __init__(
        self,
        limits: Mapping[str, float],
        *,
        work: WorkQueue,
        consumer: Consumer,
        scheduler: Scheduler,
        admissions: Admissions,
        notifications: Notifications,
    ) -> None:
        self._waits = {queue: WaitingTimes(limit) for queue, limit in limits.items()}
        self._work = work
        self._consumer = consumer
        self._scheduler = scheduler
        self._admissions = admissions
        self._notifications = notifications

    def start(self) -> None:
        """Begin to look. On any thread."""
        for queue in self._waits:
            self._look_later(queue)

    def _look_later(self, queue: str) -> None:
        self._scheduler.call_later(self._waits[queue].limit / CHECKS, partial(self._look, queue))

    def _look(self, queue: str) -> None:
        self._look_later(queue)
        overlong = self._waits[queue].look(self._work.line(queue), time.monotonic())
        if overlong is None:
            return
        if queue in self._admissions.held:
            self._give_back(queue, overlong)
        else:
            self._shorten(queue, overlong)

    def _give_back(self, queue: str, overlong: Overlong) -> None:
        """Put back what waits of a queue that is paused by hand: the broker would close its channel over it."""
        waiting = self._work.withdraw(queue, keep=0)
        self._consumer.put_back(waiting)
        self._notifications.given_back(queue, len(waiting), overlong.waited)

    def _shorten(self, queue: str, overlong: Overlong) -> None:
        expected = "for as long as no handler ends" if overlong.expected is None else f"{overlong.expected:.0f} s"
        prefetch = self._consumer.shrink(queue, overlong.surplus, partial(self._work.withdraw, queue, overlong.keep))
        log.warning(
            "prefetch_waits queue=%s waited=%.0f s expected=%s prefetch=%d: messages that were taken in advance wait "
            "for handlers, and RabbitMQ takes back what is not acknowledged after %.0f s; "
            "lower prefetch, add threads, or raise consumer_timeout here and on the broker",
            queue,
            overlong.waited,
            expected,
            prefetch,
            self._waits[queue].limit,
        )
