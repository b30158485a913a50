"""What a contract says of bodies agrees with pydantic, for random types and bodies."""

from __future__ import annotations

from typing import Any

from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.kit.body_strategies import Pair, pairs, records

from taskroute import Contract, Difference, EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("#")])


def contract_of(read: Any, written: Any = None) -> Contract:
    """A handler that reads one type, and perhaps an event that is written as another one."""

    def handle(body: Any) -> None: ...

    handle.__annotations__["body"] = read
    registry = HandlerRegistry()
    registry.add("#", handle, queue=orders)
    events = [] if written is None else [EventSpec(pattern="order", exchange=shop, body=written)]
    return Contract.of(Routes(Topology(queues=[orders], events=events), registry))


def reads(kind: Any, document: bytes) -> bool:
    if kind is str:  # what a handler takes as text, whatever it is
        return True
    if b"NaN" in document or b"Infinity" in document:
        return False
    try:
        TypeAdapter(kind).validate_json(document)
    except ValidationError:
        return False
    return True


def decided(differences: tuple[Difference, ...]) -> dict[str, Difference]:
    return {each.code: each for each in differences if each.code in ("refused", "undecided")}


def documents(data: st.DataObject, pair: Pair) -> list[bytes]:
    adapter = TypeAdapter(pair[0].type)
    return [adapter.dump_json(body, by_alias=True) for body in data.draw(st.lists(pair[0].values, max_size=5))]


@given(st.data(), records(pairs) | pairs)
@settings(max_examples=60)
def test_body_that_was_read_and_is_not_is_told(data: st.DataObject, pair: Pair) -> None:
    before, now = pair[0].type, pair[1].type
    old = Contract.read(contract_of(before).text)

    found = decided(contract_of(now).differences(old))

    note(next(iter(found), "read"))
    for document in documents(data, pair):
        if reads(before, document) and not reads(now, document):
            assert found, document
    if "refused" in found:
        shown = (found["refused"].body or "").encode()
        assert reads(before, shown)
        assert not reads(now, shown)


@given(st.data(), records(pairs) | pairs)
@settings(max_examples=60)
def test_new_body_that_what_still_runs_refuses_is_told(data: st.DataObject, pair: Pair) -> None:
    written, read = pair[0].type, pair[1].type
    old = Contract.read(contract_of(read).text)

    found = decided(contract_of(read, written).differences(old))

    note(next(iter(found), "read"))
    for document in documents(data, pair):
        if not reads(read, document) and written not in (str, bytes):
            assert found, document
    if "refused" in found and written is not str:
        assert not reads(read, (found["refused"].body or "").encode())


@given(records(pairs) | pairs)
@settings(max_examples=60)
def test_text_of_a_type_is_the_same_when_it_is_read_back(pair: Pair) -> None:
    contract = contract_of(pair[1].type, pair[0].type)

    assert Contract.read(contract.text).text == contract.text
