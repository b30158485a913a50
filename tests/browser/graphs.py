"""Topologies with handlers for the page: one of each thing, one with hostile names, and random ones."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, RetryPolicy, Routes, Topology
from taskroute.errors import AmbiguousHandlerError, DuplicateHandlerError
from taskroute.graph.drawing.counts import Counts
from taskroute.graph.drawing.html import as_html
from taskroute.graph.drawing.picture import Picture, picture_of
from taskroute.topology.exchange import BindingSpec, Match

KEYS = ("a", "a.b", "b.a", "", "a..b", "c", "a.b.c", "*", "#", "q0", "q1.retry.2000", "q2.dead")
BINDING_KEYS = ("#", "a.#", "*", "*.b", "a.b", "#.a.#", "", "a", "#.b", "*.*")
PATTERNS = ("#", "a.#", "{x}", "{x}.b", "a.b", "#.a.#", "", "a", "{y:#}.b", "a.{y:#}", "*.*", "{x}.{y}", "a.{rest:#}.c")
EVENTS = ("a", "{x}.b", "a.{y:#}", "{x}")
HEADERS: tuple[dict[str, Any], ...] = (
    {},
    {"n": 1},
    {"n": True},
    {"n": "1", "t": "x"},
    {"x-t": "x"},
    {"t": "x", "n": 2**62 + 1},
    {"n": 2**62},
    {"n": 1.0, "CC": ["a.b", "q1"]},
    {"BCC": ["b.a"], "t": None},
)


def named(name: str) -> Callable[..., None]:
    """Return a function of that name."""

    def handle(body: bytes) -> None: ...

    handle.__qualname__ = handle.__name__ = name
    return handle


def page_of(topology: Topology, registry: HandlerRegistry, *, counts: Counts | None = None, title: str = "shop") -> str:
    """Return the page."""
    drawn = picture_of(topology, registry.handlers)
    picture = Picture(drawn.nodes, drawn.edges, counts)
    findings = Routes(topology, registry).check()
    return as_html(picture, topology, registry.handlers, findings, title)


def shop() -> tuple[Topology, HandlerRegistry]:
    """Return one of each: exchanges of all types, alternates, retries, a handler for any queue, a finding."""
    unrouted = ExchangeSpec(name="unrouted", type="fanout")
    orders = ExchangeSpec(name="orders", alternate_exchange=unrouted)
    reports = ExchangeSpec(name="reports", type="headers", bindings=[orders.bind("report.#")])
    commands = ExchangeSpec(name="commands", type="direct")
    paid = EventSpec(pattern="order.{number}.paid", exchange=orders, body=dict)
    packing = QueueSpec(name="packing", bindings=[paid, orders.bind("order.*.late")], retry=RetryPolicy(delays=(5, 60)))
    pdf = QueueSpec(name="pdf", bindings=[reports.bind(headers={"format": "pdf"})], retry=False)
    lost = QueueSpec(name="lost", bindings=[unrouted.bind()], retry=False, dead_letter=False)
    jobs = QueueSpec(name="jobs", bindings=[commands.bind("stop")], retry=False, dead_letter=lost)
    registry = HandlerRegistry()
    registry.add("order.{number}.paid", named("pack"), queue=packing)
    registry.add("order.#", named("remind"), queue=packing)
    registry.add("report.#", named("print_it"), queue=pdf)
    registry.add("stop", named("stop"), queue=jobs)
    registry.fallback()(named("leftover"))
    exchanges = [orders, unrouted, reports, commands]
    return Topology(exchanges=exchanges, queues=[packing, pdf, lost, jobs], events=[paid]), registry


def random_graph(chance: random.Random) -> Routes:
    """Return exchanges bound to each other, in circles too, queues with retries, and handlers that fit."""
    names = [f"e{number}" for number in range(chance.randint(1, 4))]
    bare = [
        ExchangeSpec(name=name, type=chance.choice(("topic", "topic", "direct", "fanout", "headers"))) for name in names
    ]

    def bindings(most: int) -> list[BindingSpec]:
        return [_binding(chance, chance.choice(bare)) for _ in range(chance.randint(0, most))]

    exchanges = [
        ExchangeSpec(
            name=each.name,
            type=each.type,
            internal=chance.random() < 0.1,
            alternate_exchange=chance.choice(names) if chance.random() < 0.4 else None,
            bindings=bindings(2),
        )
        for each in bare
    ]
    queues = [
        QueueSpec(
            name=f"q{number}",
            bindings=bindings(3),
            retry=chance.choice((False, RetryPolicy(delays=(1, 2)), RetryPolicy(delays=(2, 2, 3)))),
            dead_letter=chance.choice((None, None, False)),
        )
        for number in range(chance.randint(1, 4))
    ]
    public = [each.name for each in exchanges if not each.internal]
    events = [EventSpec(pattern=chance.choice(EVENTS), exchange=name, body=dict) for name in public[:2]]
    topology = Topology(exchanges=exchanges, queues=queues, events=events)
    kept: list[tuple[str | None, str | None, int]] = []
    for number in range(chance.randint(0, 8)):
        entry = (chance.choice((None, *PATTERNS)), chance.choice((None, *(queue.name for queue in queues))), number)
        try:
            Routes(topology, _registry([*kept, entry]))
        except (AmbiguousHandlerError, DuplicateHandlerError):
            continue
        kept.append(entry)
    return Routes(topology, _registry(kept))


def _registry(entries: list[tuple[str | None, str | None, int]]) -> HandlerRegistry:
    registry = HandlerRegistry()
    for pattern, queue, number in entries:
        if pattern is None:
            registry.fallback(queue=queue)(named(f"f{number}"))
        else:
            registry.add(pattern, named(f"f{number}"), queue=queue)
    return registry


def _binding(chance: random.Random, source: ExchangeSpec) -> BindingSpec:
    if source.type == "topic":
        return source.bind(chance.choice(BINDING_KEYS))
    if source.type == "direct":
        return source.bind(chance.choice(KEYS))
    if source.type == "fanout":
        return source.bind()
    wanted = dict(chance.choice(HEADERS[:-2]))
    matches: list[Match] = ["all-with-x", "any-with-x"] if "x-t" in wanted else ["all", "any"]
    return source.bind(headers=wanted, match=chance.choice(matches) if wanted else "all")


def random_message(chance: random.Random, topology: Topology) -> dict[str, str]:
    """Return a message as the page asks for it: its headers are JSON."""
    sources = [exchange.name for exchange in topology.exchanges if not exchange.internal]
    return {
        "exchange": chance.choice([*sources, *sources, ""]),
        "key": chance.choice(KEYS),
        "headers": json.dumps(chance.choice(HEADERS)),
    }
