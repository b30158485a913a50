"""Confirms: publishing with pipelined publisher confirms. The role of a publishing session.

A confirm belongs to a message by its delivery tag alone. A return carries no delivery tag: it is matched by
exchange, routing key and message id, and two messages alike in all three are never in flight together.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Final

from taskroute.errors import (
    MessageInvalidError,
    PublishRejectedError,
    PublishTimeoutError,
    TaskrouteError,
    UnroutableError,
)
from taskroute.quoting import shorten

log = logging.getLogger(__name__)

PUBLISHES_PER_FLUSH: Final = 256
"""Messages written before what the broker has answered is read again."""

_REFUSALS: Final = frozenset({311, 403, 404, 405, 406, 501, 502, 503, 505, 530, 540})
"""Codes with which a broker closes a channel or connection over something that it was sent."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The broker has routed and confirmed this message."""

    exchange: str
    routing_key: str
    message_id: str


class Submission:
    """One message on its way to being confirmed. `future` is resolved exactly once.

    The session's thread resolves it; one that is submitted when that thread has ended, whoever submits it.
    """

    __slots__ = (
        "body",
        "deadline",
        "exchange",
        "future",
        "is_given_up",
        "mandatory",
        "message_id",
        "properties",
        "returned",
        "routing_key",
        "was_written",
    )

    def __init__(
        self,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: Mapping[str, object],
        message_id: str,
        mandatory: bool,
        deadline: float,
    ) -> None:
        self.exchange = exchange
        self.routing_key = routing_key
        self.body = body
        self.properties = properties
        self.message_id = message_id
        self.mandatory = mandatory
        self.deadline = deadline
        self.future: Future[Receipt] = Future()
        self.returned: str | None = None
        self.was_written = False
        self.is_given_up = False

    @property
    def identity(self) -> tuple[str, str, str]:
        """What a return says of the message it brings back."""
        return self.exchange, self.routing_key, self.message_id

    def __str__(self) -> str:
        return f"message {self.message_id!r} to exchange {self.exchange!r} with key {shorten(self.routing_key)}"


class Confirms:
    """Writes submissions, matches confirms and returns, sends again what a lost connection left open.

    Thread-safe: `submit` and `give_up`. Everything else is called by the session's thread.

    Args:
        prepare: declares what has to be there, on a fresh channel.
        unavailable: makes the error for a message that was never written.
        is_blocked: whether the broker does not read at the moment.
    """

    def __init__(
        self,
        *,
        prepare: Callable[[Any], None],
        unavailable: Callable[[], TaskrouteError],
        is_blocked: Callable[[], bool],
    ) -> None:
        self._prepare = prepare
        self._unavailable = unavailable
        self._is_blocked = is_blocked
        self._channel: Any = None
        self._last_tag = 0
        self._inbox: deque[Submission] = deque()  # other threads append here
        self._waiting: deque[Submission] = deque()  # taken from the inbox, not written on this connection
        self._in_flight: dict[int, Submission] = {}
        self._returnable: dict[tuple[str, str, str], Submission] = {}
        self._twins: list[Submission] = []  # alike to one in flight: they wait their turn
        self._suspects: set[Submission] = set()  # in flight when the broker took offence: sent again one by one
        self._next_deadline: float | None = None
        self._has_ended = False

    def submit(self, submission: Submission) -> None:
        """Take a message; wake the session afterwards. When that has ended, the message fails at once."""
        self._inbox.append(submission)
        # Looked at only now: if it is false, the session has yet to look into the inbox for the last time.
        if self._has_ended:
            with suppress(ValueError):  # that last look has found it
                self._inbox.remove(submission)
                self._refuse(submission)

    def give_up(self, submission: Submission) -> TaskrouteError:
        """Have a message not be written any more, and return the error that says whether it was.

        For whoever has waited beyond its deadline: the session's thread may be held up, in connecting say.
        """
        submission.is_given_up = True  # before it is looked at, as `_write` does it the other way round
        return self._overdue(submission)

    def has_work(self) -> bool:
        """Whether messages wait to be written, and the broker reads."""
        return bool(self._inbox or self._waiting) and not self._is_held_back()

    def opened(self, connection: Any, generation: int) -> None:  # noqa: ARG002 - part of a role
        """Declare and select confirms on a fresh connection."""
        channel = connection.channel()
        self._prepare(channel)
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        channel.events["basic_return"].add(self._on_return)
        self._channel = channel
        self._last_tag = 0

    def flush(self) -> None:
        """Write what was submitted, some at a time."""
        self._empty_inbox()
        for _ in range(PUBLISHES_PER_FLUSH):
            if not self._waiting or self._is_held_back():
                return
            self._write(self._waiting.popleft())

    def received(self) -> None:
        """Line up what waited for a message alike, if that one is settled."""
        if self._twins:
            free = [twin for twin in self._twins if twin.identity not in self._returnable]
            self._twins = [twin for twin in self._twins if twin.identity in self._returnable]
            self._waiting.extendleft(reversed(free))

    def probe(self) -> None:
        """Nothing: a confirm that does not come is noticed by its message's deadline."""

    def lost(self, error: BaseException | None) -> None:
        """Line up again, in their order, the messages that were written and not confirmed."""
        self._channel = None
        unconfirmed = [submission for submission in self._in_flight.values() if not submission.future.done()]
        if getattr(error, "code", None) in _REFUSALS:
            unconfirmed = self._without_offender(unconfirmed, error)
        for submission in unconfirmed:
            submission.returned = None
        self._waiting.extendleft(reversed([*unconfirmed, *self._twins]))
        self._in_flight.clear()
        self._returnable.clear()
        self._twins.clear()

    def leave(self) -> None:
        """Nothing is left to do."""

    def next_deadline(self) -> float | None:
        """The earliest deadline of any open message, or an earlier moment."""
        self._empty_inbox()
        return self._next_deadline

    def expire(self, now: float) -> None:
        """Fail the messages whose deadline has come. Those in flight keep their tag: a late confirm is theirs.

        Args:
            now: by the session's clock; infinity for the last time, when the session ends.
        """
        self._empty_inbox()
        for submission in self._open():
            if submission.deadline <= now:
                self._expire(submission)
        self._waiting = deque(waiting for waiting in self._waiting if not waiting.future.done())
        self._twins = [twin for twin in self._twins if not twin.future.done()]
        self._next_deadline = min((submission.deadline for submission in self._open()), default=None)
        if now == math.inf:
            self._has_ended = True
            self._refuse_inbox()

    def _expire(self, submission: Submission) -> None:
        self._suspects.discard(submission)
        submission.future.set_exception(self._overdue(submission))

    def _refuse_inbox(self) -> None:
        """Fail what has come since it was emptied. Who submits from now on sees that the session has ended."""
        with suppress(IndexError):  # it is empty; others may take their own out meanwhile
            while True:
                self._refuse(self._inbox.popleft())

    def _refuse(self, submission: Submission) -> None:
        if _begins(submission):
            submission.future.set_exception(self._unavailable())

    def _without_offender(self, unconfirmed: list[Submission], error: Any) -> list[Submission]:
        """Find the message over which the broker closed the channel, so that it does not take the others along.

        The broker does not say which one it was. Those in flight become suspects and are sent again one by one;
        the one that is alone in flight when it happens again is it.
        """
        self._suspects = {submission for submission in self._suspects if not submission.future.done()}
        if len(unconfirmed) == 1 and unconfirmed[0] in self._suspects:
            (offender,) = unconfirmed
            self._suspects.discard(offender)
            text = shorten(str(getattr(error, "reply_text", error)), 200)
            offender.future.set_exception(PublishRejectedError(f"{offender}: the broker refused it: {text}"))
            return []
        self._suspects.update(unconfirmed)
        return unconfirmed

    def _is_held_back(self) -> bool:
        """Whether nothing may be written now: the broker does not read, or a suspect has to be alone in flight."""
        if self._is_blocked():
            return True
        # While there are suspects, every message is sent alone: they are at the head of the line.
        return bool(self._suspects) and any(not submission.future.done() for submission in self._in_flight.values())

    def _empty_inbox(self) -> None:
        while self._inbox:
            submission = self._inbox.popleft()
            if _begins(submission):
                self._waiting.append(submission)
                if self._next_deadline is None or submission.deadline < self._next_deadline:
                    self._next_deadline = submission.deadline

    def _open(self) -> Iterator[Submission]:
        for submissions in (self._in_flight.values(), self._waiting, self._twins):
            yield from (submission for submission in submissions if not submission.future.done())

    def _overdue(self, submission: Submission) -> TaskrouteError:
        if submission.was_written:
            return PublishTimeoutError(
                f"{submission}: not confirmed in time; the broker may have it. "
                f"Publish it again with the same message_id if handling it twice is harmless"
            )
        return self._unavailable()

    def _write(self, submission: Submission) -> None:
        if submission.future.done():
            return
        identity = submission.identity
        if identity in self._returnable:
            self._twins.append(submission)
            return
        was_written, submission.was_written = submission.was_written, True
        if submission.is_given_up:  # looked at only now: whoever gives it up from here on sees that it is written
            submission.was_written = was_written
            self._expire(submission)
            return
        self._last_tag += 1
        self._in_flight[self._last_tag] = submission
        if submission.mandatory:
            self._returnable[identity] = submission
        try:
            self._channel.publish(
                submission.exchange,
                submission.routing_key,
                mandatory=submission.mandatory,
                properties=submission.properties,
                body=submission.body,
            )
        except MessageInvalidError as error:
            self._unwrite(submission, error)

    def _unwrite(self, submission: Submission, error: MessageInvalidError) -> None:
        del self._in_flight[self._last_tag]
        self._last_tag -= 1
        self._returnable.pop(submission.identity, None)
        submission.future.set_exception(MessageInvalidError(f"{submission}: {error}"))

    def _on_return(self, error: Any, exchange: str, routing_key: str, message: Any) -> None:
        identity = (exchange, routing_key, message.properties.get("message_id"))
        submission = self._returnable.get(identity)
        if submission is not None:
            submission.returned = str(error.reply_text)

    def _on_ack(self, delivery_tag: int, multiple: bool) -> None:
        for submission in self._settled(delivery_tag, multiple):
            if submission.returned is None:
                receipt = Receipt(submission.exchange, submission.routing_key, submission.message_id)
                submission.future.set_result(receipt)
            else:
                problem = f"no queue takes it ({submission.returned})"
                way_out = "bind a queue for this key, or publish with mandatory=False"
                submission.future.set_exception(UnroutableError(f"{submission}: {problem}; {way_out}"))

    def _on_nack(self, delivery_tag: int, multiple: bool) -> None:
        for submission in self._settled(delivery_tag, multiple):
            problem = "the broker refused it; a queue it was routed to is full or has failed"
            submission.future.set_exception(PublishRejectedError(f"{submission}: {problem}"))

    def _settled(self, delivery_tag: int, multiple: bool) -> list[Submission]:
        """Take the messages that a confirm covers, without those that were given up before."""
        tags = [delivery_tag]
        if multiple:  # tags were filed in ascending order
            tags = list(takewhile(lambda tag: tag <= delivery_tag, self._in_flight))
        settled = [self._in_flight.pop(tag) for tag in tags if tag in self._in_flight]
        for submission in settled:
            if submission.mandatory:  # one that is not was never filed; one alike that is may have been since
                del self._returnable[submission.identity]
            self._suspects.discard(submission)
        return [submission for submission in settled if not submission.future.done()]


def _begins(submission: Submission) -> bool:
    """Whether somebody still waits: not if it was cancelled, or given up by a publisher that was closed meanwhile."""
    future = submission.future
    return (future.cancelled() or not future.done()) and future.set_running_or_notify_cancel()
