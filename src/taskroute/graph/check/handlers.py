"""Checks of handlers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from taskroute.graph.check.finding import Finding
from taskroute.graph.check.graph import Graph, decided
from taskroute.handlers.ambiguity import WAY_OUT, find_ambiguities
from taskroute.handlers.handler import Handler


def ambiguous(graph: Graph) -> Iterator[Finding]:
    for ambiguity in find_ambiguities(graph.handlers):
        subject = str(ambiguity.first)
        if ambiguity.witness is None:
            yield Finding("undecided", "warning", subject, None, str(ambiguity))
        else:
            yield Finding("ambiguous_handlers", "error", subject, ambiguity.witness, f"{ambiguity}: {WAY_OUT}")


def unreached(graph: Graph) -> Iterator[Finding]:
    for handler in graph.handlers:
        if not handler.is_fallback:
            question = "whether a key reaches it"
            yield from decided(str(handler), question, partial(_unreached_handler, graph, handler))


def _unreached_handler(graph: Graph, handler: Handler) -> Iterator[Finding]:
    fed = {queue: key for queue in graph.queues_of(handler) if (key := graph.reaching(handler, queue)) is not None}
    if not fed:
        where = "any queue" if handler.queue is None else f"queue {handler.queue!r}"
        advice = f"no binding of {where} lets in a key that it takes: add the binding, or correct the pattern"
        yield Finding("unfed_handler", "error", str(handler), None, f"{handler} can never run: {advice}")
        return
    shadowed = {}
    for queue, key in fed.items():
        winners = graph.winners(handler, queue)
        if winners and graph.reaching(handler, queue, winners) is None:
            shadowed[queue] = (key, winners)
    is_everywhere = len(shadowed) == len(fed)
    for queue, (key, winners) in shadowed.items():
        names = ", ".join(str(other) for other in winners[:3])
        yield Finding(
            "shadowed_handler",
            "warning" if is_everywhere else "info",
            str(handler),
            key,
            f"{handler} never runs for queue {queue!r}: {names} comes first, for {key!r} say",
        )
