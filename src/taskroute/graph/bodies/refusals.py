"""Refusals: made-up bodies of an event that a handler does not read.

A body is encoded as a publisher does it, and read as the handler does it, so the reason is that of a dead letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import core_schema, from_json

from taskroute.errors import MessageInvalidError
from taskroute.graph.bodies.doubt import ANYWHERE, Path
from taskroute.graph.bodies.examples import examples, limits
from taskroute.graph.bodies.schema import Schema, schema_of, schema_of_annotation
from taskroute.handlers.body import BodyParameter
from taskroute.handlers.sources import InvalidArgumentError
from taskroute.message.content import JSON
from taskroute.message.delivery import Delivery
from taskroute.topology.event_spec import Event, EventSpec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MOST_EXAMPLES: Final = 500
"""How many bodies are made up for one event and one handler."""

_OF_PYDANTIC: Final = frozenset(get_args(core_schema.ErrorType)) - {"value_error", "assertion_error"}
"""Types of errors that only pydantic's own code raises, not a validator of the user's."""


class Refusal(NamedTuple):
    """Why one made-up body is refused. `places`: path and type of each error, if fields cause it."""

    reason: str
    places: tuple[tuple[Path, str], ...] = ()

    def is_telling(self, blind: Iterable[Path]) -> bool:
        """Return whether real bodies of the event must be refused too, not only this one."""
        if not self.places:
            return () not in blind
        return any(
            kind in _OF_PYDANTIC and not any(is_under(place, path) for path in blind) for place, kind in self.places
        )


def is_under(place: Path, path: Path) -> bool:
    """Return whether a place is at a path or inside of it."""
    return len(place) >= len(path) and all(part in (ANYWHERE, other) for part, other in zip(path, place, strict=False))


def refusals(event: EventSpec[Any], parameter: BodyParameter) -> Iterator[Refusal]:
    """Yield a refusal for each made-up body that the parameter does not read."""
    around = limits(schema_of_annotation(parameter.annotation).node)
    for example in _examples(schema_of(event.adapter), around):
        try:
            encoded, kind = _encoded(event, event.adapter.validate_json(example))
        except Exception:  # noqa: BLE001, S112 - a validator, perhaps the user's, says it is no body of this event
            continue
        delivery = Delivery(queue="", exchange="", routing_key="", body=encoded, properties={"content_type": kind})
        try:
            parameter.source(delivery, {})
        except InvalidArgumentError as error:
            yield refusal_of(error, encoded)
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            yield Refusal(type(error).__name__, (((), "value_error"),))


def _encoded(event: EventSpec[Any], body: Any) -> tuple[bytes, str]:
    try:
        return Event(event, "", body).encode()
    except MessageInvalidError:  # what no handler of the same type reads, another one may
        return event.adapter.dump_json(body, by_alias=True), JSON


def unsendable(event: EventSpec[Any]) -> Iterator[str | None]:
    """Yield for each made-up body the error with which a publisher refuses it, None where it takes it."""
    for example in _examples(schema_of(event.adapter), frozenset()):
        try:
            body = event.adapter.validate_json(example)
        except Exception:  # noqa: BLE001, S112 - as above
            continue
        try:
            Event(event, "", body).encode()
        except MessageInvalidError as error:
            yield str(error)
        else:
            yield None


def _examples(schema: Schema, around: frozenset[int]) -> list[bytes]:
    try:
        return list(islice(examples(schema, around), MOST_EXAMPLES))
    except Exception:  # noqa: BLE001 - a core schema of another version of pydantic
        return []


def refusal_of(error: InvalidArgumentError, encoded: bytes) -> Refusal:
    """Return the refusal that a parameter has raised for a body."""
    invalid = error.__context__  # `from None` hides it from tracebacks but keeps it
    if not isinstance(invalid, ValidationError):
        return Refusal(error.error)
    return Refusal(error.error, problem_places(invalid, encoded))


def problem_places(invalid: ValidationError, encoded: bytes) -> tuple[tuple[Path, str], ...]:
    """Return path and type of each problem in a document, none if it is no JSON."""
    problems = invalid.errors(include_url=False, include_context=False, include_input=False)
    try:
        document = from_json(encoded)
    except ValueError:  # bytes or text
        return ()
    return tuple((_place(problem, document), problem["type"]) for problem in problems)


def _place(problem: ErrorDetails, document: Any) -> Path:
    """Return the path of a problem in the document, without the names of alternatives that pydantic inserts."""
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
