"""Hand-overs: failed messages on their way to a wait or dead-letter queue, until the broker has confirmed them."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final

from taskroute.broker.properties import passed_on
from taskroute.broker.roles.confirms import Confirms, Receipt, Submission
from taskroute.broker.session import Session
from taskroute.broker.url import BrokerUrl
from taskroute.handling.settle import HandOver
from taskroute.instrumentation.events import Event
from taskroute.message.delivery import Delivery
from taskroute.quoting import shorten
from taskroute.worker.pending_retries import Waiting

log = logging.getLogger(__name__)

TIMEOUT: Final = 30.0
PAUSE: Final = 1.0
"""Seconds until a hand-over is given up, and until it is tried again. The message stays unacknowledged."""


class HandOvers:
    """Publishes what could not be handled, on a connection of its own that the first failure opens.

    `hand_over` and the properties are for any thread. Of what it is given to call one is called, once: on the thread
    of the session, or on that of `hand_over` or `later` for a delivery that is lost.

    Args:
        urls: nodes, tried in turn.
        name: of the session's thread and of its connection on the broker.
        heartbeat: seconds.
        is_lost: whether the connection that a delivery came on is gone; the broker delivers it again then.
        later: has something called after so many seconds, on another thread than that of this session.
        on_end: called when the session's thread ends.
        tell: is told of the connection.
    """

    def __init__(
        self,
        urls: Sequence[BrokerUrl],
        *,
        name: str,
        heartbeat: float,
        is_lost: Callable[[Delivery], bool],
        later: Callable[[float, Callable[[], None]], None],
        on_end: Callable[[], object],
        tell: Callable[[Event], object] | None,
    ) -> None:
        self._is_lost = is_lost
        self._later = later
        self._confirms = Confirms(
            prepare=lambda channel: None,  # noqa: ARG005 - the consuming session has declared everything
            unavailable=lambda: self.session.unavailable(),  # noqa: PLW0108 - made below
            is_blocked=lambda: self.session.is_blocked,
        )
        self.session: Final = Session(
            urls, self._confirms, name=name, heartbeat=heartbeat, gives_up=False, on_end=on_end, tell=tell
        )
        self._waiting = Waiting()
        self._starting = threading.Lock()
        self._is_started = False

    @property
    def have_ended(self) -> bool:
        """Whether the session was started, and its thread is gone: nothing is handed over any more."""
        return self._is_started and not self.session.is_alive

    @property
    def are_waiting(self) -> bool:
        """Whether retries are expected back."""
        return bool(self._waiting)

    def hand_over(
        self, delivery: Delivery, action: HandOver, *, confirmed: Callable[[], None], lost: Callable[[], None]
    ) -> None:
        """Publish, again and again until the broker confirms it; one that cannot be put away holds no other back.

        Args:
            delivery: which failed.
            action: where it goes, and as what.
            confirmed: it is there, and the delivery may be acknowledged.
            lost: the delivery's connection is gone; another one brings it again.
        """
        if self._is_lost(delivery):
            lost()
            return
        properties = action.properties
        if not delivery.message_id:
            properties = {**properties, "message_id": uuid.uuid4().hex}  # by which a return is told apart
        submission = Submission(
            exchange="",
            routing_key=action.queue,
            body=action.body,
            properties=passed_on(properties),
            message_id=str(properties["message_id"]),
            mandatory=True,
            deadline=time.monotonic() + TIMEOUT,
        )
        if action.kind == "retry":  # noted first: it may be back before its confirm is read
            self._waiting.add((delivery.queue, submission.message_id), action.delay)
        again = partial(self.hand_over, delivery, action, confirmed=confirmed, lost=lost)
        submission.future.add_done_callback(partial(self._answered, delivery, action, confirmed, again))
        try:
            self._start()
        except (OSError, RuntimeError) as error:  # no descriptor or thread to be had now
            submission.future.set_exception(error)
            return
        self._confirms.submit(submission)
        self.session.wake()

    def returned(self, delivery: Delivery) -> None:
        """A retry is back."""
        if delivery.message_id is not None:
            self._waiting.discard((delivery.queue, delivery.message_id))

    def _answered(
        self,
        delivery: Delivery,
        action: HandOver,
        confirmed: Callable[[], None],
        again: Callable[[], None],
        future: Future[Receipt],
    ) -> None:
        error = future.exception()
        if error is None:
            confirmed()
            return
        log.warning(
            "hand_over_failed queue=%s to=%s message_id=%s error=%s",
            delivery.queue,
            action.queue,
            shorten(str(delivery.message_id)),
            type(error).__name__,
        )
        self._later(PAUSE, again)

    def _start(self) -> None:
        with self._starting:
            if not self._is_started:
                self.session.start()
                self._is_started = True
