"""Execute: do the steps of a plan, each after another look at what it rests on. Used by one thread.

A crash between two steps leaves what another run goes on from: each step is done, or is not, and nobody has to remember
which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from taskroute.broker.denied import DeniedError
from taskroute.errors import BrokerError, BrokerUnavailableError
from taskroute.operate.plan.looking import Looking
from taskroute.operate.plan.steps import AnyStep, DeleteQueue, Unbind

BETWEEN_READINGS: Final = 10.5
"""Seconds between the two looks at a queue that is to be deleted: what a broker counts is some seconds old."""

_LEFT: Final = "nothing was refused, and the binding is still there: run the command again, or unbind it by hand"

Result = Literal["done", "already", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step. `reason`: why it was skipped, or has failed. `is_denied`: for want of a right."""

    step: AnyStep
    result: Result
    reason: str = ""
    is_denied: bool = False


class Writing(Protocol):
    """What changes a broker."""

    def do(self, step: AnyStep) -> None:
        """Do a step.

        Raises:
            BrokerError: the broker refuses it, or is away.
        """


def execute(
    steps: Sequence[AnyStep], looking: Looking, writing: Writing, pause: Callable[[float], object]
) -> Iterator[Outcome]:
    """Do steps in their order, and yield what became of each. A queue is deleted after two looks that find it empty.

    Raises:
        BrokerUnavailableError: the broker is away; what was yielded is done.
    """
    last = [step for step in steps if isinstance(step, DeleteQueue)]
    for step in steps:
        if step not in last:
            yield _do(step, looking, writing)
    seen = []
    if last:
        observed = looking.at(last)
        for step in last:
            if (outcome := _without_doing(step, list(step.obstacles(observed)), step.is_done(observed))) is not None:
                yield outcome
            else:
                seen.append(step)
    if seen:
        pause(BETWEEN_READINGS)
    for step in seen:
        yield _do(step, looking, writing)


def _do(step: AnyStep, looking: Looking, writing: Writing) -> Outcome:
    observed = looking.at([step])
    outcome = _without_doing(step, list(step.obstacles(observed)), step.is_done(observed))
    if outcome is not None:
        return outcome
    try:
        writing.do(step)
    except BrokerUnavailableError:
        raise
    except BrokerError as error:
        return Outcome(step, "failed", str(error), is_denied=isinstance(error, DeniedError))
    if isinstance(step, Unbind) and not step.is_done(looking.at([step])):  # a broker may say yes, and leave it
        return Outcome(step, "failed", _LEFT)
    return Outcome(step, "done")


def _without_doing(step: AnyStep, obstacles: Sequence[str], is_done: bool) -> Outcome | None:
    if is_done:
        return Outcome(step, "already")
    return Outcome(step, "skipped", "; ".join(obstacles)) if obstacles else None
