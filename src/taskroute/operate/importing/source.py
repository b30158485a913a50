"""Source: the Python of a topology that was adopted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from taskroute.operate.importing.adopt import Adopted, AdoptedBinding, Adoption
from taskroute.operate.importing.identifiers import Entity, identifiers
from taskroute.operate.importing.python import Call, Expression, Name, assignment, comment
from taskroute.topology.durations import milliseconds
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy

_DOCSTRING = '"""Exchanges and queues that a broker had already, as `taskroute import` printed them."""'


def source_of(adoption: Adoption) -> str:
    """Return a module with the topology, as Ruff formats it. It says only what differs from the defaults."""
    exchanges = list(_in_order(adoption.exchanges))
    names = identifiers(
        [*(("exchange", each.name) for each in exchanges), *(("queue", each.name) for each in adoption.queues)]
    )
    writer = _Writer(names)
    statements = [*(writer.exchange(each) for each in exchanges), *(writer.queue(each) for each in adoption.queues)]
    fields: dict[str, Expression] = {}
    for kind, entities in (("exchange", adoption.exchanges), ("queue", adoption.queues)):
        if entities:
            fields[f"{kind}s"] = [Name(names[kind, each.name]) for each in entities]
    imported = ", ".join(sorted({*writer.used, "Topology"}))
    notes = ["\n#\n".join(map(comment, adoption.notes))] if adoption.notes else []
    topology = assignment("topology", Call(Name("Topology"), fields))
    return "\n\n".join([_DOCSTRING, f"from taskroute import {imported}", *notes, *statements, topology]) + "\n"


class _Writer:
    """Writes statements. `used`: what they need to be imported."""

    def __init__(self, names: Mapping[Entity, str]) -> None:
        self._names = names
        self._known: set[str] = set()  # exchanges that stand above
        self.used: set[str] = set()

    def exchange(self, adopted: Adopted) -> str:
        written = self._statement("exchange", ExchangeSpec, adopted)
        self._known.add(adopted.name)
        return written

    def queue(self, adopted: Adopted) -> str:
        return self._statement("queue", QueueSpec, adopted)

    def _statement(self, kind: str, spec: type[ExchangeSpec | QueueSpec], adopted: Adopted) -> str:
        arguments = {name: self._value(value) for name, value in adopted.fields.items()}
        if adopted.bindings:
            arguments["bindings"] = [self._binding(each) for each in adopted.bindings]
        in_order = {name: arguments[name] for name in spec.model_fields if name in arguments}
        self.used.add(spec.__name__)
        statement = assignment(self._names[kind, adopted.name], Call(Name(spec.__name__), in_order))
        return "\n".join([*map(comment, adopted.notes), statement])

    def _binding(self, binding: AdoptedBinding) -> Expression:
        if binding.exchange in self._known:
            fields = dict(binding.fields)
            key: dict[str, Expression] = {"": fields.pop("binding_key")} if "binding_key" in fields else {}
            return Call(Name(f"{self._names['exchange', binding.exchange]}.bind"), {**key, **fields})
        self.used.add("BindingSpec")  # exchanges that are bound to each other in a circle
        return Call(Name("BindingSpec"), {"exchange": binding.exchange, **binding.fields})

    def _value(self, value: object) -> Expression:
        if not isinstance(value, RetryPolicy):
            return value  # type: ignore[return-value]  # a spec has taken it, and no other kind of value
        self.used.add("RetryPolicy")
        delays = [milliseconds(delay) for delay in value.delays]
        seconds: list[Expression] = [each / 1000 if each % 1000 else each // 1000 for each in delays]
        return Call(Name("RetryPolicy"), {"delays": seconds})


def _in_order(exchanges: Sequence[Adopted]) -> Iterator[Adopted]:
    """Yield exchanges behind those that they are bound to, as far as that goes."""
    waiting = {each.name: each for each in exchanges}
    for name in list(waiting):
        path = [name]
        while path:
            each = waiting.get(path[-1])
            nexts = () if each is None else _sources(each)
            further = next((source for source in nexts if source in waiting and source not in path), None)
            if further is not None:
                path.append(further)
            elif waiting.pop(path.pop(), None) is not None and each is not None:
                yield each


def _sources(adopted: Adopted) -> Iterable[str]:
    return (binding.exchange for binding in adopted.bindings)
