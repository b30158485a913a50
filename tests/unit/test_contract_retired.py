"""Contracts with queues that are retired: what they took is lost unless a new queue does their work."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskroute import Contract, ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")])
audit = QueueSpec(name="audit", bindings=[shop.bind("#")])
next_orders = QueueSpec(name="orders.2", bindings=[shop.bind("order.#")])


def pack(body: dict[str, str]) -> None: ...
def pack_list(body: list[str]) -> None: ...


def contract_of(*handled: tuple[QueueSpec, str, Callable[..., None]], retired: tuple[str, ...] = ()) -> Contract:
    registry = HandlerRegistry()
    for queue, pattern, function in handled:
        registry.add(pattern, function, queue=queue)
    topology = Topology(queues=list(dict.fromkeys(queue for queue, _, _ in handled)), retired=retired)
    return Contract.of(Routes(topology, registry))


def lost(old: Contract, new: Contract) -> list[tuple[str, str | None]]:
    found = Contract.read(new.text).differences(Contract.read(old.text))
    return [(each.name, each.key) for each in found if each.code != "compatible"]


BEFORE = contract_of((orders, "order.#", pack), (audit, "#", pack))


def test_retired_queue_is_not_lost_where_a_new_one_does_its_work() -> None:
    new = contract_of((next_orders, "order.#", pack), (audit, "#", pack), retired=("orders",))

    assert lost(BEFORE, new) == []


@pytest.mark.parametrize(("pattern", "found"), [("order.#", []), ("order.*", [("orders", "order")])])
def test_handler_of_every_queue_does_its_work_in_a_new_one(pattern: str, found: list[tuple[str, str]]) -> None:
    before, new = HandlerRegistry(), HandlerRegistry()
    before.add("order.#", pack)
    new.add(pattern, pack)

    old = Contract.of(Routes(Topology(queues=[orders]), before))

    assert lost(old, Contract.of(Routes(Topology(queues=[next_orders], retired=["orders"]), new))) == found


def test_new_queue_does_the_work_of_one_that_is_retired_and_of_no_other() -> None:
    new = contract_of((next_orders, "order.#", pack), (audit, "#", pack))

    assert lost(BEFORE, new) == [("orders", "order")]


def test_queue_that_was_there_before_does_not_do_the_work_of_a_retired_one() -> None:
    assert lost(BEFORE, contract_of((audit, "#", pack), retired=("orders",))) == [("orders", "order")]


@pytest.mark.parametrize(
    ("handled", "key"),
    [
        ([(QueueSpec(name="orders.2", bindings=[shop.bind("order.*")]), "order.#", pack)], "order"),
        ([(next_orders, "order.*", pack)], "order"),
        ([(next_orders, "order.#", pack_list)], "order"),
        ([(next_orders, "order.#", pack), (next_orders, "order.*.paid", pack_list)], "order.x.paid"),
    ],
    ids=["binding", "handler", "body", "winner"],
)
def test_key_of_a_retired_queue_that_nobody_reads_as_it_was_read_is_lost(
    handled: list[tuple[QueueSpec, str, Callable[..., None]]], key: str
) -> None:
    new = contract_of(*handled, (audit, "#", pack), retired=("orders",))

    assert lost(BEFORE, new) == [("orders", key)]


def test_retired_queues_stand_in_the_file_if_there_are_any() -> None:
    without = contract_of((audit, "#", pack))
    replacing = QueueSpec(name="orders.2", bindings=[shop.bind("order.#")], replaces="orders")

    assert '  "retired": [\n    {"name": "orders"}\n  ],\n' in contract_of((audit, "#", pack), retired=("orders",)).text
    assert "retired" not in without.text
    assert "retired" not in contract_of((replacing, "#", pack)).text
