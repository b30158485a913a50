"""Looking: the letters of dead-letter queues, taken from a broker for the time of a look. The caller's thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from taskroute.broker.taking import QueueUnreadableError, Taking
from taskroute.message.delivery import Delivery
from taskroute.operate.dead_letters.letter import Letter, letter_of
from taskroute.operate.dead_letters.lookable import Candidate, problem_of_observed, problem_of_spec
from taskroute.operate.dead_letters.results import LookedInto
from taskroute.operate.dead_letters.which import Which
from taskroute.operate.observed import ObservedQueue

MOST: Final = 10_000
"""Letters that are meant and taken in one run."""

MOST_LOOKED_AT: Final = 100_000
"""Letters that are looked at in one run: nobody else sees them meanwhile, and the broker has to keep count of them."""

_LEAST_ROOM: Final = 2_000
"""Each further take needs a channel, so that it is not done for a few."""

AskBroker = Callable[[Iterable[str]], Mapping[str, ObservedQueue]]
"""Asks the management API for queues, and returns those that there are."""


@dataclass(frozen=True, slots=True)
class Look:
    """Letters that are meant and held, each with what it was taken by, and the queues that were looked into."""

    held: tuple[tuple[Letter, Delivery], ...]
    queues: tuple[LookedInto, ...]


def look(taking: Taking, queues: Iterable[Candidate], ask: AskBroker | None, which: Which, deadline: float) -> Look:
    """Take what is meant of what is in queues at this moment, and say of each how far that was possible.

    Args:
        taking: holds the letters, and those that are passed over.
        queues: dead-letter queues.
        ask: left out, what the specs say counts, if the broker has the queues so.
        which: letters are meant.
        deadline: after which no more are taken, by `time.monotonic`.

    Raises:
        BrokerUnavailableError: the connection was lost, or the management API cannot be asked.
    """
    queues = tuple(queues)
    observed = None if ask is None else ask(queue.name for queue in queues)
    choice = _Choice(taking, which, deadline)
    looked: list[LookedInto] = []
    for queue in queues:
        ready, looked_at = None, 0
        try:
            ready = taking.count(queue.name)
            problem = _problem(taking, queue, observed)
            if problem is None:
                looked_at = choice.look_at(queue.name, ready)
        except QueueUnreadableError as error:
            if queue.may_be_gone and error.is_absent:
                continue
            problem = str(error)
        looked.append(LookedInto(queue=queue.name, ready=ready, looked_at=looked_at, problem=problem))
    return Look(tuple(choice.held), tuple(looked))


class _Choice:
    """Takes what is meant, and passes over the others, so that letters which nobody means hide none behind them."""

    def __init__(self, taking: Taking, which: Which, deadline: float) -> None:
        self.held: list[tuple[Letter, Delivery]] = []
        self._taking = taking
        self._which = which
        self._deadline = deadline
        self._now = datetime.now(UTC)
        self._left = MOST_LOOKED_AT

    def look_at(self, queue: str, ready: int) -> int:
        """Take letters of a queue until enough are meant, or nothing more is to be had; return how many were looked at.

        Raises:
            QueueUnreadableError: it is not there, or this user may not read it.
        """
        looked_at = 0
        while (most := min(ready - looked_at, MOST - len(self.held), self._left)) > 0:
            deliveries = self._taking.take(queue, most)
            looked_at, self._left = looked_at + len(deliveries), self._left - len(deliveries)
            for delivery in deliveries:
                self._choose(delivery)
            is_out = len(deliveries) < most or self._taking.is_full or time.monotonic() >= self._deadline
            if is_out or MOST - len(self.held) < _LEAST_ROOM:
                break
        return looked_at

    def _choose(self, delivery: Delivery) -> None:
        letter = letter_of(delivery)
        if self._which.means(letter, self._now):
            self.held.append((letter, delivery))
        else:
            self._taking.pass_over(delivery)


def _problem(taking: Taking, queue: Candidate, observed: Mapping[str, ObservedQueue] | None) -> str | None:
    """Return why a queue that is there may not be looked into, None if it may."""
    if observed is not None:
        found = observed.get(queue.name)
        return "the management API has no such queue" if found is None else problem_of_observed(found)
    problems: list[str] = []
    for spec in queue.specs:
        problem = problem_of_spec(spec)
        if problem is None:
            try:
                taking.check_declared(spec)
            except QueueUnreadableError as error:
                problem = str(error)
        if problem is None:
            return None
        problems.append(problem)
    return problems[0]
