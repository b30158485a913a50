"""Checks of queues: whether each is consumed, and where its dead letters end."""

from __future__ import annotations

from collections.abc import Iterator

from taskroute.graph.check.finding import Finding, Severity, name_of
from taskroute.graph.check.graph import Graph
from taskroute.graph.check.ways import find_key
from taskroute.keys.automaton import BudgetExceededError
from taskroute.topology.queue import QueueSpec


def unnamed(graph: Graph) -> Iterator[QueueSpec]:
    """Yield the queues that no handler names, but for those that take dead letters."""
    takes_dead_letters = {queue.dead_letter_queue for queue in graph.topology.queues}
    left_out = graph.named | takes_dead_letters
    return (queue for queue in graph.topology.queues if queue.name not in left_out)


def unconsumed(graph: Graph, queue: QueueSpec) -> Iterator[Finding]:
    """Find that no handler names a queue, and whether another service can consume it."""
    if queue.is_shared or queue.passive:
        severity: Severity = "info"
        problem = "no handler names it; another service may consume it"
    else:
        severity = "warning"
        problem = "no handler names it, and no other service can: add a handler, or leave it out"
    yield Finding(
        code="unconsumed_queue",
        severity=severity,
        subject=name_of(queue),
        witness=_key_into(graph, queue),
        message=f"{name_of(queue)}: {problem}",
    )


def with_dead_letters(graph: Graph) -> Iterator[QueueSpec]:
    """Yield the queues that have a dead-letter queue."""
    return (queue for queue in graph.topology.queues if queue.dead_letter_queue is not None)


def dead_letters(graph: Graph, queue: QueueSpec) -> Iterator[Finding]:
    """Find that a queue's dead-letter queue is not there, or that dead letters go in a circle."""
    if queue.dead_letter_queue not in graph.queues:
        yield Finding(
            code="missing_dead_letter_queue",
            severity="error",
            subject=name_of(queue),
            witness=_key_into_or_name(graph, queue),
            message=f"{name_of(queue)}: its dead-letter queue {queue.dead_letter_queue!r} is not in the topology: "
            f"add it to queues=",
        )
    circle = _circle(graph, queue)
    if circle and queue.name == next(name for name in graph.queues if name in circle):  # reported once
        yield Finding(
            code="dead_letter_cycle",
            severity="error",
            subject=name_of(queue),
            witness=_key_into_or_name(graph, queue),
            message=f"{name_of(queue)}: dead letters go in a circle: "
            f"{' -> '.join(map(repr, [*circle, queue.name]))}: end it with dead_letter=False",
        )


def _circle(graph: Graph, queue: QueueSpec) -> list[str]:
    """Return the queues that dead letters of a queue go through until they are back, none if they never are."""
    path = [queue.name]
    target = queue.dead_letter_queue
    while target in graph.queues and target not in path:
        path.append(target)
        target = graph.queues[target].dead_letter_queue
    return path if target == queue.name else []


def _key_into(graph: Graph, queue: QueueSpec) -> str:
    """Return a key that the bindings of a queue let in, or that the default exchange has for it."""
    key = find_key(graph.ways.into(queue))
    return queue.name if key is None else key


def _key_into_or_name(graph: Graph, queue: QueueSpec) -> str:
    """Return the same; the queue's name too where it is too hard to decide, as what is wrong does not depend on it."""
    try:
        return _key_into(graph, queue)
    except BudgetExceededError:
        return queue.name
