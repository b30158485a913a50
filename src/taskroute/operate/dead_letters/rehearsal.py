"""Rehearsal: what would become of a letter today, by the routes and models of the target. Pure, nothing is called."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from dataclasses import dataclass

from taskroute.errors import TaskrouteError
from taskroute.exported import exported_by
from taskroute.graph.routes import Routes
from taskroute.handlers.asked import Asked
from taskroute.handlers.handler import HandlerMatch
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.message.delivery import Delivery
from taskroute.operate.dead_letters.letter import Letter
from taskroute.operate.dead_letters.rewriting import properties_for_retry


@exported_by("taskroute")
@dataclass(frozen=True, slots=True)
class Prospect:
    """What would become of a letter. `handler`: who would get it, None if nobody takes it. `problem`: why it fails."""

    handler: str | None
    problem: str | None

    def __str__(self) -> str:
        if self.handler is None:
            return self.problem or "no handler"
        if self.problem is not None:
            return f"still does not validate: {self.problem} (of {self.handler})"
        return f"would now go to {self.handler}"


def rehearse(letter: Letter, queue: str, routes: Routes) -> Prospect:
    """Return what would become of a letter in a queue: who takes its key there, and whether it fits."""
    delivery = Delivery(
        queue=queue,
        exchange="",
        routing_key=queue,
        body=letter.body,
        properties=properties_for_retry(letter, queue),
    )
    try:
        match = routes.resolve(queue, delivery.routing_key)
    except TaskrouteError as error:
        return Prospect(None, f"no handler: {error}")
    if match is None:
        return Prospect(None, f"no handler: none of {queue!r} takes {delivery.routing_key!r}")
    return Prospect(match.handler.name, _problem(match, delivery))


def _problem(match: HandlerMatch, delivery: Delivery) -> str | None:
    if delivery.malformed is not None:
        return ": ".join(delivery.malformed)
    plan = match.handler.plan
    sources = [*plan.sources, *(each for dependency in plan.dependencies for each in dependency.sources)]
    try:
        for _, source in sources:
            if not isinstance(source, Asked):  # a worker gives that
                source(delivery, match.captures)
    except InvalidArgumentError as error:
        return f"{error.reason}: {error.error}"
    except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
        return type(error).__name__
    return None
