"""What a contract says is lost: exactly the keys that were handled and are not, tried by routing in both versions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from tests.kit.service_strategies import HEADERS, NOBODY, ServiceMessage, label_of, messages, services

from taskroute import Contract, DefinitionError, Difference, ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology
from taskroute.graph.contract import lost as lost_module


def fates(routes: Routes, message: ServiceMessage) -> dict[str, str]:
    """The queues that a message reaches, each with the label of the handler that takes it, or NOBODY."""
    exchange, key, at = message
    try:
        queues = routes.route(key, exchange=exchange, headers=HEADERS[at])
    except DefinitionError:  # no such exchange, or it is internal
        return {}
    return {queue: label_of(routes, queue, key) for queue in queues & {each.name for each in routes.topology.queues}}


def missed(old: Routes, new: Routes, message: ServiceMessage) -> Iterator[tuple[str, str]]:
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
