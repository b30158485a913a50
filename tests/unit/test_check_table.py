"""Check: the table asks each question about each subject, in its order, and says what it cannot decide."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from taskroute import EventSpec, ExchangeSpec, Finding, HandlerRegistry, QueueSpec, Topology
from taskroute.graph.check.check import Check, check
from taskroute.graph.check.graph import Graph
from taskroute.keys.automaton import BudgetExceededError

media = ExchangeSpec(name="media")


class Video(BaseModel):
    id: str


class Task(BaseModel):
    file: str


def takes_task(body: Task) -> None: ...


def test_undecided_subject_is_reported_between_the_others() -> None:
    def look(_: Graph, queue: QueueSpec) -> Iterator[Finding]:
        yield Finding("unhandled_key", "warning", queue.name, None, "found")
        if queue.name == "one":
            raise BudgetExceededError

    queues = [QueueSpec(name="one"), QueueSpec(name="two")]
    table_row = Check(lambda graph: graph.topology.queues, "whether it is so", look)

    found = list(table_row.findings(Graph(Topology(queues=queues), ())))

    assert [(each.code, each.subject) for each in found] == [
        ("unhandled_key", "one"),
        ("undecided", "queue 'one'"),
        ("unhandled_key", "two"),
    ]
    assert str(found[1]) == "warning undecided: queue 'one': whether it is so: too hard to decide"


def test_findings_of_equal_severity_are_grouped_by_question() -> None:
    """Two events have the same two faults: the check reports one fault of both, and then the other."""
    uploaded = EventSpec(pattern="up.{x}.{y:#}", exchange=media, body=Video)
    deleted = EventSpec(pattern="del.{x}.{y:#}", exchange=media, body=Video)
    queue = QueueSpec(name="q", bindings=[media.bind("up.a"), media.bind("del.a")])
    registry = HandlerRegistry()
    for pattern in ("up.#", "del.#", "never"):
        registry.add(pattern, takes_task, queue=queue)
    topology = Topology(exchanges=[media], queues=[queue], events=[uploaded, deleted])

    errors = [(each.code, each.witness) for each in check(topology, registry.handlers) if each.severity == "error"]

    assert errors == [
        ("unfed_handler", None),
        ("event_unrouted", "up.x"),
        ("event_unrouted", "del.x"),
        ("event_body", "up.a"),
        ("event_body", "del.a"),
    ]


def test_dead_letter_cycle_is_reported_for_its_first_queue_only() -> None:
    """A queue that dead-letters into the cycle, and comes before it, is not part of it."""
    names = {"before": "two", "one": "three", "two": "one", "three": "two"}
    queues = [QueueSpec(name=name, dead_letter=target) for name, target in names.items()]

    found = [each for each in check(Topology(queues=queues), ()) if each.code == "dead_letter_cycle"]

    assert [each.subject for each in found] == ["queue 'one'"]
    assert "'one' -> 'three' -> 'two' -> 'one'" in found[0].message
