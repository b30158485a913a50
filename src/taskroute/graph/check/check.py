"""Check: what is wrong with a topology and its handlers together, each finding with a key that shows it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from taskroute.graph.check.events import events
from taskroute.graph.check.exchanges import dead_ends, twice
from taskroute.graph.check.finding import Finding
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.handlers import ambiguous, unreached
from taskroute.graph.check.queues import dead_letters, unconsumed, unhandled
from taskroute.handlers.handler import Handler
from taskroute.topology.topology import Topology

_RANKS: Final = {"error": 0, "warning": 1, "info": 2}


def check(topology: Topology, handlers: Iterable[Handler]) -> tuple[Finding, ...]:
    """Return what is wrong, the worst first. Pure.

    A question that is too hard to decide is a finding ``undecided``, never silence.

    Example:
        >>> media = ExchangeSpec(name="media")
        >>> topology = Topology(exchanges=[media])
        >>> [finding.code for finding in check(topology, ())]
        ['dead_end_exchange']
    """
    graph = Graph(topology, tuple(handlers))
    checks = (ambiguous, unreached, unhandled, twice, dead_ends, unconsumed, dead_letters, events)
    findings = [finding for look in checks for finding in look(graph)]
    return tuple(sorted(findings, key=lambda finding: _RANKS[finding.severity]))
