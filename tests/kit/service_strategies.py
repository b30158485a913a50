"""Random services for contracts: exchanges of all kinds bound to each other, a few queues, handlers by short keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st
from tests.kit.strategies import all_keys, token_lists

from taskroute import (
    AmbiguousHandlerError,
    DuplicateHandlerError,
    ExchangeSpec,
    HandlerRegistry,
    QueueSpec,
    Routes,
    Topology,
)

EXCHANGES = ("one", "two", "three")
QUEUES = ("a", "b.b", "c")
HEADERS: tuple[dict[str, Any], ...] = ({}, {"h": 1}, {"h": 2}, {"g": 1}, {"h": 1, "g": 1}, {"h": 2, "g": 1})
NOBODY = "nobody"
KEYS = [".".join(words) for words in all_keys(2)]


def a_handler() -> Callable[[], None]:
    """Return a function that is another handler's than any before: patterns of one function may overlap."""

    def handle() -> None: ...

    return handle


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    names = draw(st.lists(st.sampled_from(EXCHANGES), unique=True, min_size=1))
    plain = [
        ExchangeSpec(name=name, type=draw(st.sampled_from(("topic", "topic", "direct", "fanout", "headers"))))
        for name in names
    ]
    exchanges = [
        each.model_copy(
            update={
                "internal": draw(st.integers(0, 4)) == 0,
                "alternate_exchange": draw(st.sampled_from([None, None, *names])),
                "bindings": tuple(draw(bindings(plain))) if draw(st.booleans()) else (),
            }
        )
        for each in plain
    ]
    queues = [
        QueueSpec(name=name, type="classic", bindings=draw(bindings(plain)))
        for name in draw(st.lists(st.sampled_from(QUEUES), unique=True))
    ]
    return Topology(exchanges=exchanges, queues=queues)


@st.composite
def bindings(draw: st.DrawFn, exchanges: list[ExchangeSpec]) -> list[Any]:
    found = []
    for source in draw(st.lists(st.sampled_from(exchanges), max_size=2)):
        if source.type == "headers":
            asked = draw(st.sampled_from(HEADERS))
            found.append(source.bind(headers=asked, match="any" if asked and draw(st.booleans()) else "all"))
        elif source.type == "fanout":
            found.append(source.bind())
        else:
            found.append(source.bind(".".join(draw(token_lists(2)))))
    return found


@st.composite
def services(draw: st.DrawFn) -> Routes:
    topology = draw(topologies())
    registry = HandlerRegistry()
    names = [queue.name for queue in topology.queues]
    for _ in range(draw(st.integers(0, 3))):
        queue = draw(st.sampled_from([None, *names]))
        try:
            if draw(st.integers(0, 4)) == 0:
                registry.fallback(queue=queue)(a_handler())
            else:
                registry.add(".".join(draw(token_lists(2))), a_handler(), queue=queue)
        except DuplicateHandlerError:
            continue
    try:
        return Routes(topology, registry)
    except AmbiguousHandlerError:
        assume(False)
        raise


ServiceMessage = tuple[str, str, int]
"""Exchange, routing key, and which of the HEADERS it has."""


def messages(routes: Routes) -> Iterator[ServiceMessage]:
    for key in (*KEYS, *QUEUES):
        yield "", key, 0
        for exchange in routes.topology.exchanges:
            for at in range(len(HEADERS)) if has_headers(routes) else (0,):
                yield exchange.name, key, at


def has_headers(routes: Routes) -> bool:
    return any(exchange.type == "headers" for exchange in routes.topology.exchanges)


def label_of(routes: Routes, queue: str, key: str) -> str:
    match = routes.resolve(queue, key)
    if match is None:
        return NOBODY
    return "fallback" if match.handler.is_fallback else str(match.handler.pattern)
