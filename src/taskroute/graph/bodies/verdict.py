"""Bodies: whether a handler takes every body of an event.

Three answers. *Accepted* is proved from the schemas of both types. *Refused* is shown: a body of the event's type is
made up, encoded as a publisher does, and given to what reads the body for the handler; what that says is the reason.
The rest is *undecided*, with what stands in the way of a proof.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import core_schema, from_json

from taskroute.graph.bodies.compatibility import ANYWHERE, Doubt, Path, doubts
from taskroute.graph.bodies.examples import limits, samples
from taskroute.graph.bodies.schema import UNIONS, Schema, schema_of
from taskroute.handlers.body import BodyParameter
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.keys.automaton import BudgetExceededError
from taskroute.message.delivery import Delivery
from taskroute.topology.event_spec import Event, EventSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_SAMPLES: Final = 500
"""Bodies that are made up for one event and one handler."""

_DOUBTS_SHOWN: Final = 3
_OF_PYDANTIC: Final = frozenset(get_args(core_schema.ErrorType)) - {"value_error", "assertion_error"}
"""Types of errors that no validator of the user's raises."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a handler takes every body of an event, and if not so, which field and why."""

    answer: Literal["accepted", "refused", "undecided"]
    reason: str = ""


def judge(event: EventSpec[Any], parameter: BodyParameter | None) -> Verdict:
    """Whether a handler's body parameter takes every body of an event; None: the handler has no such parameter.

    Runs validators and default factories of both types, on bodies that are made up.
    """
    if parameter is None or parameter.annotation is bytes:
        return Verdict("accepted")
    found = _all_doubts(schema_of(event.adapter), parameter.annotation)
    blind = [doubt.path for doubt in found if doubt.is_blind]
    for refusal in _refusals(event, parameter):
        if refusal.is_telling(blind):
            return Verdict("refused", refusal.reason)
    shown = "; ".join(map(str, found[:_DOUBTS_SHOWN]))
    more = f"; and {len(found) - _DOUBTS_SHOWN} more" if len(found) > _DOUBTS_SHOWN else ""
    return Verdict("undecided", shown + more) if found else Verdict("accepted")


def _schema_read(annotation: Any) -> Schema:
    return schema_of(TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation))


# --- showing that a body is refused ---


class _Refusal(NamedTuple):
    """What became of one made-up body. `places`: path and type of each error, where fields are to blame."""

    reason: str
    places: tuple[tuple[Path, str], ...] = ()

    def is_telling(self, blind: Iterable[Path]) -> bool:
        """Whether it shows that bodies of the event are refused, and not only that this one is."""
        if not self.places:
            return () not in blind
        return any(
            kind in _OF_PYDANTIC and not any(_is_under(place, path) for path in blind) for place, kind in self.places
        )


def _is_under(place: Path, path: Path) -> bool:
    return len(place) >= len(path) and all(part in (ANYWHERE, other) for part, other in zip(path, place, strict=False))


def _refusals(event: EventSpec[Any], parameter: BodyParameter) -> Iterator[_Refusal]:
    around = limits(_schema_read(parameter.annotation).node)
    for sample in _samples(schema_of(event.adapter), around):
        try:
            encoded, kind = Event(event, "", event.adapter.validate_json(sample)).encode()
        except Exception:  # noqa: BLE001, S112 - no body of this event, as a validator says, perhaps the user's
            continue
        delivery = Delivery(queue="", exchange="", routing_key="", body=encoded, properties={"content_type": kind})
        try:
            parameter.source(delivery, {})
        except InvalidArgumentError as error:
            yield _refusal(error, encoded)
        except Exception as error:  # noqa: BLE001 - of a validator of the user's
            yield _Refusal(type(error).__name__, (((), "value_error"),))


def _samples(schema: Schema, around: frozenset[int]) -> list[bytes]:
    try:
        return list(islice(samples(schema, around), MOST_SAMPLES))
    except Exception:  # noqa: BLE001 - a core schema of another version of pydantic
        return []


def _refusal(error: InvalidArgumentError, encoded: bytes) -> _Refusal:
    invalid = error.__context__  # `from None` hides it from tracebacks, and keeps it
    if not isinstance(invalid, ValidationError):
        return _Refusal(error.error)
    problems = invalid.errors(include_url=False, include_context=False, include_input=False)
    if any(problem["type"] == "json_invalid" for problem in problems):
        return _Refusal(error.error)
    document = from_json(encoded)
    return _Refusal(error.error, tuple((_place(problem, document), problem["type"]) for problem in problems))


def _place(problem: ErrorDetails, document: Any) -> Path:
    """The path in the document: without the names of alternatives that pydantic puts in between."""
    path: list[str] = []
    here = document
    for part in problem["loc"]:
        inside = here if isinstance(here, Mapping) else dict(enumerate(here)) if isinstance(here, list) else {}
        if part in inside:
            here = inside[part]
            path.append(str(part))
    if problem["type"] == "missing":
        path.append(str(problem["loc"][-1]))
    return tuple(path)


# --- what stands in the way of a proof that none is ---


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
        elif annotation is not str and _is_text(choice):
            yield Doubt((), "it is published as text, and read as JSON")
    if annotation is not str:
        yield from doubts(written, _schema_read(annotation))


def _alternatives(schema: Schema) -> Iterator[Schema]:
    schema = schema.written()
    if schema.kind in UNIONS:
        for choice in schema.choices():
            yield from _alternatives(choice)
    else:
        yield schema


def _is_text(schema: Schema) -> bool:
    """Whether a body of this type may be a str, which is published as text."""
    if schema.kind == "literal":
        return any(isinstance(value, str) for value in schema.node["expected"])
    return schema.kind == "str" or (schema.kind == "enum" and schema.node.get("sub_type") == "str")
