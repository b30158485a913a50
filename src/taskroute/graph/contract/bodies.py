"""Bodies: a body that was read and is not any more, by the shapes of what is written and read. Pure.

A body is made up of the shape of what is written. Where the code is at hand, it says whether it reads the body: its
validators run. Otherwise the type does that the shape describes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic_core import from_json

from taskroute.graph.bodies.compatibility import doubts
from taskroute.graph.bodies.doubt import Doubt, Path
from taskroute.graph.bodies.examples import examples, limits
from taskroute.graph.bodies.refusals import Refusal, is_under, problem_places, refusal_of
from taskroute.graph.bodies.schema import Schema
from taskroute.graph.contract.entries import Content, EventEntry, HandlerEntry
from taskroute.graph.contract.shapes import ANYTHING, SERIALIZER, UNKNOWN, VALIDATOR, Shape, places
from taskroute.graph.contract.types import type_of, validator_of
from taskroute.handlers.body import BodyParameter
from taskroute.handlers.sources import InvalidArgumentError, describe_invalid
from taskroute.keys.automaton import BudgetExceededError
from taskroute.message import content
from taskroute.message.delivery import Delivery
from taskroute.topology.event_spec import EventSpec

MOST_EXAMPLES: Final = 300
"""How many bodies are made up for one pair of a writer and a reader."""

_TEXT: Final[Shape] = {"type": "string"}
_CONTENT_TYPES: Final[Mapping[Content, str]] = {"bytes": content.BYTES, "text": content.TEXT, "json": content.JSON}
_NO_JSON: Final = b"\xff\x00"
_STRUCTURAL: Final = frozenset({"missing", "extra_forbidden"})
"""Problems that no validator of the writer's can prevent; neither can it change the type of what is written."""


@dataclass(frozen=True, slots=True)
class Body:
    """A body that was made up, and how it is told what it is."""

    content: Content
    document: bytes

    @property
    def encoded(self) -> bytes:
        """The bytes as they are sent: a text without its quotes."""
        return str(from_json(self.document)).encode() if self.content == "text" else self.document

    def __str__(self) -> str:
        return self.encoded.decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class Writer:
    """What is written: by an event, or by whoever sends what a handler has read until now.

    `is_open`: whether what the shape leaves open may be anything, as what a handler reads may. `event`: its code, None
    where only the shape is known.
    """

    content: Content
    shape: Shape
    is_open: bool = False
    event: EventSpec[Any] | None = None

    @classmethod
    def of_event(cls, entry: EventEntry, event: EventSpec[Any] | None) -> Writer:
        """Return what an event writes."""
        shapes: Mapping[Content, Shape] = {"text": entry.writes or _TEXT, "bytes": ANYTHING}
        return cls(entry.content, shapes.get(entry.content, entry.writes), event=event)

    @classmethod
    def for_handler(cls, entry: HandlerEntry) -> Writer:
        """Return what a handler reads, as others may send it."""
        shapes: Mapping[Content, Shape] = {"text": _TEXT, "json": entry.reads}
        content: Content = "bytes" if entry.content == "none" else entry.content
        return cls(content, shapes.get(entry.content, ANYTHING), is_open=True)

    def bodies(self, around: frozenset[int]) -> Iterator[Body]:
        """Yield bodies as they may be written, the first as ordinary as can be."""
        if self.content == "bytes":
            yield Body("bytes", _NO_JSON)
        for document in _examples(type_of(self.shape), around):
            if self.event is None:
                yield Body(self.content, document)
                continue
            try:
                body = self.event.adapter.validate_json(document)
                yield Body(self.content, self.event.adapter.dump_json(body, by_alias=True))
            except Exception:  # noqa: BLE001, S112 - a validator of the user's says that it is no body of this event
                continue

    def may_write(self, body: Body) -> bool:
        """Return whether a body may be one of these."""
        return self.content == "bytes" or _problem(type_of(self.shape), body) is None


@dataclass(frozen=True, slots=True)
class Reader:
    """What a handler reads. `parameter`: its code, None where only the shape is known."""

    content: Content
    shape: Shape
    parameter: BodyParameter | None = None

    @classmethod
    def of_handler(cls, entry: HandlerEntry, parameter: BodyParameter | None = None) -> Reader:
        """Return what a handler reads."""
        return cls(entry.content, entry.reads, parameter)

    def refusal(self, body: Body) -> Refusal | None:
        """Return why a body is not read, None if it is."""
        if self.content == "none" or (self.content == "bytes" and self.parameter is None):
            return None
        if self.parameter is not None:
            return _refusal_by_code(self.parameter, body)
        if self.content == "text":
            return Refusal("body: not UTF-8") if body.document == _NO_JSON else None
        return _problem(type_of(self.shape), body)


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether what is written is read, with a body that is not, or the reason why it is not known."""

    answer: Literal["read", "refused", "undecided"]
    reason: str = ""
    body: Body | None = None


READ: Final = Answer("read")


def judge(
    writer: Writer, reader: Reader, counts: Callable[[Body], bool], *, before: Iterable[tuple[Shape, Shape]]
) -> Answer:
    """Return whether a reader takes every body of a writer that counts.

    Runs validators of the code that is at hand, on made-up bodies.

    Args:
        writer: what is written.
        reader: what is read.
        counts: whether a body counts, because it was written and read before.
        before: what was written and read until now. What was in doubt already is not asked again; and where the type of
            either had a validator of its own, a made-up body that is refused shows nothing.
    """
    known = list(before)
    blind = list(_blind(writer, reader))
    weak = [path for shape in (writer.shape, *(each for pair in known for each in pair)) for path in _validated(shape)]
    around = limits(type_of(reader.shape).node) | limits(type_of(writer.shape).node)
    for body in writer.bodies(around):
        refusal = reader.refusal(body)
        if refusal is not None and _is_telling(refusal, blind, weak, writer) and counts(body):
            return Answer("refused", refusal.reason, body)
    reasons = _new_doubts(writer, reader, known)
    return Answer("undecided", "; ".join(reasons[:3])) if reasons else READ


def _blind(writer: Writer, reader: Reader) -> Iterator[Path]:
    """Yield where a made-up body that is refused shows nothing: it is not known what is there."""
    yield from places(writer.shape, lambda shape: SERIALIZER in shape or UNKNOWN in shape)
    if not writer.is_open and writer.content != "bytes":
        yield from places(writer.shape, lambda shape: shape == ANYTHING)
    if reader.parameter is None:
        yield from places(reader.shape, lambda shape: UNKNOWN in shape or shape.get(VALIDATOR) == "instead")


def _validated(shape: Shape) -> Iterator[Path]:
    return places(shape, lambda each: VALIDATOR in each)


def _is_telling(refusal: Refusal, blind: Iterable[Path], weak: Iterable[Path], writer: Writer) -> bool:
    if not refusal.places:
        return () not in blind
    return any(
        not any(is_under(place, path) for path in blind)
        and (_is_structural(kind) or not any(is_under(place, path) for path in weak))
        and (writer.is_open or kind not in ("value_error", "assertion_error"))
        for place, kind in refusal.places
    )


def _is_structural(kind: str) -> bool:
    return kind in _STRUCTURAL or kind.endswith(("_type", "_parsing"))


def _new_doubts(writer: Writer, reader: Reader, known: Iterable[tuple[Shape, Shape]]) -> list[str]:
    found = _doubts(writer.shape, _open(reader))
    validated = set(_validated(reader.shape))
    for written, read in known:
        found -= _doubts(written, read)
        validated -= set(_validated(read))
    told = [str(doubt) for doubt in sorted(found)]
    return told + [
        f"{'.'.join(path) or 'body'}: the type has a validator of its own that it had not" for path in sorted(validated)
    ]


def _open(reader: Reader) -> Shape:
    return reader.shape if reader.content == "json" else ANYTHING


def _doubts(written: Shape, read: Shape) -> set[Doubt]:
    if written == read:
        return set()
    try:
        return set(doubts(type_of(written), type_of(read)))
    except BudgetExceededError:
        return {Doubt((), "too hard to decide", is_blind=True)}
    except Exception as error:  # noqa: BLE001 - a shape of another version of taskroute
        return {Doubt((), f"it is not understood ({type(error).__name__})", is_blind=True)}


def _examples(schema: Schema, around: frozenset[int]) -> list[bytes]:
    try:
        return list(islice(examples(schema, around), MOST_EXAMPLES))
    except Exception:  # noqa: BLE001 - a shape of another version of taskroute
        return []


def _problem(schema: Schema, body: Body) -> Refusal | None:
    try:
        validator_of(schema).validate_json(body.document)
    except ValidationError as error:
        return Refusal(describe_invalid(error, "body"), problem_places(error, body.document))
    return None


def _refusal_by_code(parameter: BodyParameter, body: Body) -> Refusal | None:
    kind = _CONTENT_TYPES[body.content]
    delivery = Delivery(queue="", exchange="", routing_key="", body=body.encoded, properties={"content_type": kind})
    try:
        parameter.source(delivery, {})
    except InvalidArgumentError as error:
        return refusal_of(error, body.document)
    except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
        return Refusal(type(error).__name__, (((), "value_error"),))
    return None
