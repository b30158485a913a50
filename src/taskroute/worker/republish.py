"""Republisher: failed messages on their way to a wait or dead-letter queue, until the broker has confirmed them."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, Protocol

from taskroute.broker.properties import passed_on
from taskroute.broker.roles.confirms import Confirms
from taskroute.broker.roles.submission import Receipt, Submission
from taskroute.broker.session import Session
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerUnavailableError
from taskroute.handling.settle import Republish
from taskroute.instrumentation.events import Event
from taskroute.message.delivery import Delivery
from taskroute.worker.failure import Failure
from taskroute.worker.notifications import Notifications
from taskroute.worker.pending_retries import PendingRetries
from taskroute.worker.scheduler import Scheduler

TIMEOUT: Final = 30.0
PAUSE: Final = 1.0
"""Seconds until an attempt to republish is given up, and until the next one. The message stays unacknowledged."""


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

    Args:
        urls: nodes, tried in turn.
        name: of the session's thread and of its connection on the broker.
        heartbeat: seconds.
        scheduler: makes the next attempt, on another thread than that of this session.
        notifications: reports attempts that fail.
        on_end: called when the session's thread ends.
        emit: takes the events of the connection.
    """

    def __init__(
        self,
        urls: Sequence[BrokerUrl],
        *,
        name: str,
        heartbeat: float,
        scheduler: Scheduler,
        notifications: Notifications,
        on_end: Callable[[], object],
        emit: Callable[[Event], object] | None,
    ) -> None:
        self._scheduler = scheduler
        self._notifications = notifications
        self._confirms = Confirms(unavailable=self._unavailable)  # the consuming session has declared everything
        self.session: Final = Session(
            urls, self._confirms, name=name, heartbeat=heartbeat, first_failure="retry", on_end=on_end, emit=emit
        )
        self._retries = PendingRetries()
        self._starting = threading.Lock()
        self._is_started = False

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
        if sink.is_stale(failure.delivery):
            sink.on_stale(failure)
            return
        submission = _submission(failure.delivery, action)
        if action.kind == "retry":  # noted first: it may be back before its confirm is read
            self._retries.add((failure.delivery.queue, submission.message_id), action.delay)
        again = partial(self.republish, failure, action, sink)
        submission.future.add_done_callback(partial(self._on_answer, failure, sink, again))
        try:
            self._start()
        except (OSError, RuntimeError) as error:  # no descriptor or thread can be had now
            submission.future.set_exception(error)
            return
        self._confirms.submit(submission)
        if not self.session.wake():
            submission.resolve(self._unavailable())

    def on_returned(self, delivery: Delivery) -> None:
        """Record that a retry is back."""
        if delivery.message_id is not None:
            self._retries.discard((delivery.queue, delivery.message_id))

    def _on_answer(
        self, failure: Failure, sink: RepublishSink, again: Callable[[], None], future: Future[Receipt]
    ) -> None:
        error = future.exception()
        if error is None:
            sink.on_republished(failure)
        else:
            self._notifications.republish_failed(failure, error)
            self._scheduler.call_later(PAUSE, again)

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self.session.start()
                self._is_started = True

    def _unavailable(self) -> BrokerUnavailableError:
        return self.session.unavailable()


def _submission(delivery: Delivery, action: Republish) -> Submission:
    properties = action.properties
    if not delivery.message_id:
        properties = {**properties, "message_id": uuid.uuid4().hex}  # by which a return is told apart
    return Submission(
        exchange="",
        routing_key=action.queue,
        body=action.body,
        properties=passed_on(properties),
        message_id=str(properties["message_id"]),
        mandatory=True,
        deadline=time.monotonic() + TIMEOUT,
    )
