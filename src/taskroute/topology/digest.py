"""The digest of a topology: which declaration a process runs, as one short text that others can compare. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

TOPOLOGY_ARGUMENT: Final = "x-taskroute-topology"
"""The argument of a consumer that says which topology its process runs: operators see it, brokers ignore it."""


def topology_digest(topology: Topology) -> str:
    """Return the SHA-256 of what a topology has declared on a broker, in hexadecimal.

    The same in every process and for every order in which specs, bindings and arguments were written. A field that was
    left out counts as its value in effect. Events are no part of it: they declare nothing, and their bodies change more
    often than what is declared.

    Example:
        >>> topology_digest(Topology())[:8]
        'b35b4521'
    """
    declaration: dict[str, object] = {
        "exchanges": _sorted(map(_exchange, topology.exchanges)),
        "queues": _sorted(map(_queue, topology.all_queues)),
    }
    # What is left of queues that are gone is there only while it is needed: a topology without keeps its digest.
    if topology.retired_names:
        declaration["retired"] = sorted(topology.retired_names)
    if replaced := {name: new for name in topology.retired_names if (new := topology.replacement_of(name))}:
        declaration["replaced"] = replaced
    if awaited := sorted(queue.name for queue in topology.queues if queue.after is not None):
        declaration["after_empty"] = awaited
    return sha256(_text(declaration).encode()).hexdigest()


def _exchange(exchange: ExchangeSpec) -> Mapping[str, object]:
    return {
        "name": exchange.name,
        "type": exchange.type,
        "passive": exchange.passive,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.broker_arguments),
        "bindings": _bindings(exchange.bindings),
    }


def _queue(queue: QueueSpec) -> Mapping[str, object]:
    return {
        "name": queue.name,
        "passive": queue.passive,
        "durable": queue.durable,
        "exclusive": queue.exclusive,
        "auto_delete": queue.auto_delete,
        "arguments": dict(queue.broker_arguments),
        "bindings": _bindings(queue.bindings),
    }


def _bindings(bindings: Iterable[BindingSpec]) -> list[str]:
    """Return what is bound, without those that say the same: a broker has them once."""
    each = ([binding.exchange, binding.binding_key, dict(binding.arguments)] for binding in bindings)
    return sorted({_text(binding) for binding in each})


def _sorted(parts: Iterable[Mapping[str, object]]) -> list[str]:
    return sorted({_text(part) for part in parts})


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
