"""Lines: the entries of a contract, and the code that they were made of where it is at hand. Frozen data."""

# Annotations are no strings here: those of public classes must resolve under the name of the package too.

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskroute.graph.contract.entries import (
    AllowanceEntry,
    BindingEntry,
    EventEntry,
    ExchangeEntry,
    HandlerEntry,
    QueueEntry,
    RetiredEntry,
)
from taskroute.handlers.body import BodyParameter
from taskroute.topology.event_spec import EventSpec


@dataclass(frozen=True, slots=True)
class Code:
    """What a contract was made of, by the line of its entry. Empty for one that was read from a file."""

    readers: Mapping[str, BodyParameter] = field(default_factory=dict)
    events: Mapping[str, EventSpec[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lines:
    """The entries of a contract, each kind sorted by its text."""

    exchanges: tuple[ExchangeEntry, ...] = ()
    queues: tuple[QueueEntry, ...] = ()
    bindings: tuple[BindingEntry, ...] = ()
    handlers: tuple[HandlerEntry, ...] = ()
    events: tuple[EventEntry, ...] = ()
    retired: tuple[RetiredEntry, ...] = ()
    allowed: tuple[AllowanceEntry, ...] = ()
    code: Code = field(default_factory=Code, compare=False, repr=False)
