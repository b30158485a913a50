"""Check: what is wrong with a topology and its handlers together, each finding with a key that shows it.

`CHECKS` is the table: each row asks one question about each of some subjects, within a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from taskroute.graph.check import brokers, events, exchanges, handlers, keys, queues
from taskroute.graph.check.finding import Finding, Severity, name_of
from taskroute.graph.check.graph import Graph
from taskroute.handlers.handler import Handler
from taskroute.keys.automaton import BudgetExceededError
from taskroute.topology.broker_facts import BrokerFacts
from taskroute.topology.topology import Topology

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Check(Generic[S]):
    """A question about each of some subjects.

    Attributes:
        subjects: returns what the question is asked about.
        question: the question, for a finding that it is too hard to decide.
        look: yields what is wrong with one subject; may raise `BudgetExceededError`.
    """

    subjects: Callable[[Graph], Iterable[S]]
    question: str
    look: Callable[[Graph, S], Iterator[Finding]]

    def findings(self, graph: Graph) -> Iterator[Finding]:
        """Yield what is wrong with each subject, or that this is too hard to decide."""
        for subject in self.subjects(graph):
            try:
                yield from self.look(graph, subject)
            except BudgetExceededError:
                yield Finding(
                    code="undecided",
                    severity="warning",
                    subject=name_of(subject),
                    witness=None,
                    message=f"{name_of(subject)}: {self.question}: too hard to decide",
                )


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(handlers.ambiguities, "which of two handlers takes a key", handlers.ambiguous),
    Check(handlers.registered_by_pattern, "whether a key reaches it", handlers.unreached),
    Check(handlers.functions, "what it returns", handlers.unused_answer),
    Check(keys.named_without_fallback, "whether every key has a handler", keys.unhandled),
    Check(keys.published_to, "whether one message is handled twice", keys.handled_twice),
    Check(exchanges.declared_here, "whether a message can get anywhere", exchanges.dead_end),
    Check(queues.unnamed, "which key reaches it", queues.unconsumed),
    Check(queues.with_dead_letters, "where its dead letters go", queues.dead_letters),
    Check(events.declared, "whether every key reaches a queue", events.unrouted),
    Check(events.declared, "whether every key has a handler", events.unhandled),
    Check(events.known, "whether its bodies can be read back", events.unsendable),
    Check(events.known, "which handlers take it", events.bodies),
    Check(brokers.declared_on_it, "whether the broker takes it", brokers.unsupported),
)

_ORDER: Final[tuple[Severity, ...]] = ("error", "warning", "info")


def check(topology: Topology, registered: Iterable[Handler], broker: BrokerFacts | None = None) -> tuple[Finding, ...]:
    """Return what is wrong, the worst first, and what is equally bad in the order of `CHECKS`. Pure.

    A question that is too hard to decide is a finding ``undecided``, never silence.

    Args:
        topology: what is declared.
        registered: the handlers.
        broker: on which it is to be declared; None asks nothing about that.

    Example:
        >>> media = ExchangeSpec(name="media")
        >>> topology = Topology(exchanges=[media])
        >>> [finding.code for finding in check(topology, ())]
        ['dead_end_exchange']
    """
    graph = Graph(topology, tuple(registered), broker)
    findings = [finding for each in CHECKS for finding in each.findings(graph)]
    return tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))
