"""Submission: one message on its way to being confirmed, and the states it passes through."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Final, Literal

from taskroute.errors import TaskrouteError
from taskroute.exported import exported_by
from taskroute.quoting import shorten
from taskroute.state_table import StateTable

SubmissionState = Literal[
    "queued", "written", "returned", "confirmed", "unroutable", "refused", "never_written", "unknown"
]
SubmissionEvent = Literal["write", "unwrite", "return", "ack", "refuse", "give_up"]

SUBMISSION_MOVES: Final[StateTable[SubmissionState, SubmissionEvent]] = StateTable(
    "submission",
    {
        ("queued", "write"): "written",
        ("queued", "give_up"): "never_written",
        ("written", "write"): "written",  # again, on the connection after one that was lost
        ("written", "unwrite"): "never_written",  # AMQP cannot carry it, which only encoding shows
        ("written", "return"): "returned",
        ("written", "ack"): "confirmed",
        ("written", "refuse"): "refused",
        ("written", "give_up"): "unknown",
        ("returned", "write"): "written",
        ("returned", "ack"): "unroutable",
        ("returned", "refuse"): "refused",
        ("returned", "give_up"): "unknown",
    },
)

Identity = tuple[str, str, str]
"""What a return says of the message that it brings back: exchange, routing key and message id."""


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Receipt:
    """The broker has routed and confirmed this message."""

    exchange: str
    routing_key: str
    message_id: str


@dataclass(slots=True, eq=False, kw_only=True)
class Submission:
    """One message on its way to being confirmed. Its future is resolved exactly once.

    The session's thread moves it. Its future decides between that thread and those that wait: until the message is
    first written it can be cancelled, and is never written then.
    """

    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, object]
    message_id: str
    mandatory: bool
    deadline: float
    """By the session's clock."""
    future: Future[Receipt] = field(default_factory=Future)
    state: SubmissionState = "queued"
    return_text: str = ""
    """Why the broker has returned it."""

    @property
    def identity(self) -> Identity:
        """What a return says of the message that it brings back."""
        return self.exchange, self.routing_key, self.message_id

    @property
    def is_resolved(self) -> bool:
        """Whether it has its outcome, was cancelled, or its publisher was closed before there was one."""
        return self.future.done()

    def begin_write(self) -> bool:
        """Move on to being written. Return False if nobody waits for it: it must not be written then."""
        if self.state == "queued":
            if self.future.done() and not self.future.cancelled():  # given up, by a publisher that was closed
                return False
            try:
                if not self.future.set_running_or_notify_cancel():
                    self.move("give_up")
                    return False
            except RuntimeError:  # in this moment
                return False
        elif self.future.done():
            return False
        self.move("write")
        return True

    def take_back(self) -> bool:
        """Keep a message from being written, on any thread. Return False if it was written, or has its outcome."""
        if self.future.running() or self.future.done():
            return False
        try:
            return self.future.set_running_or_notify_cancel()
        except RuntimeError:  # it was begun in this moment
            return False

    def move(self, event: SubmissionEvent) -> None:
        """Go on to the next state.

        Raises:
            IllegalMoveError: there is no such move from here.
        """
        self.state = SUBMISSION_MOVES.after(self.state, event)

    def resolve(self, outcome: Receipt | TaskrouteError) -> None:
        """Tell the outcome, unless the future was cancelled, or its publisher closed, in the same moment."""
        try:
            if isinstance(outcome, Receipt):
                self.future.set_result(outcome)
            else:
                self.future.set_exception(outcome)
        except InvalidStateError:
            return

    def __str__(self) -> str:
        return f"message {self.message_id!r} to exchange {self.exchange!r} with key {shorten(self.routing_key)}"
