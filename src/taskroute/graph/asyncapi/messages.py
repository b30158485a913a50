"""Messages: what events write and handlers read, with the headers that these ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin

from pydantic import TypeAdapter

from taskroute.graph.asyncapi.schemas import Direction, Schemas, Wanted
from taskroute.handlers.handler import Handler
from taskroute.handlers.marks import Header, mark_of
from taskroute.handlers.signature import parameters_of
from taskroute.message.content import BYTES, JSON, TEXT
from taskroute.message.reading_back import root_kind
from taskroute.quoting import type_name
from taskroute.topology.event_spec import EventSpec

_RAW: Final = (bytes, bytearray, memoryview)
_UNREAD: Final = "any"


class AskedHeader(NamedTuple):
    """A header that a handler, or one of its providers, takes."""

    name: str
    type: Wanted
    is_required: bool


class Message(NamedTuple):
    """A message as an event writes it, or as a handler reads it.

    Attributes:
        name: of the body's type.
        body: None where a handler does not look at it.
        content_type: None for a body that nobody looks at.
        headers: that are asked for.
    """

    name: str
    body: Wanted | None
    content_type: str | None
    headers: tuple[AskedHeader, ...] = ()

    @property
    def is_unread(self) -> bool:
        """Whether nobody looks at anything of it."""
        return self.body is None and not self.headers

    @property
    def types(self) -> Iterator[Wanted]:
        """The types whose schemas it needs."""
        if self.body is not None:
            yield self.body
        for header in self.headers:
            yield header.type

    def described(self, schemas: Schemas) -> dict[str, Any]:
        """Return the message as AsyncAPI describes it."""
        described: dict[str, Any] = {"name": self.name, "title": self.name}
        if self.body is None:
            described["summary"] = "No handler looks at the body."
        else:
            described |= {"contentType": self.content_type, "payload": schemas.of(self.body)}
        if self.headers:
            required = sorted({header.name for header in self.headers if header.is_required})
            properties = {header.name: schemas.of(header.type) for header in self.headers}
            described["headers"] = {
                "type": "object",
                "properties": dict(sorted(properties.items())),
                **({"required": required} if required else {}),
            }
        return described


def written_by(event: EventSpec[Any]) -> Message:
    """Return the message of an event."""
    return Message(event.body_name, Wanted(event.adapter, "serialization"), _content_type(event.body, event.adapter))


def read_by(handler: Handler) -> Message:
    """Return the message that a handler reads."""
    headers = tuple(_headers(handler))
    body = handler.plan.body
    if body is None:
        return Message(_UNREAD, None, None, headers)
    annotation = Any if body.annotation is Parameter.empty else body.annotation
    if isinstance(annotation, type) and annotation in _RAW:
        return Message("bytes", _wanted(bytes), BYTES, headers)
    wanted = _wanted(annotation)
    return Message(type_name(annotation), wanted, _content_type(annotation, wanted.adapter), headers)


def _wanted(annotation: Any, direction: Direction = "validation") -> Wanted:
    return Wanted(TypeAdapter(annotation), direction)


def _headers(handler: Handler) -> Iterator[AskedHeader]:
    functions = (handler.function, *(dependency.provider for dependency in handler.plan.dependencies))
    for function in functions:
        for parameter in parameters_of(function):
            mark = mark_of(parameter, Header)
            if mark is not None and parameter.name not in handler.pattern.capture_names:
                yield AskedHeader(mark.name, _wanted(parameter.annotation), parameter.default is Parameter.empty)


def _content_type(annotation: Any, adapter: TypeAdapter[Any]) -> str:
    """Return the content type with which bodies of a type are published."""
    kind = root_kind(adapter.core_schema)
    if kind == "bytes":
        return BYTES
    return TEXT if kind == "str" or (kind in ("enum", "literal") and _is_text(annotation)) else JSON


def _is_text(annotation: Any) -> bool:
    """Return whether each value of an enum or a literal is a str, which is published as it is."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is Literal:
        return all(isinstance(value, str) for value in get_args(annotation))
    return isinstance(annotation, type) and issubclass(annotation, str)
