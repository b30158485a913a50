"""Confirms: publishing with pipelined publisher confirms. The role of a publishing session."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from taskroute.broker.amqp import Channel, Connection
from taskroute.broker.declare import Declaration
from taskroute.broker.roles.in_flight import InFlight
from taskroute.broker.roles.role import Role
from taskroute.broker.roles.submission import Receipt, Submission, SubmissionEvent
from taskroute.broker.roles.suspects import REFUSALS, Suspects
from taskroute.errors import (
    MessageInvalidError,
    PublishRejectedError,
    PublishTimeoutError,
    TaskrouteError,
    UnroutableError,
)
from taskroute.quoting import shorten

PUBLISHES_PER_FLUSH: Final = 256
"""Messages written before what the broker has answered is read again."""


class Confirms(Role):
    """Writes submissions, matches confirms and returns, sends again what a lost connection left open.

    `submit` is for any thread. Everything else is called by the session's thread.

    Args:
        unavailable: makes the error for a message that was never written.
        declaration: what must be on the broker first; None: another connection has declared it.
    """

    def __init__(self, *, unavailable: Callable[[], TaskrouteError], declaration: Declaration | None = None) -> None:
        self._unavailable = unavailable
        self._declaration = declaration
        self._inbox: deque[Submission] = deque()  # other threads append here
        self._waiting: deque[Submission] = deque()  # taken from there, not written on this connection
        self._duplicates: list[Submission] = []  # of one in flight: they wait their turn
        self._suspects = Suspects()
        self._channel: Channel | None = None
        self._in_flight = InFlight()
        self._is_blocked = False
        self._next_deadline: float | None = None

    def submit(self, submission: Submission) -> None:
        """Take a message; wake the session afterwards. If that has ended, nothing becomes of the message."""
        self._inbox.append(submission)

    # What a session asks of its role.

    def on_open(self, connection: Connection, generation: int) -> None:  # noqa: ARG002 - confirms belong to a channel
        """Declare and select confirms on a fresh connection."""
        channel = connection.channel()
        if self._declaration is not None:
            self._declaration.on(channel)
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._channel = channel
        self._in_flight = InFlight()
        self._is_blocked = False

    def on_blocked(self, is_blocked: bool) -> None:
        """Write nothing while the broker reads nothing."""
        self._is_blocked = is_blocked

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
        """Line up what waited for a duplicate, if that one has its outcome."""
        if self._duplicates:
            in_flight = self._in_flight
            free = [submission for submission in self._duplicates if not in_flight.has_duplicate_of(submission)]
            self._duplicates = [submission for submission in self._duplicates if in_flight.has_duplicate_of(submission)]
            self._waiting.extendleft(reversed(free))

    def on_lost(self, error: BaseException | None) -> None:
        """Line up again, in their order, the messages that were written and not confirmed."""
        self._channel = None
        unconfirmed = [submission for submission in self._in_flight if not submission.is_resolved]
        self._in_flight = InFlight()
        if getattr(error, "code", None) in REFUSALS and (offender := self._suspects.find_offender(unconfirmed)):
            unconfirmed.remove(offender)
            text = shorten(str(getattr(error, "reply_text", error)), 200)
            self._fail(offender, "refuse", PublishRejectedError(f"{offender}: the broker refused it: {text}"))
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
        return self._next_deadline

    def expire(self, now: float) -> None:
        """Fail the messages whose deadline has come. Those in flight keep their tag: a late confirm is theirs."""
        self._empty_inbox()
        for submission in self._open():
            if submission.deadline <= now:
                self._expire(submission)
        self._waiting = deque(submission for submission in self._waiting if not submission.is_resolved)
        self._duplicates = [submission for submission in self._duplicates if not submission.is_resolved]
        self._next_deadline = min((submission.deadline for submission in self._open()), default=None)

    def _expire(self, submission: Submission) -> None:
        self._suspects.clear_of(submission)
        error = self._unavailable() if submission.state == "queued" else not_confirmed(submission)
        self._fail(submission, "give_up", error)

    def _is_held_back(self) -> bool:
        """Return whether nothing may be written now: the broker does not read, or a suspect must be alone in flight."""
        if self._is_blocked:
            return True
        # While there are suspects, every message is sent alone: they are at the head of the line.
        return bool(self._suspects) and any(not submission.is_resolved for submission in self._in_flight)

    def _empty_inbox(self) -> None:
        while self._inbox:
            submission = self._inbox.popleft()
            self._waiting.append(submission)
            if self._next_deadline is None or submission.deadline < self._next_deadline:
                self._next_deadline = submission.deadline

    def _open(self) -> Iterator[Submission]:
        for submissions in (self._in_flight, self._waiting, self._duplicates):
            yield from (submission for submission in submissions if not submission.is_resolved)

    def _write(self, submission: Submission) -> None:
        if not self._in_flight.add(submission):
            self._duplicates.append(submission)
            return
        if not submission.begin_write():
            self._in_flight.undo_last()
            return
        assert self._channel is not None  # noqa: S101 - the session flushes only what is open
        try:
            self._channel.publish(
                submission.exchange,
                submission.routing_key,
                mandatory=submission.mandatory,
                properties=submission.properties,
                body=submission.body,
            )
        except MessageInvalidError as error:
            self._in_flight.undo_last()
            self._fail(submission, "unwrite", MessageInvalidError(f"{submission}: {error}"))

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        submission = self._in_flight.returned((exchange, routing_key, message.properties.get("message_id")))
        if submission is not None and not submission.is_resolved:
            submission.move("return")
            submission.return_text = str(error.reply_text)

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        for submission in self._settled(delivery_tag, multiple):
            submission.move("ack")
            if submission.state == "confirmed":
                submission.resolve(Receipt(submission.exchange, submission.routing_key, submission.message_id))
            else:
                problem = f"no queue takes it ({submission.return_text})"
                way_out = "bind a queue for this key, or publish with mandatory=False"
                submission.resolve(UnroutableError(f"{submission}: {problem}; {way_out}"))

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        for submission in self._settled(delivery_tag, multiple):
            problem = "the broker refused it; a queue it was routed to is full or has failed"
            self._fail(submission, "refuse", PublishRejectedError(f"{submission}: {problem}"))

    def _settled(self, delivery_tag: int, multiple: bool) -> Sequence[Submission]:
        """Take the messages that a confirm covers, without those that were given up before."""
        settled = self._in_flight.take(delivery_tag, multiple)
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
