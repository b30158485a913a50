"""Checks of queues."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from taskroute.graph.check.finding import Finding, Severity
from taskroute.graph.check.graph import BUDGET, Graph, decided, order
from taskroute.keys.automaton import BudgetExceededError
from taskroute.topology.queue import QueueSpec


def unhandled(graph: Graph) -> Iterator[Finding]:
    for queue in graph.topology.all_queues:
        if queue.name in graph.named and not graph.has_fallback(queue.name):
            question = "whether every key has a handler"
            yield from decided(f"queue {queue.name!r}", question, partial(_unhandled_keys, graph, queue.name))


def _unhandled_keys(graph: Graph, queue: str) -> Iterator[Finding]:
    for flow in sorted(graph.into(queue), key=order):
        one = ".".join(min(flow.inside))
        handlers = [*graph.sharing(queue, one), *graph.sharing(None, one)]
        key = flow.without(handler.pattern.tokens for handler in handlers).witness(budget=BUDGET)
        if key is not None:
            advice = "add a handler or a fallback, or bind less; until then such messages are dead-lettered"
            message = f"queue {queue!r} lets in {key!r}, and no handler takes it: {advice}"
            yield Finding("unhandled_key", "warning", f"queue {queue!r}", key, message)
            return


def unconsumed(graph: Graph) -> Iterator[Finding]:
    takes_dead_letters = {queue.dead_letter_queue for queue in graph.topology.queues}
    for queue in graph.topology.queues:
        if queue.name not in graph.named and queue.name not in takes_dead_letters:
            subject = f"queue {queue.name!r}"
            yield from decided(subject, "which key reaches it", partial(_unconsumed_queue, graph, queue))


def _unconsumed_queue(graph: Graph, queue: QueueSpec) -> Iterator[Finding]:
    subject = f"queue {queue.name!r}"
    keys = (flow.witness(budget=BUDGET) for flow in sorted(graph.into(queue.name), key=order))
    witness = next((key for key in keys if key is not None), queue.name)
    if queue.is_shared or queue.passive:
        severity: Severity = "info"
        message = f"{subject}: no handler names it; another service may consume it"
    else:
        severity = "warning"
        message = f"{subject}: no handler names it, and no other service can: add a handler, or leave it out"
    yield Finding("unconsumed_queue", severity, subject, witness, message)


def dead_letters(graph: Graph) -> Iterator[Finding]:
    known = {queue.name: queue for queue in graph.topology.all_queues}
    reported: set[str] = set()
    for queue in graph.topology.queues:
        path = [queue.name]
        target = queue.dead_letter_queue
        while target is not None and target in known and target not in path:
            path.append(target)
            target = known[target].dead_letter_queue
        subject = f"queue {queue.name!r}"
        witness = _key_into(graph, queue)
        if target is not None and target not in known and len(path) == 1:
            message = f"{subject}: its dead-letter queue {target!r} is not in the topology: add it to queues="
            yield Finding("missing_dead_letter_queue", "error", subject, witness, message)
        elif target == queue.name and queue.name not in reported:
            reported.update(path)
            way = " -> ".join(repr(name) for name in (*path, target))
            message = f"{subject}: dead letters go in a circle: {way}: end it with dead_letter=False"
            yield Finding("dead_letter_cycle", "error", subject, witness, message)


def _key_into(graph: Graph, queue: QueueSpec) -> str:
    try:
        keys = [flow.witness(budget=BUDGET) for flow in sorted(graph.into(queue.name), key=order)]
    except BudgetExceededError:
        keys = []
    return next((key for key in keys if key is not None), queue.name)
