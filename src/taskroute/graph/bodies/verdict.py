"""Verdict: whether a handler takes every body of an event.

*Accepted* is proved from the schemas of both types. *Refused* is shown by a made-up body that the handler's type does
not read. Anything else is *undecided*, with the doubts that prevent a proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from taskroute.graph.bodies.compatibility import doubts
from taskroute.graph.bodies.doubt import Doubt
from taskroute.graph.bodies.refusals import refusals
from taskroute.graph.bodies.schema import UNIONS, Schema, schema_of, schema_of_annotation
from taskroute.handlers.body import BodyParameter
from taskroute.keys.automaton import BudgetExceededError
from taskroute.topology.event_spec import EventSpec

_DOUBTS_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a handler takes every body of an event; if not, which field it refuses and why."""

    answer: Literal["accepted", "refused", "undecided"]
    reason: str = ""


def judge(event: EventSpec[Any], parameter: BodyParameter | None) -> Verdict:
    """Return whether a handler's body parameter takes every body of an event.

    Runs validators and default factories of both types, on made-up bodies.

    Args:
        event: with the type that is written.
        parameter: with the type that is read; None for a handler without a body.
    """
    if parameter is None or parameter.annotation is bytes:
        return Verdict("accepted")
    found = _all_doubts(schema_of(event.adapter), parameter.annotation)
    blind = [doubt.path for doubt in found if doubt.is_blind]
    for refusal in refusals(event, parameter):
        if refusal.is_telling(blind):
            return Verdict("refused", refusal.reason)
    shown = "; ".join(map(str, found[:_DOUBTS_SHOWN]))
    more = f"; and {len(found) - _DOUBTS_SHOWN} more" if len(found) > _DOUBTS_SHOWN else ""
    return Verdict("undecided", shown + more) if found else Verdict("accepted")


def _all_doubts(written: Schema, annotation: Any) -> tuple[Doubt, ...]:
    try:
        return tuple(dict.fromkeys(_each_doubt(written, annotation)))
    except BudgetExceededError:
        return (Doubt((), "too hard to decide", is_blind=True),)
    except Exception as error:  # noqa: BLE001 - a core schema of another version of pydantic
        return (Doubt((), f"its schema is not understood ({type(error).__name__}: {error})", is_blind=True),)


def _each_doubt(written: Schema, annotation: Any) -> Iterator[Doubt]:
    for choice in _alternatives(written):
        if choice.kind == "bytes":
            yield Doubt((), "bytes may hold anything", is_blind=True)
    if annotation is not str:
        yield from doubts(written, schema_of_annotation(annotation))


def _alternatives(schema: Schema) -> Iterator[Schema]:
    schema = schema.written()
    if schema.kind in UNIONS:
        for choice in schema.choices():
            yield from _alternatives(choice)
    else:
        yield schema
