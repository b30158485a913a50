"""Entries: the lines of a contract, as frozen data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskroute.graph.contract.shapes import ANYTHING, Shape
from taskroute.topology.queue_rules import QueueType
from taskroute.topology.routing import ExchangeType

Content = Literal["json", "text", "bytes", "none"]
"""What a body is read or written as. ``bytes``: as it is; ``none``: not at all."""

Scalar = str | int | bool
Arguments = dict[str, Scalar]


class Entry(BaseModel):
    """A line: its fields in their order, without those that have their default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True, populate_by_name=True)

    def as_data(self) -> dict[str, Any]:
        """Return the line as JSON has it."""
        return self.model_dump(exclude_defaults=True, by_alias=True)

    @property
    def line(self) -> str:
        """The line as text, which is equal for equal entries."""
        return json.dumps({key: _ordered(value) for key, value in self.as_data().items()})


def _ordered(value: Any) -> Any:
    return json.loads(json.dumps(value, sort_keys=True)) if isinstance(value, Mapping) else value


class ExchangeEntry(Entry):
    """An exchange as it is declared."""

    name: str
    type: ExchangeType
    durable: bool = True
    auto_delete: bool = False
    internal: bool = False
    passive: bool = False
    alternate_exchange: str | None = None
    arguments: Arguments = Field(default_factory=dict)


class QueueEntry(Entry):
    """A queue as it is declared, its type among the arguments as well."""

    name: str
    type: QueueType
    durable: bool = True
    exclusive: bool = False
    auto_delete: bool = False
    passive: bool = False
    replaces: str | None = None
    arguments: Arguments = Field(default_factory=dict)


class BindingEntry(Entry):
    """A binding from an exchange to a queue or to another exchange."""

    exchange: str
    queue: str | None = None
    to_exchange: str | None = None
    key: str = ""
    arguments: Arguments = Field(default_factory=dict)


class HandlerEntry(Entry):
    """A handler: for which keys of a queue (None: of any queue), and what it reads.

    `captures` and `headers` are the shapes of what it asks of a key and of headers besides being there; `required` are
    the headers that have to be there.
    """

    queue: str | None = None
    pattern: str
    fallback: bool = False
    content: Content = "json"
    reads: Shape = Field(default_factory=lambda: dict(ANYTHING))
    captures: dict[str, Shape] = Field(default_factory=dict)
    headers: dict[str, Shape] = Field(default_factory=dict)
    required: list[str] = Field(default_factory=list)

    @property
    def label(self) -> str:
        """How it is called among the handlers of a queue."""
        return "fallback" if self.fallback else self.pattern


class EventEntry(Entry):
    """What is published under which keys, and what its bodies are."""

    exchange: str
    pattern: str
    content: Content = "json"
    writes: Shape = Field(default_factory=lambda: dict(ANYTHING))


class RetiredEntry(Entry):
    """A queue that is not declared any more, and that nobody consumes."""

    name: str


class AllowanceEntry(Entry):
    """A difference that is meant, and what shows whether it is one still."""

    allow: str
    queue: str | None = None
    exchange: str | None = None
    key: str | None = None
    headers: Arguments = Field(default_factory=dict)
    body: str | None = None
    declared: Arguments = Field(default_factory=dict)


SECTIONS: Final[Mapping[str, type[Entry]]] = {
    "exchanges": ExchangeEntry,
    "queues": QueueEntry,
    "bindings": BindingEntry,
    "handlers": HandlerEntry,
    "events": EventEntry,
    "retired": RetiredEntry,
    "allowed": AllowanceEntry,
}
