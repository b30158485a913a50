"""Republisher: failed messages on their way to a wait or dead-letter queue, until the broker has confirmed them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

from taskroute.broker.declare import Declaration
from taskroute.broker.properties import DEFAULT_FRAME_MAX
from taskroute.broker.roles.confirms import Confirms
from taskroute.broker.roles.submission import Receipt
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import BrokerUnavailableError, TaskrouteError, UnroutableError
from taskroute.handling.health import HeldUp
from taskroute.handling.settle import Republish, settle_without_retry
from taskroute.instrumentation.events import Event
from taskroute.message.delivery import Delivery
from taskroute.raised import Disclosure
from taskroute.topology.queue import QueueSpec
from taskroute.worker.failure import Failure
from taskroute.worker.notifications import Notifications
from taskroute.worker.pending_retries import PendingRetries
from taskroute.worker.republication import Republication, StaleDelivery, republication
from taskroute.worker.scheduler import Scheduler

PAUSE: Final = 1.0
"""Seconds until the next attempt to republish what was refused. The message stays unacknowledged."""

USUAL_TIME: Final = 5.0
"""Seconds after which a message that is not republished yet is held up."""


class RepublishSink(Protocol):
    """What owns failed deliveries. One of `on_republished` and `on_stale` is called for each of them, once.

    On the thread of the republishing session, or of the scheduler or the caller for a delivery that is stale.
    """

    def is_stale(self, delivery: Delivery) -> bool:
        """Return whether the connection that a delivery came on is gone, so that the broker delivers it again."""

    def on_republished(self, failure: Failure) -> None:
        """Take note that a message is where it goes: its delivery may be acknowledged."""

    def on_stale(self, failure: Failure) -> None:
        """Take note that a message was not republished: another delivery brings it again."""


class Republisher:
    """Publishes what could not be handled, on a connection of its own that the first failure opens.

    A connection that only consumes is read by a broker in a memory alarm, so that acknowledgements go on. Any thread
    may call.

    A message that was written is not given up while its connection lives: its confirm may be late. One that was not
    is dropped as soon as its delivery is stale, as the broker delivers it again.

    Args:
        nodes: tried in turn.
        name: of the session's thread and of its connection on the broker.
        heartbeat: seconds.
        queues: that messages may come from, by name.
        declaration: of the queues that they go to: one that is missing is declared again.
        topology_digest: of what the worker has declared.
        frame_max: returns the bytes of a frame on the connection that deliveries come by, for as long as there is none
            of this session.
        scheduler: makes the next attempt, on another thread than that of this session.
        notifications: reports attempts that fail.
        on_end: called when the session's thread ends.
        emit: takes the events of the connection.
        disclosure: what is told of a defect.
    """

    def __init__(
        self,
        nodes: Nodes,
        *,
        name: str,
        heartbeat: float,
        queues: Mapping[str, QueueSpec],
        declaration: Declaration,
        topology_digest: str,
        frame_max: Callable[[], int],
        scheduler: Scheduler,
        notifications: Notifications,
        on_end: Callable[[], object],
        emit: Callable[[Event], object] | None,
        disclosure: Disclosure,
    ) -> None:
        self._queues = queues
        self._declaration = declaration
        self._frame_max = frame_max
        self._scheduler = scheduler
        self._notifications = notifications
        self._confirms = Confirms(unavailable=self._unavailable)  # the consuming session has declared everything
        self.session: Final = Session(
            nodes,
            self._confirms,
            name=name,
            heartbeat=heartbeat,
            topology_digest=topology_digest,
            first_failure="retry",
            on_end=on_end,
            emit=emit,
            disclosure=disclosure,
        )
        self._retries = PendingRetries()
        self._starting = threading.Lock()
        self._is_started = False
        self._lock = threading.Lock()  # guards what is open
        self._open: dict[Delivery, _Open] = {}

    @property
    def has_ended(self) -> bool:
        """Whether the session was started, and its thread is gone, so that nothing is republished."""
        return self._is_started and not self.session.is_alive

    @property
    def expects_retries(self) -> bool:
        """Whether retries have not come back yet."""
        return bool(self._retries)

    def republish(self, failure: Failure, action: Republish, sink: RepublishSink) -> None:
        """Publish, again and again until the broker confirms it; a message that it refuses holds no other one back.

        Args:
            failure: of the delivery.
            action: where it goes, and as what.
            sink: is told of the end.
        """
        with self._lock:
            self._open[failure.delivery] = _Open(time.monotonic(), partial(sink.is_stale, failure.delivery))
        self._attempt(failure, action, sink)

    def on_returned(self, delivery: Delivery) -> None:
        """Record that a retry is back."""
        if delivery.message_id is not None:
            self._retries.discard((delivery.queue, delivery.message_id))

    def on_connection_lost(self) -> None:
        """Drop what is stale now and was not written: without a connection here nothing else would."""
        with self._lock:
            waiting = [each.submission for each in self._open.values() if each.submission is not None]
        stale = [submission for submission in waiting if submission.is_stale() and submission.future.cancel()]
        if stale:
            self.session.post(self._confirms.forget_resolved)

    def held_up(self) -> Sequence[HeldUp]:
        """Return the queues whose failed messages cannot be republished, or take long to be, and why."""
        with self._lock:
            overdue = time.monotonic() - USUAL_TIME
            held = [(delivery.queue, each) for delivery, each in self._open.items() if each.is_held_up(overdue)]
        return [
            HeldUp(queue, len(of_queue), self._why(of_queue)) for queue, of_queue in sorted(_by_queue(held).items())
        ]

    def _attempt(self, failure: Failure, action: Republish, sink: RepublishSink) -> None:
        delivery = failure.delivery
        if sink.is_stale(delivery):
            self._close(failure)
            sink.on_stale(failure)
            return
        frame_max = self.session.frame_max or self._frame_max() or DEFAULT_FRAME_MAX
        submission = republication(delivery, action, partial(sink.is_stale, delivery), frame_max)
        with self._lock:
            self._open[delivery].submission = submission
        if action.kind == "retry":  # noted first: it may be back before its confirm is read
            self._retries.add((delivery.queue, submission.message_id), action.delay)
        submission.future.add_done_callback(partial(self._on_answer, failure, action, sink))
        try:
            self._start()
        except (OSError, RuntimeError) as error:  # no descriptor or thread can be had now
            submission.future.set_exception(error)
            return
        self._confirms.submit(submission)
        if not self.session.wake():
            submission.resolve(self._unavailable())
        elif submission.is_stale():  # since it was looked at above, when there was nothing to drop
            self.on_connection_lost()

    def _on_answer(self, failure: Failure, action: Republish, sink: RepublishSink, future: Future[Receipt]) -> None:
        error = StaleDelivery() if future.cancelled() else future.exception()
        if error is None:
            self._close(failure)
            sink.on_republished(failure)
        elif isinstance(error, StaleDelivery):
            self._close(failure)
            sink.on_stale(failure)
        else:
            with self._lock:
                self._open[failure.delivery].error = error
            self._notifications.republish_failed(failure, error)
            if isinstance(error, UnroutableError):
                failure, action = self._without_queue(failure, action)
            self._scheduler.call_later(PAUSE, partial(self._attempt, failure, action, sink))

    def _without_queue(self, failure: Failure, action: Republish) -> tuple[Failure, Republish]:
        """Have a queue that is missing declared again; where that is not ours to do, give the retry up."""
        if self._declaration.mode == "create":
            self.session.post(partial(self._redeclare, action.queue))
        elif action.kind == "retry":
            queue = self._queues[failure.delivery.queue]
            instead = settle_without_retry(failure.failed, failure.delivery, queue, datetime.now(UTC))
            if instead is not None:
                failure = replace(failure, action=instead)
                self._notifications.failed(failure)  # once more: it was said to be tried again
                return failure, instead
        return failure, action

    def _close(self, failure: Failure) -> None:
        with self._lock:
            del self._open[failure.delivery]

    def _why(self, held: Iterable[_Open]) -> str:
        if not self.session.is_open or self.session.is_blocked:
            return str(self.session.unavailable())
        errors = [str(each.error) for each in held if each.error is not None]
        return errors[-1] if errors else "the broker has not confirmed them"

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self.session.start()
                self._is_started = True

    def _unavailable(self) -> BrokerUnavailableError:
        return self.session.unavailable()

    # On the republishing session's thread:

    def _redeclare(self, queue: str) -> None:
        for spec in self._declaration.queues:
            if spec.name == queue:
                try:
                    self._confirms.on_another_channel(partial(self._declaration.queue_on, queue=spec))
                except TaskrouteError as error:
                    self._notifications.redeclare_failed(queue, error)


@dataclass(slots=True)
class _Open:
    """A message that is not republished yet: since when, and why the last attempt has failed."""

    since: float
    is_stale: Callable[[], bool]
    error: BaseException | None = None
    submission: Republication | None = None
    """The last attempt."""

    def is_held_up(self, overdue: float) -> bool:
        """Return whether it takes too long. A stale one takes nobody's room."""
        return (self.error is not None or self.since <= overdue) and not self.is_stale()


def _by_queue(held: Iterable[tuple[str, _Open]]) -> dict[str, list[_Open]]:
    by_queue: dict[str, list[_Open]] = {}
    for queue, each in held:
        by_queue.setdefault(queue, []).append(each)
    return by_queue
