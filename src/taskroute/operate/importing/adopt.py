"""Adopt: from what was found to the specs that declare exactly that. Pure.

What no spec says becomes a passive one, or a note with the reason: a broker takes more than a spec does. A spec is
tried before it is taken: what it would declare is compared with what was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from taskroute.errors import TopologyError
from taskroute.operate.importing.comparison import difference
from taskroute.operate.importing.found import Found, FoundBinding, FoundExchange
from taskroute.operate.importing.queues import QueueAdoption
from taskroute.quoting import shorten
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.routing import PREDECLARED, ExchangeType

_TYPES: Final = get_args(ExchangeType)


@dataclass(frozen=True, slots=True)
class AdoptedBinding:
    """A binding: `exchange`, its source, and what its `bind` takes."""

    exchange: str
    fields: Mapping[str, Any]


@dataclass(slots=True)
class Adopted:
    """An exchange or a queue: the fields of its spec that differ from their defaults, and what is to be told of it."""

    fields: dict[str, Any]
    bindings: list[AdoptedBinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name on the broker."""
        return str(self.fields["name"])


@dataclass(frozen=True, slots=True)
class Adoption:
    """What becomes of everything that was found. `notes`: of what has no spec."""

    exchanges: Sequence[Adopted]
    queues: Sequence[Adopted]
    notes: Sequence[str]

    def all_notes(self) -> Iterator[str]:
        """Yield every note, with what it is about."""
        yield from self.notes
        for kind, entities in (("exchange", self.exchanges), ("queue", self.queues)):
            for each in entities:
                yield from (f"{kind} {shorten(each.name)}: {note}" for note in each.notes)


def adopt(found: Found) -> Adoption:
    """Return the specs of what was found."""
    notes = list(found.notes)
    exchanges = _exchanges(found, notes)
    queues = _queues(found, notes)
    for binding in found.bindings:
        if binding.source:
            _bind(binding, exchanges, queues, notes)
    return Adoption(list(exchanges.values()), list(queues.values()), notes)


def _exchanges(found: Found, notes: list[str]) -> dict[str, Adopted]:
    known = {each.name: each for each in found.exchanges}
    named = {end for each in found.bindings for end in _exchanges_of(each)}
    named |= {str(each.arguments.get("alternate-exchange", "")) for each in found.exchanges}
    adopted = {}
    for exchange in found.exchanges:
        if exchange.name.startswith("amq.") and exchange.name not in named:
            continue  # the broker's own, and nobody's
        if exchange.type in _TYPES and exchange.name:
            adopted[exchange.name] = _exchange(exchange)
        elif exchange.name:
            notes.append(
                f"exchange {shorten(exchange.name)} is left out: its type, {shorten(exchange.type)}, has no spec"
            )
    for name in sorted(named & PREDECLARED.keys() - known.keys()):  # files do not have them
        adopted[name] = Adopted({"name": name})
    for each in list(adopted.values()):
        alternate = each.fields.get("alternate_exchange")
        if alternate is not None and alternate not in adopted:
            each.fields = _passive_exchange(known[each.name])
            each.notes.append(f"passive, as its alternate exchange {shorten(alternate)} has no spec")
    for name in [name for name, each in adopted.items() if "name" not in each.fields]:
        notes += [f"exchange {shorten(name)} is left out: {note}" for note in adopted.pop(name).notes]
    return adopted


def _exchanges_of(binding: FoundBinding) -> Iterator[str]:
    yield binding.source
    if binding.destination_type == "exchange":
        yield binding.destination


def _exchange(exchange: FoundExchange) -> Adopted:
    arguments = dict(exchange.arguments)
    alternate = arguments.pop("alternate-exchange", None)
    fields: dict[str, Any] = {"name": exchange.name}
    is_own = exchange.name.startswith("amq.")
    if exchange.type != ExchangeSpec.model_fields["type"].default and exchange.name not in PREDECLARED:
        fields["type"] = exchange.type
    if is_own:
        return Adopted(fields, notes=list(exchange.notes))
    fields |= {} if exchange.durable else {"durable": False}
    fields |= {name: True for name in ("auto_delete", "internal") if getattr(exchange, name)}
    fields |= {} if alternate is None else {"alternate_exchange": alternate}
    fields |= {"arguments": arguments} if arguments else {}
    try:
        problem = difference(exchange.arguments, ExchangeSpec(**fields).broker_arguments)
    except TopologyError as error:
        problem = str(error).partition(": ")[2]
    if problem is None:
        return Adopted(fields, notes=list(exchange.notes))
    return Adopted(_passive_exchange(exchange), notes=[f"passive: {problem}", *exchange.notes])


def _passive_exchange(exchange: FoundExchange) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": exchange.name, "type": exchange.type, "passive": True}
    if exchange.type == ExchangeSpec.model_fields["type"].default:
        del fields["type"]
    fields |= {"internal": True} if exchange.internal else {}
    try:
        ExchangeSpec(**fields)
    except TopologyError:  # not even its name
        return {}
    return fields


def _queues(found: Found, notes: list[str]) -> dict[str, Adopted]:
    adoption = QueueAdoption(found)
    adopted = {}
    for queue in found.queues:
        if queue.name in adoption.folded:
            notes += [f"queue {shorten(queue.name)}: {note}" for note in queue.notes]
            continue
        fields, problem = adoption.fields[queue.name]
        if fields:
            own = [] if problem is None else [f"passive: {problem}"]
            adopted[queue.name] = Adopted(fields, notes=[*own, *queue.notes])
        else:
            notes.append(f"queue {shorten(queue.name)} is left out: {problem}")
    return adopted


def _bind(
    binding: FoundBinding, exchanges: Mapping[str, Adopted], queues: Mapping[str, Adopted], notes: list[str]
) -> None:
    """Add a binding to its destination, or a note of why it cannot be."""
    destinations = exchanges if binding.destination_type == "exchange" else queues
    destination, source = destinations.get(binding.destination), exchanges.get(binding.source)
    what = f"binding {shorten(binding.routing_key)} from exchange {shorten(binding.source)}"
    if destination is None:
        end = f"{binding.destination_type} {shorten(binding.destination)}"
        notes.append(f"{what} to {end} is left out: that {binding.destination_type} has no spec")
    elif source is None:
        destination.notes.append(f"{what} is left out: that exchange has no spec")
    else:
        fields, problem = _binding_fields(binding, ExchangeSpec(**source.fields))
        if problem is None:
            destination.bindings.append(AdoptedBinding(binding.source, fields))
        else:
            destination.notes.append(f"{what} is left out: {problem}")


def _binding_fields(binding: FoundBinding, source: ExchangeSpec) -> tuple[dict[str, Any], str | None]:
    headers = dict(binding.arguments)
    match = headers.pop("x-match", "all")
    fields: dict[str, Any] = {"binding_key": binding.routing_key} if binding.routing_key else {}
    fields |= {"headers": headers} if headers else {}
    fields |= {"match": match} if match != "all" else {}
    try:
        bound: BindingSpec = source.bind(**fields)
    except TopologyError as error:
        return {}, str(error).partition(": ")[2]
    return fields, difference(binding.arguments, bound.arguments)
