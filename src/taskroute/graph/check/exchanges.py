"""Checks of exchanges: whether messages get anywhere."""

from __future__ import annotations

from collections.abc import Iterator

from taskroute.graph.check.finding import Finding, name_of
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import find_key
from taskroute.topology.exchange import ExchangeSpec


def declared_here(graph: Graph) -> Iterator[ExchangeSpec]:
    """Yield the exchanges that no other service declares, so that all their bindings are known."""
    return (exchange for exchange in graph.topology.exchanges if not exchange.passive)


def dead_end(graph: Graph, exchange: ExchangeSpec) -> Iterator[Finding]:
    """Find that no message gets from an exchange to a queue."""
    if find_key(graph.ways.beyond(exchange)) is None:
        yield Finding(
            code="dead_end_exchange",
            severity="warning",
            subject=name_of(exchange),
            witness="x",
            message=f"{name_of(exchange)}: no message gets from it to any queue: bind a queue, or delete it",
        )
