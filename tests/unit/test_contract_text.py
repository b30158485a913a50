"""The text of a contract: what people see of it in a review, and what must never be in it."""

from __future__ import annotations

import json
import re

from pydantic import BaseModel, Field, SecretStr

from taskroute import Contract, EventSpec, ExchangeSpec, HandlerRegistry, QueueSpec, Routes, Topology


class Order(BaseModel):
    number: int
    token: SecretStr = SecretStr("canary")
    webhook: str = Field(default="https://canary.example/hook", description="canary")


def routes_of(*, is_reversed: bool) -> Routes:
    """Return the routes of a service, whose parts are declared in one order or the other."""
    order = -1 if is_reversed else 1
    shop, audit = ExchangeSpec(name="shop"), ExchangeSpec(name="audit", type="fanout")
    paid = EventSpec(pattern="order.paid", exchange=shop, body=Order)
    sent = EventSpec(pattern="order.sent", exchange=shop, body=Order)
    bindings = [shop.bind("order.*"), shop.bind("refund.*"), audit.bind()][::order]
    queues = [QueueSpec(name=name, bindings=bindings) for name in ("orders", "mails", "bills")][::order]
    registry = HandlerRegistry()

    def handle(order: Order) -> None: ...

    for queue in queues:
        for pattern in ("order.*", "refund.*")[::order]:
            registry.add(pattern, handle, queue=queue)
    topology = Topology(exchanges=[shop, audit][::order], queues=queues, events=[paid, sent][::order])
    return Routes(topology, registry)


def test_contract_has_one_entry_a_line_in_an_order_of_its_own() -> None:
    text = Contract.of(routes_of(is_reversed=False)).text

    assert Contract.of(routes_of(is_reversed=True)).text == text
    sections = {name: each for name, each in json.loads(text).items() if isinstance(each, list)}
    lines = [line.strip().rstrip(",") for line in text.splitlines() if line.startswith("    ")]
    assert [json.loads(line) for line in lines] == [entry for entries in sections.values() for entry in entries]
    for entries in sections.values():
        written = [next(line for line in lines if json.loads(line) == entry) for entry in entries]
        assert written == sorted(written)
    assert {
        name: len(entries) for name, entries in sections.items() if name in ("exchanges", "queues", "bindings")
    } == {
        "exchanges": 2,
        "queues": 3,
        "bindings": 9,
    }


def test_contract_has_no_url_no_secret_and_no_hash() -> None:
    """So that it may stand in any repository, and two people who change it can merge."""
    text = Contract.of(routes_of(is_reversed=False)).text

    assert "://" not in text
    assert "canary" not in text
    assert not re.search(r"[0-9a-f]{16}", text)
