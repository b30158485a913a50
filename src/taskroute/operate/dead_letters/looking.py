"""Looking: the letters of dead-letter queues, taken from a broker for the time of a look. The caller's thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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
"""Letters that are looked at in one run."""


AskBroker = Callable[[Iterable[str]], Mapping[str, ObservedQueue]]
"""Asks the management API for queues, and returns those that there are."""


@dataclass(frozen=True, slots=True)
class Look:
    """Letters that are held, each with the delivery that it was taken by, and the queues that were looked into."""

    held: tuple[tuple[Letter, Delivery], ...]
    queues: tuple[LookedInto, ...]

    def chosen(self, which: Which, limit: int | None) -> tuple[tuple[Letter, Delivery], ...]:
        """Return the letters that are meant, the first ones first, `limit` at most."""
        now = datetime.now(UTC)
        meant = tuple(each for each in self.held if which.means(each[0], now))
        return meant if limit is None else meant[:limit]


def look(taking: Taking, queues: Collection[Candidate], ask: AskBroker | None, most: int = MOST) -> Look:
    """Take what is in queues at this moment, and say of each how far that was possible.

    Args:
        taking: holds the letters.
        queues: dead-letter queues.
        ask: left out, what the specs say counts, if the broker has the queues so.
        most: letters of all queues together.

    Raises:
        BrokerUnavailableError: the connection was lost, or the management API cannot be asked.
    """
    observed = None if ask is None else ask(queue.name for queue in queues)
    held: list[tuple[Letter, Delivery]] = []
    looked: list[LookedInto] = []
    for queue in queues:
        ready, found = None, []
        try:
            ready = taking.count(queue.name)
            problem = _problem(taking, queue, observed)
            if problem is None:
                found = taking.take(queue.name, min(ready, most - len(held)))
        except QueueUnreadableError as error:
            if queue.may_be_gone and error.is_absent:
                continue
            problem = str(error)
        held += ((letter_of(delivery), delivery) for delivery in found)
        looked.append(LookedInto(queue=queue.name, ready=ready, looked_at=len(found), problem=problem))
    return Look(tuple(held), tuple(looked))


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
