"""Found: the exchanges, queues and bindings of one virtual host, wherever they were read, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FoundExchange:
    """An exchange. `notes`: what else is to be told of it, for people."""

    name: str
    type: str
    durable: bool
    auto_delete: bool
    internal: bool
    arguments: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """A queue. `notes`: what else is to be told of it, for people."""

    name: str
    type: str
    durable: bool
    auto_delete: bool
    arguments: Mapping[str, Any]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundBinding:
    """A binding. `destination_type`: ``queue`` or ``exchange``."""

    source: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What a virtual host has. `notes`: what else there is, that no topology says, for people."""

    exchanges: tuple[FoundExchange, ...]
    queues: tuple[FoundQueue, ...]
    bindings: tuple[FoundBinding, ...]
    notes: tuple[str, ...]
