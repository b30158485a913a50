"""Delivering: letters to queues: published, confirmed, and only then removed. The caller's thread does it all.

A process that dies in between leaves a letter where it lies, and one copy of it at most where it was to go.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Final

from taskroute.broker.roles.submission import Receipt
from taskroute.broker.taking import SETTLED_AT_ONCE, QueueUnreadableError, Taking
from taskroute.errors import (
    BrokerUnavailableError,
    PublishRejectedError,
    PublishTimeoutError,
    UnroutableError,
)
from taskroute.message.delivery import Delivery
from taskroute.operate.dead_letters.capacity import Capacity
from taskroute.operate.dead_letters.letter import Letter
from taskroute.operate.dead_letters.results import LeftLetter
from taskroute.operate.dead_letters.sending import Sending

MOST_TWICE: Final = 64
"""Letters that may be there twice after a crash."""

WINDOW: Final = MOST_TWICE - SETTLED_AT_ONCE
"""Letters that are published and not confirmed. Others are acknowledged, and the queue was not asked yet."""

CONFIRM_TIME: Final = 30.0
_LAST_WAIT: Final = 5.0
TICK: Final = 1.0

OnProgress = Callable[[int, int], object]
"""Is told how many letters are done, and of how many, on the caller's thread."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A letter on its way: the delivery that it was taken by, if it was, and where it goes, as what."""

    letter: Letter
    delivery: Delivery | None
    to: str
    properties: Mapping[str, object]


@dataclass(slots=True)
class Tally:
    """What has become of letters so far."""

    of: int
    on_progress: OnProgress
    done: list[Letter] = field(default_factory=list)
    left: list[LeftLetter] = field(default_factory=list)
    problem: str | None = None

    def is_done(self, letter: Letter) -> None:
        """Count one more."""
        self.done.append(letter)
        self.on_progress(len(self.done), self.of)

    def leave(self, letter: Letter, why: str, *, may_be_twice: bool = False) -> None:
        """Take note that one stays."""
        self.left.append(LeftLetter(letter=letter, why=why, may_be_twice=may_be_twice))


class Deliverer:
    """Delivers parcels, some of them at once.

    Args:
        taking: what the letters were taken by.
        sending: what they are published by.
        tally: is kept up to date, so that it tells what was done when a call does not come to its end.
        capacities: of the queues that are to be filled below their limit only.
        deadline: of the run, by `time.monotonic`.
        rate: letters a second, None for as many as the broker takes.
    """

    def __init__(
        self,
        taking: Taking,
        sending: Sending,
        tally: Tally,
        capacities: Mapping[str, Capacity],
        *,
        deadline: float,
        rate: float | None,
    ) -> None:
        self._taking = taking
        self._sending = sending
        self._tally = tally
        self._capacities = capacities
        self._deadline = deadline
        self._interval = 0.0 if rate is None else 1 / rate
        self._next_at = 0.0
        self._open: deque[tuple[Parcel, Future[Receipt]]] = deque()
        self._stopped: dict[str, str] = {}  # queues that take no more
        self._filled: dict[str, int] = {}  # by queue, how many may be ready at most, unless others fill it

    def deliver(self, parcels: Iterable[Parcel]) -> None:
        """Deliver; what happens to each is in the tally. A queue that refuses one gets no more, the others go on."""
        waiting = deque(parcels)
        try:
            while waiting:
                parcel = waiting[0]
                why = self._tally.problem or self._stopped.get(parcel.to) or self._why_not(parcel)
                if why is None:
                    self._send(parcel)
                else:
                    self._tally.leave(parcel.letter, why)
                waiting.popleft()
                while len(self._open) >= WINDOW:
                    self._conclude()
            while self._open:
                self._conclude()
        except BrokerUnavailableError as error:  # of what they were taken by
            self._tally.problem = str(error)
            while self._open:
                parcel, _ = self._open.popleft()
                self._tally.leave(parcel.letter, f"it may be there twice: {error}", may_be_twice=True)
            for parcel in waiting:
                self._tally.leave(parcel.letter, str(error))
        except BaseException as interrupt:
            unknown = self._remove_confirmed()
            if unknown:
                interrupt.add_note(f"the broker may have {unknown} of them twice: it has not said so in time")
            raise

    def _why_not(self, parcel: Parcel) -> str | None:
        """Wait for its turn, and return why it must not be sent, None if it may."""
        while (pause := min(self._next_at, self._deadline) - time.monotonic()) > 0:
            self._taking.wait(min(pause, TICK))
            if self._open and self._open[0][1].done():
                self._conclude()
        if time.monotonic() >= self._deadline:
            self._tally.problem = "the time of a run is over: run it again"
            return self._tally.problem
        capacity = self._capacities.get(parcel.to)
        if capacity is None:
            return None
        while self._open:
            self._conclude()
        # What was confirmed is not always counted at once: RabbitMQ 4.3 may still say 0.
        try:
            ready = max(self._taking.count(parcel.to), self._filled.get(parcel.to, 0))
        except QueueUnreadableError as error:
            self._stopped[parcel.to] = f"queue {parcel.to!r} drops messages at its limit, and is not counted: {error}"
            return self._stopped[parcel.to]
        problem = capacity.problem(ready, len(parcel.letter.body))
        self._filled[parcel.to] = ready + 1
        if problem is not None:
            self._stopped[parcel.to] = problem = f"queue {parcel.to!r} is full: {problem}"
        return self._stopped.get(parcel.to)

    def _send(self, parcel: Parcel) -> None:
        now = time.monotonic()
        self._next_at = max(self._next_at, now) + self._interval
        deadline = min(self._deadline, now + CONFIRM_TIME)
        submission = self._sending.prepare(parcel.to, parcel.letter.body, parcel.properties, deadline)
        self._open.append((parcel, submission.future))  # first: an interrupt may come when it is on its way already
        self._sending.send(submission)

    def _conclude(self) -> None:
        """Wait for the oldest one, and remove it if the broker has it where it was to go."""
        parcel, future = self._open[0]
        while not wait([future], TICK).done:
            self._taking.tick()
        error = future.exception()
        if error is None:
            self._remove(parcel)
        self._open.popleft()
        if error is not None:
            self._fail(parcel, error)

    def _remove(self, parcel: Parcel) -> None:
        self._taking.tick()
        if parcel.delivery is not None:
            self._taking.acknowledge(parcel.delivery)
        self._tally.is_done(parcel.letter)

    def _fail(self, parcel: Parcel, error: BaseException) -> None:
        why = str(error)
        if isinstance(error, PublishTimeoutError | BrokerUnavailableError):
            self._tally.problem = why
        elif isinstance(error, PublishRejectedError | UnroutableError):
            state = "is not there" if isinstance(error, UnroutableError) else "refuses it: it is full, or has failed"
            self._stopped[parcel.to] = why = f"queue {parcel.to!r} {state}"
        self._tally.leave(parcel.letter, why, may_be_twice=isinstance(error, PublishTimeoutError))

    def _remove_confirmed(self) -> int:
        """Remove what the broker has by now, so that as few as can be are there twice; of how many nobody knows."""
        sent = [(parcel, future) for parcel, future in self._open if not future.cancel()]  # or it is never written
        wait([future for _, future in sent], _LAST_WAIT)
        unknown, counted = 0, {id(letter) for letter in self._tally.done}  # the oldest one may be among them
        for parcel, future in sent:
            error = future.exception() if future.done() else PublishTimeoutError("it is not confirmed")
            if error is None:
                if parcel.delivery is not None:
                    self._taking.acknowledge(parcel.delivery)
                if id(parcel.letter) not in counted:
                    self._tally.done.append(parcel.letter)
            elif isinstance(error, PublishTimeoutError):
                unknown += 1
        if len(self._tally.done) > len(counted):
            self._tally.on_progress(len(self._tally.done), self._tally.of)
        return unknown
