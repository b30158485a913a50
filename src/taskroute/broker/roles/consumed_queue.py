"""ConsumedQueue: one queue that a worker consumes on one channel: whether, and with which prefetch. Pure.

A queue is consumed carefully, one message at a time, when what a crash left behind may come first: then a message that
kills its process costs no other message a delivery. The first message that was not delivered before ends that.
"""

from __future__ import annotations

from typing import Final, Literal

from taskroute.errors import BrokerError
from taskroute.state_table import StateTable
from taskroute.topology.queue import QueueSpec

Wanted = Literal["all", "one", "none"]
"""Which messages of a queue are wanted now."""

Admission = Literal["all", "one", "none", "leave"]
"""The same, as it is asked for: "none" spares a queue that cannot be left without harm, "leave" only one that the
broker would delete."""

QueueState = Literal["missing", "left", "full", "trial", "careful", "wide"]
"""Not to be had; not consumed; not consumed until fewer messages are unsettled; consumed with one message at a time, as
one is wanted, or until the first message that was not delivered before; consumed with the whole prefetch."""

QueueEvent = Literal["none", "one", "all", "all_one_by_one", "no_room", "fresh", "lose", "find"]
"""A `Wanted`, where "all" may begin carefully; no room for what is wanted; a message not delivered before; the
broker has ended the consumer or refuses one; the queue can be had again."""

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds before the first and before a late attempt to have a missing queue again."""

SILENCE: Final = 60.0
EARLY_SILENCE: Final = 10.0
EARLY: Final = 120.0
"""Seconds without a sign of a queue after which it is looked whether a message could come.

Sooner in the first two minutes: a connection is often new because a queue gets another leader.
"""

QUEUE_MOVES: Final[StateTable[QueueState, QueueEvent]] = StateTable(
    "consumed queue",
    {
        ("left", "none"): "left",
        ("left", "one"): "trial",
        ("left", "all_one_by_one"): "careful",
        ("left", "all"): "wide",
        ("left", "no_room"): "full",
        ("full", "none"): "left",
        ("full", "one"): "trial",
        ("full", "all_one_by_one"): "careful",
        ("full", "all"): "wide",
        ("full", "no_room"): "full",
        ("trial", "none"): "left",
        ("trial", "one"): "trial",
        ("trial", "all_one_by_one"): "careful",
        ("trial", "all"): "wide",
        ("careful", "none"): "left",
        ("careful", "one"): "careful",
        ("careful", "all_one_by_one"): "careful",
        ("careful", "fresh"): "wide",
        ("wide", "none"): "left",
        ("wide", "one"): "wide",
        ("wide", "all_one_by_one"): "wide",
        ("wide", "all"): "wide",
        ("missing", "none"): "missing",
        ("missing", "one"): "missing",
        ("missing", "all_one_by_one"): "missing",
        ("missing", "all"): "missing",
        ("missing", "find"): "left",
        ("missing", "lose"): "missing",
        ("left", "lose"): "missing",
        ("full", "lose"): "missing",
        ("trial", "lose"): "missing",
        ("careful", "lose"): "missing",
        ("wide", "lose"): "missing",
    },
)


class ConsumedQueue:
    """The state of one queue on one channel. For the session's thread.

    Args:
        spec: of the queue.
        prefetch: unsettled messages that this worker may have of it.
        serves: the name of the queue whose messages it has: its own, or that of the one that replaces it.
    """

    __slots__ = (
        "due",
        "found_at",
        "heard_at",
        "pause",
        "prefetch",
        "problem",
        "serves",
        "spec",
        "standby",
        "state",
        "tag",
        "unsettled",
    )

    def __init__(self, spec: QueueSpec, prefetch: int, serves: str | None = None) -> None:
        self.spec = spec
        self.serves = serves or spec.name
        self.prefetch = prefetch
        self.state: QueueState = "left"
        self.tag: str | None = None
        """Of the consumer on the broker, None while there is none."""
        self.standby: str | None = None
        """Of the consumer that takes the place of the careful one of a single-active queue."""
        self.unsettled = 0
        """Deliveries on this channel that are not settled yet."""
        self.heard_at = 0.0
        """When the broker last agreed to a consumer of it, or the last deliveries of it were settled."""
        self.problem = BrokerError()
        """Why it is missing."""
        self.due = 0.0
        """When to look for it again while it is missing, by the clock of `lose`."""
        self.pause = 0.0
        self.found_at = -LONGEST_PAUSE

    @property
    def is_missing(self) -> bool:
        """Whether it cannot be had: one that is found again can be had once it has a consumer, if one is wanted."""
        return self.state == "missing" or (self.is_wanted and self.tag is None and self.heard_at < self.found_at)

    @property
    def is_replaced(self) -> bool:
        """Whether another queue takes its place, so that it may be gone at any time."""
        return self.serves != self.spec.name

    @property
    def is_kept(self) -> bool:
        """Whether it stays consumed whatever is wanted, as leaving it would cost something.

        A single active consumer would lose its place, and the messages their order; what is exclusive has no other
        consumer; without a consumer the broker may delete what is auto-delete or expires.
        """
        return self.spec.single_active_consumer or self.is_gone_unconsumed

    @property
    def is_gone_unconsumed(self) -> bool:
        """Whether the broker may delete it, with its messages, when nobody consumes it."""
        spec = self.spec
        return spec.exclusive or spec.auto_delete or spec.expires is not None

    def wanted(self, admission: Admission) -> Wanted:
        """Return which messages are wanted, where others are spared what is not asked of them."""
        if admission == "leave":
            return "all" if self.is_gone_unconsumed else "none"
        return "all" if self.is_kept else admission

    def is_silent(self, now: float, opened_at: float) -> bool:
        """Return whether it should be consumed anew, as nothing tells for long that a message could come.

        A queue with unsettled messages is not idle, and would lose the room that they take.

        Args:
            now: by the clock of `find`.
            opened_at: when there was a connection.
        """
        is_idle = self.tag is not None and not self.unsettled
        if not is_idle or self.is_kept or self.spec.queue_type != "quorum":
            return False
        is_early = now - max(opened_at, self.found_at) < EARLY
        return now - self.heard_at >= (EARLY_SILENCE if is_early else SILENCE)

    @property
    def has_room(self) -> bool:
        """Whether one more message may be taken."""
        return self.unsettled < self.prefetch

    def start(self, admission: Wanted) -> None:
        """Decide how to begin on a fresh channel."""
        self._admit(admission, self.spec.queue_type == "quorum")

    def admit(self, admission: Wanted) -> None:
        """Decide what follows from which messages are wanted now. What comes after a pause comes carefully."""
        if admission != "none" and self.tag is None and not self.has_room and self.state != "missing":
            self._move("no_room")
        else:
            self._admit(admission, True)

    def lose(self, problem: BrokerError, now: float) -> None:
        """Take note that it has no consumer, and cannot have one now.

        The pause until the next attempt grows, and begins anew once the queue has been there for as long as the longest
        pause: one that is deleted again and again keeps nobody busy.
        """
        was_there = self.state != "missing" and now - self.found_at >= LONGEST_PAUSE
        self.problem = problem
        self._move("lose")
        self.pause = FIRST_PAUSE if was_there or not self.pause else min(2 * self.pause, LONGEST_PAUSE)
        self.due = now + self.pause

    def find(self, now: float) -> None:
        """Take note that it is there again: it can be admitted."""
        self._move("find")
        self.found_at = now

    def on_delivery(self, redelivered: bool) -> bool:
        """Count a delivery. Return whether it ends the careful beginning, so that the prefetch can be widened.

        It does not while most of the prefetch is taken by what was delivered before the queue was left.
        """
        self.unsettled += 1
        if self.state != "careful" or redelivered or self.unsettled_before > self.prefetch / 2:
            return False
        self._move("fresh")
        return True

    @property
    def unsettled_before(self) -> int:
        """Unsettled deliveries besides the one message that comes at a time: they take part of the prefetch."""
        return max(0, self.unsettled - 1)

    @property
    def is_wanted(self) -> bool:
        """Whether it must have a consumer."""
        return self.state not in ("missing", "left", "full")

    @property
    def capacity(self) -> int:
        """Messages that may be unsettled now. Read by any thread."""
        return 1 if self.state in ("careful", "trial") else self.prefetch

    @property
    def next_prefetch(self) -> int:
        """Messages that the next consumer may have."""
        return self.prefetch_when_wide if self.state == "wide" else 1

    @property
    def prefetch_when_wide(self) -> int:
        """Messages that a consumer may have when the careful beginning has ended."""
        return max(1, self.prefetch - self.unsettled_before)

    def _admit(self, admission: Wanted, is_careful: bool) -> None:
        self._move("all_one_by_one" if admission == "all" and is_careful and self.prefetch > 1 else admission)

    def _move(self, event: QueueEvent) -> None:
        self.state = QUEUE_MOVES.after(self.state, event)
