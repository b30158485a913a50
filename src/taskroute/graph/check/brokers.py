"""Checks of a topology against the broker that it is to be declared on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from taskroute.graph.check.code import Code
from taskroute.graph.check.finding import Finding, Severity, name_of
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import BUDGET
from taskroute.keys.automaton import find_words
from taskroute.keys.pattern import RoutingPattern
from taskroute.topology.capabilities import Limit, Support, limits_of_binding, limits_of_queue
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec

_CODES: Final[Mapping[Support, tuple[Code, Severity]]] = {
    "ignored": ("ignored_by_broker", "warning"),
    "denied": ("denied_by_broker", "error"),
    "refused": ("refused_by_broker", "error"),
}


def declared_on_it(graph: Graph) -> Iterable[QueueSpec | ExchangeSpec]:
    """Yield the queues and exchanges that are to be declared, if it is known on which broker."""
    if graph.broker is not None:
        yield from graph.topology.queues
        yield from graph.topology.exchanges


def unsupported(graph: Graph, subject: QueueSpec | ExchangeSpec) -> Iterator[Finding]:
    """Find what the broker refuses or ignores of a queue or exchange, or of its bindings."""
    broker = graph.broker
    if broker is None:
        return
    if isinstance(subject, QueueSpec):
        if subject.passive:  # neither it nor its bindings are declared
            return
        for limit in limits_of_queue(subject, broker):
            yield _finding(subject, limit, None)
    for binding in subject.bindings:
        for limit in limits_of_binding(graph.topology.exchange(binding.exchange), binding, broker):
            words = find_words((RoutingPattern(binding.binding_key).tokens,), (), BUDGET)
            where = f"binding {binding.binding_key!r} from exchange {binding.exchange!r}: "
            yield _finding(subject, limit, ".".join(words or ()), where)


def _finding(subject: QueueSpec | ExchangeSpec, limit: Limit, witness: str | None, where: str = "") -> Finding:
    code, severity = _CODES[limit.stage.support]
    return Finding(
        code=code,
        severity=severity,
        subject=name_of(subject),
        witness=witness,
        message=f"{name_of(subject)}: {where}{limit}",
    )
