"""Confirms: publishing with pipelined publisher confirms. The role of a publishing session.

Two things are mended here that a broker does not mend: a channel that refuses an address for ever is replaced by
another one on the same connection, and a confirm that never comes ends the connection.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from taskroute.broker.amqp import Channel, Connection, NoChannelLeftError
from taskroute.broker.declare import Declaration, log_ignored
from taskroute.broker.remarks import Remarks
from taskroute.broker.roles.closed_addresses import ClosedAddresses
from taskroute.broker.roles.confirm_channel import ConfirmChannel
from taskroute.broker.roles.confirm_watch import CONFIRM_TIME, ConfirmWatch
from taskroute.broker.roles.growing_pause import GrowingPause
from taskroute.broker.roles.in_flight import InFlight
from taskroute.broker.roles.inquiry import Inquiry, may_stay_unanswered
from taskroute.broker.roles.queue_suspects import QueueSuspects
from taskroute.broker.roles.refusals import Refusals
from taskroute.broker.roles.role import Role
from taskroute.broker.roles.submission import Receipt, Submission, SubmissionEvent
from taskroute.broker.roles.suspects import Suspects
from taskroute.errors import (
    MessageInvalidError,
    MessageTooLargeError,
    PublishRejectedError,
    PublishTimeoutError,
    TaskrouteError,
    UnroutableError,
    UnsupportedFeatureError,
)
from taskroute.foreign import Log
from taskroute.quoting import shorten
from taskroute.topology.broker_facts import BrokerFacts, facts_of

log = Log("taskroute.broker")

PUBLISHES_PER_FLUSH: Final = 256
"""Messages written before what the broker has answered is read again."""

LEAVING_TIME: Final = 10.0
"""Seconds that a channel gets for the confirms of what was written on it, once another one has taken its place."""

LEAVING_FOR_ANOTHER_NODE: Final = 2.0
"""Seconds that messages wait at most, so that the connection can be left when nothing is in flight."""

_LOOK_EVERY: Final = 1.0
"""Seconds between looks at what is in flight."""


class Confirms(Role):
    """Writes submissions, matches confirms and returns, sends again what a lost connection left open.

    `submit` is for any thread. Everything else is called by the session's thread.

    Args:
        unavailable: makes the error for a message that was never written.
        declaration: what must be on the broker first; None: another connection has declared it.
    """

    leaving_time = LEAVING_FOR_ANOTHER_NODE

    def __init__(self, *, unavailable: Callable[[], TaskrouteError], declaration: Declaration | None = None) -> None:
        self._unavailable = unavailable
        self._declaration = declaration
        self._inbox: deque[Submission] = deque()  # other threads append here
        self._waiting: deque[Submission] = deque()  # taken from there, not written on this connection
        self._duplicates: list[Submission] = []  # of one in flight: they wait their turn
        self._suspects = Suspects()
        self._queue_suspects = QueueSuspects()
        self._closed = ClosedAddresses()
        self._remarks = Remarks()
        self._cluster: tuple[BrokerFacts | None, object] | None = None  # whose queues were declared
        self._refusals = Refusals()
        self._connection: Connection | None = None
        self._current: ConfirmChannel | None = None
        self._left: list[ConfirmChannel] = []  # replaced, and open until their confirms are in
        self._must_replace = False
        self._replacing = GrowingPause(5, 60)
        self._reconnecting = GrowingPause(CONFIRM_TIME, 600)
        self._bytes_seen = 0
        self._is_blocked = False
        self._is_leaving = False
        self._has_confirmed = False  # on this connection
        self._next_deadline: float | None = None
        self._look_at: float | None = None

    def submit(self, submission: Submission) -> None:
        """Take a message; wake the session afterwards. If that has ended, nothing becomes of the message."""
        self._inbox.append(submission)

    def forget_resolved(self) -> None:
        """Drop what waits and need not be written any more, connected or not."""
        self._empty_inbox()
        self._waiting = deque(submission for submission in self._waiting if not submission.is_resolved)

    def on_another_channel(self, use: Callable[[Channel], object]) -> None:
        """Call `use` with a channel of its own, if there is a connection: what the broker refuses ends only that."""
        if self._connection is not None:
            channel = self._connection.channel()
            try:
                use(channel)
            finally:
                channel.begin_close()

    # What a session asks of its role.

    def on_open(self, connection: Connection, generation: int) -> None:
        """Declare and select confirms on a fresh connection."""
        channel = connection.channel()
        if self._declaration is not None:
            self._declare(self._declaration, connection, channel, is_first=generation == 1)
        self._connection = connection
        self._current = self._confirming(connection, channel)
        self._bytes_seen = connection.bytes_recv
        self._is_blocked = self._is_leaving = False
        self._has_confirmed = False

    def leave(self) -> bool:
        """Write nothing until every confirm is in."""
        self._is_leaving = True
        return not any(any(channel.unconfirmed()) for channel in self._channels())

    def stay(self) -> None:
        """Write again."""
        self._is_leaving = False

    def on_blocked(self, is_blocked: bool) -> None:
        """Write nothing while the broker reads nothing."""
        self._is_blocked = is_blocked

    def has_worked(self) -> bool:
        """Return whether the broker has confirmed or refused anything on this connection."""
        return self._has_confirmed

    def has_work(self) -> bool:
        """Return whether messages wait to be written, and may be."""
        return bool(self._inbox or self._waiting) and not self._is_held_back()

    def flush(self) -> None:
        """Write what was submitted, some at a time."""
        self._empty_inbox()
        for _ in range(PUBLISHES_PER_FLUSH):
            if not self._waiting or self._is_held_back():
                return
            self._write(self._waiting.popleft())

    def on_read(self) -> None:
        """Line up what waited for a duplicate, if that one has its outcome; replace and close channels."""
        if self._duplicates:
            in_flight = self._opened().in_flight
            free = [submission for submission in self._duplicates if not in_flight.has_duplicate_of(submission)]
            self._duplicates = [submission for submission in self._duplicates if in_flight.has_duplicate_of(submission)]
            self._waiting.extendleft(reversed(free))
        if self._must_replace:
            self._replace(time.monotonic())
        if self._left:
            self._close_left(time.monotonic())

    def on_lost(self, error: BaseException | None) -> None:
        """Line up again, in their order, the messages that were written and not confirmed."""
        unconfirmed = [submission for channel in self._channels() for submission in channel.unconfirmed()]
        self._connection = self._current = self._look_at = None
        self._closed.lose()
        self._left.clear()
        self._refusals.clear()
        self._must_replace = False
        if offender := self._suspects.find_offender(getattr(error, "code", None), unconfirmed):
            unconfirmed.remove(offender)
            text = str(getattr(error, "reply_text", error))
            way_out = "; grant the right to write to that exchange" if "refused for user" in text else ""
            refused = PublishRejectedError(f"{offender}: the broker refused it: {shorten(text, 200)}{way_out}")
            refused.__cause__ = error
            self._fail(offender, "refuse", refused)
        self._waiting.extendleft(reversed([*unconfirmed, *self._duplicates]))
        self._duplicates.clear()

    def on_end(self) -> None:
        """Fail every message that is open."""
        self._empty_inbox()
        for submission in tuple(self._open()):
            self._expire(submission)

    def next_deadline(self) -> float | None:
        """Return the earliest deadline of any open message, or an earlier moment."""
        self._empty_inbox()
        moments = (self._next_deadline, self._look_at, self._closed.look_at)
        return min((moment for moment in moments if moment is not None), default=None)

    def expire(self, now: float) -> None:
        """Fail the messages whose deadline has come, and look whether confirms are overdue.

        What was in flight keeps its tag: a late confirm is its own.

        Raises:
            ConnectionError: a confirm is overdue: the connection is of no use for its message.
        """
        self._empty_inbox()
        if self._next_deadline is not None and self._next_deadline <= now:
            self._expire_due(now)
        if self._look_at is not None and self._look_at <= now:
            self._look(now)
        if self._closed.look_at is not None and self._closed.look_at <= now:
            self._closed.plan(now)
            if not self._is_blocked:  # it would not answer
                with suppress(NoChannelLeftError):
                    self.on_another_channel(self._closed.look)

    def _declare(self, declaration: Declaration, connection: Connection, channel: Channel, *, is_first: bool) -> None:
        """Declare the exchanges, and at the first connection to a broker the queues that it does not have.

        What is wrong with one of them stops nothing but what is published to that exchange. A queue that somebody
        deletes is not declared again when a connection breaks: nobody may consume it any more.
        """
        broker = facts_of(connection.server_properties)
        cluster = broker, connection.server_properties.get("cluster_name")
        self._queue_suspects.connected_to(broker)
        self._remarks.begin_anew()
        on_it = declaration.for_broker(broker, self._remarks)
        fatal = (UnsupportedFeatureError,) if is_first else ()
        self._closed.declare(on_it, channel, fatal=fatal)
        if cluster != self._cluster and on_it.mode == "create":
            log_ignored(declaration, broker)
            queues = [queue for queue in on_it.queues if not queue.passive]
            asked = [queue.name for queue in queues if may_stay_unanswered(queue)]
            unavailable = Inquiry(connection, lambda: None).survey(asked)
            for queue in queues:
                if queue.name in unavailable:
                    log.warning("queue_unavailable queue=%s error=%s", queue.name, unavailable[queue.name])
                else:
                    declare = partial(on_it.create_if_missing, channel, queue)
                    problem = self._queue_suspects.declare(queue.name, declare, self._remarks, fatal=fatal)
                    if problem is None:
                        self._closed.open_queue(queue)
                    else:
                        self._closed.close_queue(queue.name, problem)
        self._cluster = cluster
        self._closed.plan(time.monotonic())

    def _expire_due(self, now: float) -> None:
        for submission in self._open():
            if submission.deadline <= now:
                self._expire(submission)
        self._waiting = deque(submission for submission in self._waiting if not submission.is_resolved)
        self._duplicates = [submission for submission in self._duplicates if not submission.is_resolved]
        self._next_deadline = min((submission.deadline for submission in self._open()), default=None)

    def _look(self, now: float) -> None:
        connection = self._connection
        assert connection is not None  # noqa: S101 - there is no moment to look without one
        was_heard, self._bytes_seen = connection.bytes_recv != self._bytes_seen, connection.bytes_recv
        overdue = [each for each in self._channels() if each.is_overdue(now, was_heard, self._is_blocked)]
        if overdue and self._reconnecting.is_over(now):
            self._reconnecting.begin(now)
            oldest = next(iter(overdue[0].in_flight))
            raise ConnectionError(f"{oldest} was not confirmed in {CONFIRM_TIME:g} s, while the broker was heard")
        self._close_left(now)
        self._look_at = now + _LOOK_EVERY if any(each.in_flight for each in self._channels()) else None

    def _channels(self) -> tuple[ConfirmChannel, ...]:
        """Return the open channels, those that are being left first."""
        return tuple(self._left) if self._current is None else (*self._left, self._current)

    def _opened(self) -> ConfirmChannel:
        assert self._current is not None, "not open"  # noqa: S101 - the session calls only while it is
        return self._current

    def _confirming(self, connection: Connection, channel: Channel) -> ConfirmChannel:
        channel.confirm_select()
        opened = ConfirmChannel(channel, ConfirmWatch(connection.heartbeat, time.monotonic()))
        channel.events["basic_ack"].add(partial(self._on_ack, opened.in_flight))
        channel.events["basic_nack"].add(partial(self._on_nack, opened.in_flight))
        channel.events["basic_return"].add(partial(self._on_return, opened.in_flight))
        return opened

    def _replace(self, now: float) -> None:
        """Publish on another channel from now on: this one refuses an address that it may just remember as full."""
        connection, former = self._connection, self._current
        self._must_replace = False
        if connection is None or former is None or not self._replacing.is_over(now):
            return
        self._replacing.begin(now)
        self._refusals.clear()
        self._current = self._confirming(connection, connection.channel())
        former.closes_at = now + LEAVING_TIME
        self._left.append(former)
        log.info("channel_replaced in_flight=%d", sum(1 for _ in former.unconfirmed()))

    def _close_left(self, now: float) -> None:
        """Close the channels that were left, once their confirms are in or their time is over."""
        done = [each for each in self._left if each.closes_at <= now or not any(each.unconfirmed())]
        for each in done:
            self._left.remove(each)
            self._waiting.extendleft(reversed(list(each.unconfirmed())))
            each.channel.begin_close()

    def _expire(self, submission: Submission) -> None:
        self._suspects.clear_of(submission)
        error = self._unavailable() if submission.state == "queued" else not_confirmed(submission)
        self._fail(submission, "give_up", error)
        submission.body = b""  # it may stay in flight, for its confirm, but is never written again

    def _is_held_back(self) -> bool:
        """Return whether nothing may be written now.

        The broker does not read, the connection is being left, or a suspect must be alone in flight.
        """
        if self._is_blocked or self._is_leaving:
            return True
        # While there are suspects, every message is sent alone: they are at the head of the line.
        return bool(self._suspects) and any(any(channel.unconfirmed()) for channel in self._channels())

    def _empty_inbox(self) -> None:
        while self._inbox:
            submission = self._inbox.popleft()
            self._waiting.append(submission)
            if self._next_deadline is None or submission.deadline < self._next_deadline:
                self._next_deadline = submission.deadline

    def _open(self) -> Iterator[Submission]:
        for channel in self._channels():
            yield from channel.unconfirmed()
        for submissions in (self._waiting, self._duplicates):
            yield from (submission for submission in submissions if not submission.is_resolved)

    def _write(self, submission: Submission) -> None:
        current = self._current
        assert current is not None  # noqa: S101 - the session flushes only what is open
        closed = self._closed
        if closed.look_at is not None and (problem := closed.problem(submission.exchange, submission.routing_key)):
            if submission.begin_write():
                self._fail(submission, "unwrite", type(problem)(f"{submission}: never written: {problem}"))
            return
        if not current.in_flight.add(submission):
            self._duplicates.append(submission)
            return
        if not submission.begin_write():
            current.in_flight.undo_last()
            return
        if self._look_at is None:
            self._look_at = time.monotonic() + _LOOK_EVERY
        try:
            current.channel.publish(
                submission.exchange,
                submission.routing_key,
                mandatory=submission.mandatory,
                properties=submission.properties,
                body=submission.body,
            )
        except MessageInvalidError as error:
            current.in_flight.undo_last()
            self._fail(submission, "unwrite", MessageInvalidError(f"{submission}: {error}"))
        except MessageTooLargeError as error:
            current.in_flight.undo_last()
            self._fail(submission, "unwrite", MessageTooLargeError(f"{submission}: {error}"))

    def _on_return(self, in_flight: InFlight, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        submission = in_flight.returned((exchange, routing_key, message.properties.get("message_id")))
        if submission is not None and not submission.is_resolved:
            submission.move("return")
            submission.return_text = str(error.reply_text)

    def _on_ack(self, in_flight: InFlight, delivery_tag: int, multiple: bool) -> None:
        settled = self._settled(in_flight, delivery_tag, multiple)
        if self._refusals:
            for submission in settled:
                self._refusals.on_confirmed((submission.exchange, submission.routing_key))
        for submission in settled:
            submission.move("ack")
            if submission.state == "confirmed":
                submission.resolve(Receipt(submission.exchange, submission.routing_key, submission.message_id))
            else:
                problem = f"no queue takes it ({submission.return_text})"
                way_out = "bind a queue for this key, or publish with mandatory=False"
                submission.resolve(UnroutableError(f"{submission}: {problem}; {way_out}"))

    def _on_nack(self, in_flight: InFlight, delivery_tag: int, multiple: bool) -> None:
        now = time.monotonic()
        for submission in self._settled(in_flight, delivery_tag, multiple):
            if self._refusals.on_refused((submission.exchange, submission.routing_key), now):
                self._must_replace = True
            problem = "the broker refused it; a queue it was routed to is full or has failed"
            self._fail(submission, "refuse", PublishRejectedError(f"{submission}: {problem}"))

    def _settled(self, in_flight: InFlight, delivery_tag: int, multiple: bool) -> Sequence[Submission]:
        """Take the messages that a confirm covers, without those that were given up before."""
        self._has_confirmed = True
        settled = in_flight.take(delivery_tag, multiple)
        if self._suspects:
            for submission in settled:
                self._suspects.clear_of(submission)
        return [submission for submission in settled if not submission.future.done()]

    @staticmethod
    def _fail(submission: Submission, event: SubmissionEvent, error: TaskrouteError) -> None:
        submission.move(event)
        submission.resolve(error)


def not_confirmed(submission: Submission) -> PublishTimeoutError:
    """Return the error of a message that was written, and whose confirm did not come in time."""
    return PublishTimeoutError(
        f"{submission}: not confirmed in time; the broker may have it. "
        f"Publish it again with the same message_id if handling it twice is harmless"
    )
