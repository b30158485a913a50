"""What a contract says is lost: exactly the keys that were handled and are not, tried by routing in both versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.kit.strategies import all_keys, token_lists

from taskroute import (
    AmbiguousHandlerError,
    Contract,
    DefinitionError,
    Difference,
    DuplicateHandlerError,
    ExchangeSpec,
    HandlerRegistry,
    QueueSpec,
    Routes,
    Topology,
)
from taskroute.graph.contract import lost as lost_module

EXCHANGES = ("one", "two", "three")
QUEUES = ("a", "b.b", "c")
HEADERS: tuple[dict[str, Any], ...] = ({}, {"h": 1}, {"h": 2}, {"g": 1}, {"h": 1, "g": 1}, {"h": 2, "g": 1})
NOBODY = "nobody"
KEYS = [".".join(words) for words in all_keys(2)]


def handle() -> None: ...


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
                registry.fallback(queue=queue)(handle)
            else:
                registry.add(".".join(draw(token_lists(2))), handle, queue=queue)
        except DuplicateHandlerError:
            continue
    try:
        return Routes(topology, registry)
    except AmbiguousHandlerError:
        assume(False)
        raise


Message = tuple[str, str, int]
"""Exchange, routing key, and which of the HEADERS it has."""


def messages(routes: Routes) -> Iterator[Message]:
    for key in (*KEYS, *QUEUES):
        yield "", key, 0
        for exchange in routes.topology.exchanges:
            for at in range(len(HEADERS)) if has_headers(routes) else (0,):
                yield exchange.name, key, at


def has_headers(routes: Routes) -> bool:
    return any(exchange.type == "headers" for exchange in routes.topology.exchanges)


def fates(routes: Routes, message: Message) -> dict[str, str]:
    """The queues that a message reaches, each with the label of the handler that takes it, or NOBODY."""
    exchange, key, at = message
    try:
        queues = routes.route(key, exchange=exchange, headers=HEADERS[at])
    except DefinitionError:  # no such exchange, or it is internal
        return {}
    return {queue: label_of(routes, queue, key) for queue in queues & {each.name for each in routes.topology.queues}}


def label_of(routes: Routes, queue: str, key: str) -> str:
    match = routes.resolve(queue, key)
    if match is None:
        return NOBODY
    return "fallback" if match.handler.is_fallback else str(match.handler.pattern)


def missed(old: Routes, new: Routes, message: Message) -> Iterator[tuple[str, str]]:
    """The queues that a message does not reach any more, or where nobody takes it any more, with who took it.

    What a handler's queue has dead-lettered before is not missed.
    """
    now = fates(new, message)
    for queue, label in fates(old, message).items():
        is_dead = label == NOBODY and queue in old.handled_queues
        if not is_dead and (queue not in now or (label != NOBODY and now[queue] == NOBODY)):
            yield queue, label


def lost(old: Routes, new: Routes) -> list[Difference]:
    written = Contract.read(Contract.of(old).text)
    return [each for each in Contract.of(new).differences(written) if each.code == "lost"]


@given(services(), services())
@settings(max_examples=60)
def test_exactly_what_no_message_reaches_any_more_is_lost(old: Routes, new: Routes) -> None:
    """Each queue and handler that a short message shows is told, and each that is told is shown by its message."""
    found = lost(old, new)
    names = {each.name for each in found}

    for message in messages(old):
        for queue, label in missed(old, new, message):
            assert names & {queue, f"{queue}:{label}"}
    for each in found:
        shown = (each.exchange or "", each.key or "", HEADERS.index(dict(each.headers)))
        assert {each.name} & {name for queue, label in missed(old, new, shown) for name in (queue, f"{queue}:{label}")}


@given(services())
@settings(max_examples=20)
def test_contract_is_read_as_it_was_written_and_differs_in_nothing(routes: Routes) -> None:
    contract = Contract.of(routes)

    again = Contract.read(contract.text)

    assert again == contract
    assert contract.differences(again) == ()


def test_loss_that_is_too_hard_to_find_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def routes(key: str) -> Routes:
        queue = QueueSpec(name="a", bindings=[ExchangeSpec(name="one").bind(key)])
        return Routes(Topology(queues=[queue]), HandlerRegistry())

    old, new = Contract.of(routes("#.a.#.b.#")), Contract.of(routes("#.b.#.a.#"))
    monkeypatch.setattr(lost_module, "BUDGET", 0)

    found = new.differences(old)

    assert [(each.code, each.name) for each in found if each.code != "compatible"] == [("undecided", "a")]
