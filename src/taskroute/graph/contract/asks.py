"""Asks: what handlers and events of the code read, write and ask for, as the entries of a contract. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from inspect import Parameter
from typing import Any, Final

from taskroute.graph.bodies.schema import schema_of, schema_of_annotation
from taskroute.graph.contract.entries import Content, EventEntry, HandlerEntry
from taskroute.graph.contract.shapes import ANYTHING, Shape, shape_of
from taskroute.handlers.handler import Handler
from taskroute.handlers.marks import Header, mark_of
from taskroute.handlers.signature import parameters_of
from taskroute.message.reading_back import root_kind
from taskroute.topology.event_spec import EventSpec

_ROOTS: Final[Mapping[str, Content]] = {"bytes": "bytes", "str": "text"}
_AS_IT_IS: Final = (bytes, bytearray, memoryview)


def handler_entry(handler: Handler) -> HandlerEntry:
    """Return the entry of a handler."""
    content, reads = _read(handler)
    headers: dict[str, Shape] = {}
    captures: dict[str, Shape] = {}
    required = set()
    for parameter in _parameters(handler):
        mark = mark_of(parameter, Header)
        if mark is not None:
            headers[mark.name] = _shape(parameter)
            if parameter.default is parameter.empty:
                required.add(mark.name)
        elif parameter.name in handler.pattern.capture_names and (shape := _shape(parameter)) != {"type": "string"}:
            captures[parameter.name] = shape
    return HandlerEntry(
        queue=handler.queue,
        pattern=str(handler.pattern),
        fallback=handler.is_fallback,
        content=content,
        reads=reads,
        captures=_without_anything(captures),
        headers=dict(sorted(headers.items())),
        required=sorted(required),
    )


def event_entry(event: EventSpec[Any]) -> EventEntry:
    """Return the entry of an event."""
    return EventEntry(
        exchange=str(event.exchange),
        pattern=str(event.pattern),
        content=_ROOTS.get(root_kind(event.adapter.core_schema), "json"),
        writes=shape_of(schema_of(event.adapter), "written"),
    )


def _read(handler: Handler) -> tuple[Content, Shape]:
    body = handler.plan.body
    if body is None:
        return "none", dict(ANYTHING)
    if body.annotation is str:
        return "text", dict(ANYTHING)
    if body.annotation in _AS_IT_IS:
        return "bytes", dict(ANYTHING)
    schema = schema_of_annotation(body.annotation)
    return "bytes" if root_kind(schema.node) == "bytes" else "json", shape_of(schema, "read")


def _parameters(handler: Handler) -> Iterator[Parameter]:
    for function in (handler.function, *(each.provider for each in handler.plan.dependencies)):
        yield from parameters_of(function)


def _shape(parameter: Parameter) -> Shape:
    return shape_of(schema_of_annotation(parameter.annotation), "read")


def _without_anything(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name: shape for name, shape in sorted(shapes.items()) if shape != ANYTHING}
