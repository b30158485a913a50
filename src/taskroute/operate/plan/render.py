"""Render: a plan as lines for people and as data for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from taskroute.operate.observed import Observed
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.execute import Outcome
from taskroute.operate.plan.steps import AnyStep, Bind, DeleteQueue, Plan, RemarkKind, Unbind

SIGNS: Final[Mapping[str, str]] = {
    "CreateExchange": "+",
    "CreateQueue": "+",
    "Bind": "+",
    "Unbind": "-",
    "DeleteQueue": "-",
}
_REMARK_SIGNS: Final[Mapping[RemarkKind, str]] = {
    "replace": "!",
    "missing": "!",
    "policy": "i",
    "foreign": "i",
    "unseen": "i",
    "unmoved": "!",
}

SWAP: Final = (
    "to keep the name: 1. stop what publishes to the queue; 2. let its workers empty it and its wait queues; "
    "3. stop them; 4. delete the queue and those that serve it; 5. start the new version, which declares them. "
    "While a worker runs, its retries are lost: this is for a stopped service, and is not done by this command"
)


def plan_lines(plan: Plan, observed: Observed) -> Iterator[str]:
    """Yield the text of a plan, a line each; those of a step begin with what it does: + or -."""
    for step in plan.steps:
        yield _line(step)
        for reason in step.waits_for(observed):
            yield f"    not now: {reason}"
    for remark in plan.remarks:
        yield f"{_REMARK_SIGNS[remark.kind]} {remark.subject}: {remark.text}"
    if any(remark.kind == "replace" and remark.subject.startswith("queue") for remark in plan.remarks):
        yield f"i {SWAP}"
    if not plan.steps and not plan.has_to_replace:
        yield nothing_line(plan)


def nothing_line(plan: Plan) -> str:
    """Return the text of a plan without a step."""
    return f"nothing{'' if plan.sees_all else ' that is seen'} is to be done"


def outcome_line(outcome: Outcome) -> str:
    """Return the text of what became of a step."""
    ending = f": {outcome.reason}" if outcome.reason else ""
    return f"{outcome.result:7} {outcome.step}{ending}"


def plan_data(plan: Plan, observed: Observed) -> dict[str, Any]:
    """Return a plan as JSON has it."""
    steps = [{**step_data(step), "not_now": list(step.waits_for(observed))} for step in plan.steps]
    remarks = [{"kind": each.kind, "subject": each.subject, "text": each.text} for each in plan.remarks]
    return {"steps": steps, "remarks": remarks, "changes": len(steps), "replace": plan.has_to_replace}


def outcomes_data(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return what became of steps as JSON has it."""
    return [{**step_data(each.step), "result": each.result, "reason": each.reason} for each in outcomes]


def step_data(step: AnyStep) -> dict[str, Any]:
    """Return a step as JSON has it."""
    data: dict[str, Any] = {"action": _action(step), "command": step.command, "why": step.why, "text": str(step)}
    if isinstance(step, Bind | Unbind):
        binding = step.binding if isinstance(step, Bind) else BindingId.observed(step.binding)
        return data | {
            "source": binding.source,
            "destination_type": binding.destination_type,
            "destination": binding.destination,
            "routing_key": binding.routing_key,
        }
    return data | {"name": step.name if isinstance(step, DeleteQueue) else step.spec.name}


def _action(step: AnyStep) -> str:
    """Return its class as one word: create_queue, bind."""
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in type(step).__name__).lstrip("_")


def _line(step: AnyStep) -> str:
    notes = [note for note in (step.why, "by prune" if step.command == "prune" else "") if note]
    note = f" ({'; '.join(notes)})" if notes else ""
    return f"{SIGNS[type(step).__name__]} {step}{note}"
