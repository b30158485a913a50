"""Idle: whether a worker has nothing to do, asked of itself and of the broker. Any thread but the worker's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from taskroute.broker.roles.consumer import Consumer
from taskroute.broker.session import Session
from taskroute.foreign import Log
from taskroute.topology.queue import QueueSpec, wait_queues_of
from taskroute.worker.admissions import Admissions
from taskroute.worker.republish import Republisher
from taskroute.worker.work_queue import WorkQueue

log = Log("taskroute.worker")

_INTERVAL: Final = 0.05
"""Seconds between questions for the depth of queues: a broker does not tell by itself."""

_LAST_QUESTION: Final = 0.5
"""Seconds in which the broker may say what is left, when the time is up."""

_PATIENCE: Final = 1.0
"""Seconds between looks whether something is paused, while handlers run."""


class Idle:
    """Waits until nothing is ready, waiting for a retry, or in flight; says what is, when it gives up.

    Args:
        queues: that the worker consumes.
        work: what is open here.
        consumer: of the consuming session.
        session: asks the broker.
        republisher: whose retries are expected back.
        admissions: which queues are paused.
        ended: set when the worker has ended.
    """

    def __init__(
        self,
        queues: Iterable[QueueSpec],
        *,
        work: WorkQueue,
        consumer: Consumer,
        session: Session,
        republisher: Republisher,
        admissions: Admissions,
        ended: threading.Event,
    ) -> None:
        self._wait_queues = {queue.name: tuple(_queues_before(queue)) for queue in queues}
        self._queues = tuple(name for queue, waits in self._wait_queues.items() for name in (queue, *waits))
        self._work = work
        self._consumer = consumer
        self._session = session
        self._republisher = republisher
        self._admissions = admissions
        self._ended = ended

    def wait(self, timeout: float) -> bool:
        """Wait, `timeout` seconds at most, and return whether there is nothing to do.

        The queues are counted twice: a channel of RabbitMQ answers that a queue is empty before it writes what that
        queue has just given it. What is delivered meanwhile may have been handled at once, and have published.
        """
        started = time.monotonic()
        deadline = started + timeout
        is_said = False
        while (remaining := deadline - time.monotonic()) > 0:
            delivered = self._consumer.delivered
            is_said = is_said or self._say_what_is_paused(remaining)
            if self._has_finished(min(remaining, _PATIENCE)) and self._count_ready(remaining) == 0 == self._count_ready(
                remaining
            ):
                if delivered == self._consumer.delivered and not self._republisher.expects_retries:
                    return True
                continue
            if self._ended.wait(min(_INTERVAL, max(0.0, deadline - time.monotonic()))):
                return False  # nobody can be asked any longer
        if timeout > 0:
            self._say_what_is_left(time.monotonic() - started)
        return False

    def _has_finished(self, timeout: float) -> bool:
        """Wait until nothing is open here, and return whether nothing is on its way back either."""
        return self._work.wait_idle(timeout) and not self._work.abandoned and not self._republisher.expects_retries

    def _say_what_is_paused(self, timeout: float) -> bool:
        """Say which messages keep it from becoming idle until somebody resumes their queue, if there are any."""
        paused = {*self._admissions.held, *self._admissions.reasons()}
        waiting = [queue for queue in sorted(paused) if self._work.line(queue) or self._count_ready(timeout, [queue])]
        for queue in waiting:
            log.warning("not_idle queue=%s: it is paused, and has messages", queue)
        return bool(waiting)

    def _say_what_is_left(self, waited: float) -> None:
        """Say for each queue what kept it from becoming idle, as far as the broker answers."""
        ready, in_flight = self._count_each(), self._work.open_by_queue
        for queue, waits in self._wait_queues.items():
            left = (ready.get(queue, 0), sum(ready.get(name, 0) for name in waits), in_flight.get(queue, 0))
            if any(left):
                log.warning("not_idle queue=%s ready=%d waiting=%d in_flight=%d after=%.1f", queue, *left, waited)

    def _count_each(self) -> Mapping[str, int]:
        try:
            return self._session.ask(partial(self._consumer.count_each, self._queues), _LAST_QUESTION)
        except Exception as error:  # noqa: BLE001 - as below
            log.debug("count_failed error=%s", type(error).__name__)
            return {}

    def _count_ready(self, timeout: float, queues: Sequence[str] | None = None) -> int | None:
        asked = self._queues if queues is None else queues
        try:
            return self._session.ask(partial(self._consumer.count_ready, asked), timeout)
        except Exception as error:  # noqa: BLE001 - the session sees it as well, and reconnects
            log.debug("count_failed error=%s", type(error).__name__)
            return None


def _queues_before(queue: QueueSpec) -> Iterator[str]:
    """Yield the queues whose messages are still to be handled as those of a queue."""
    yield from wait_queues_of(queue)
    if queue.replaces is not None:
        yield queue.replaces
