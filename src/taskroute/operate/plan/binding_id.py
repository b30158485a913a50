"""BindingId: what makes two bindings the same one, as one value, wherever they were read. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Self

from taskroute.graph.contract.contract import Contract
from taskroute.operate.observed import DestinationType, ObservedBinding
from taskroute.topology.exchange import BindingSpec


class BindingId(NamedTuple):
    """A binding. `arguments` as JSON: a broker tells True from 1 as well."""

    source: str
    destination_type: DestinationType
    destination: str
    routing_key: str
    arguments: str = "{}"

    @classmethod
    def declared(cls, kind: DestinationType, name: str, binding: BindingSpec) -> Self:
        """Return that of a queue or exchange of a topology."""
        return cls(binding.exchange, kind, name, binding.binding_key, _text(binding.arguments))

    @classmethod
    def stood_in(cls, contract: Contract) -> Iterator[Self]:
        """Yield those of a contract."""
        for entry in contract.bindings:
            kind: DestinationType = "exchange" if entry.queue is None else "queue"
            yield cls(entry.exchange, kind, entry.queue or entry.to_exchange or "", entry.key, _text(entry.arguments))

    @classmethod
    def observed(cls, binding: ObservedBinding) -> Self:
        """Return that of one that a broker has."""
        destination = (binding.destination_type, binding.destination)
        return cls(binding.source, *destination, binding.routing_key, _text(binding.arguments))

    def at(self, queue: str) -> Self:
        """Return the same for another queue."""
        return self._replace(destination=queue)

    def __str__(self) -> str:
        arguments = "" if self.arguments == "{}" else f" with {self.arguments}"
        return f"{self.source!r} -> {self.destination!r} by {self.routing_key!r}{arguments}"


def _text(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, default=str)
