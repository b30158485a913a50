"""What a contract finds between two versions, and what it does not find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, field_validator, model_validator

from taskroute import (
    Contract,
    Depends,
    Difference,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Header,
    Message,
    QueueSpec,
    Routes,
    Topology,
)

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")])


class Order(BaseModel):
    number: int


class Addressed(Order):
    address: str


class Optional(Order):
    address: str = ""


class Checked(Order):
    @field_validator("number")
    @classmethod
    def check(cls, number: int) -> int:
        if number < 100:
            raise ValueError("too small")
        return number


class CheckedAddressed(Checked):
    address: str


class Prepared(Addressed):
    @model_validator(mode="before")
    @classmethod
    def fill(cls, data: Any) -> Any:
        return {"address": "", **data} if isinstance(data, dict) else data


def takes_order(body: Order) -> None: ...
def takes_addressed(body: Addressed) -> None: ...
def takes_optional(body: Optional) -> None: ...
def takes_checked(body: Checked) -> None: ...
def takes_checked_addressed(body: CheckedAddressed) -> None: ...
def takes_prepared(body: Prepared) -> None: ...
def takes_anything(message: Message) -> None: ...
def takes_text(body: str) -> None: ...
def takes_bytes(body: bytes) -> None: ...
def takes_word(number: str) -> None: ...
def takes_number(number: int) -> None: ...
def takes_words(number: tuple[str, ...]) -> None: ...
def takes_tenant(tenant: Annotated[str, Header("x-tenant")]) -> None: ...
def takes_any_tenant(tenant: Annotated[str, Header("x-tenant")] = "") -> None: ...
def takes_numbered_tenant(tenant: Annotated[int, Header("x-tenant")]) -> None: ...
def tenant_of(tenant: Annotated[str, Header("x-tenant")]) -> str:
    return tenant


def takes_provided(tenant: Annotated[str, Depends(tenant_of)]) -> None: ...


def ordered(body: Any, pattern: str = "order.{number}") -> EventSpec[Any]:
    return EventSpec(pattern=pattern, exchange=shop, body=body)


def contract_of(
    *registered: tuple[str, Callable[..., object]],
    queue: QueueSpec = orders,
    events: tuple[EventSpec[Any], ...] = (),
    exchanges: tuple[ExchangeSpec, ...] = (),
) -> Contract:
    registry = HandlerRegistry()
    for pattern, function in registered:
        registry.add(pattern, function, queue=queue)
    return Contract.of(Routes(Topology(exchanges=exchanges, queues=[queue], events=events), registry))


def found(old: Contract, new: Contract) -> list[Difference]:
    """What differs from an old one that was read from its file, besides what harms nobody."""
    return [each for each in new.differences(Contract.read(old.text)) if each.code != "compatible"]


def told(old: Contract, new: Contract) -> list[tuple[str, str]]:
    return [(each.code, each.name) for each in found(old, new)]


ANY = "order.#"


@pytest.mark.parametrize(
    ("before", "now", "codes"),
    [
        (takes_order, takes_addressed, ["refused"]),
        (takes_addressed, takes_order, []),
        (takes_order, takes_optional, []),
        (takes_checked, takes_order, []),
        (takes_order, takes_checked, ["refused"]),
        (takes_checked, takes_checked_addressed, ["refused"]),
        (takes_order, takes_prepared, ["undecided"]),
        (takes_order, takes_anything, []),
        (takes_anything, takes_order, ["refused"]),
        (takes_text, takes_order, ["refused"]),
        (takes_bytes, takes_text, ["refused"]),
        (takes_text, takes_bytes, []),
        (takes_order, takes_text, []),
        (takes_any_tenant, takes_tenant, ["refused"]),
        (takes_tenant, takes_any_tenant, []),
        (takes_tenant, takes_numbered_tenant, ["refused"]),
        (takes_anything, takes_provided, ["refused"]),
    ],
)
def test_handler_that_reads_less_is_told(
    before: Callable[..., object], now: Callable[..., object], codes: list[str]
) -> None:
    assert told(contract_of((ANY, before)), contract_of((ANY, now))) == [(code, f"orders:{ANY}") for code in codes]


def test_refused_body_is_shown_with_its_key() -> None:
    (difference,) = found(contract_of((ANY, takes_order)), contract_of((ANY, takes_addressed)))

    assert (difference.key, difference.exchange, difference.body) == ("order", "shop", '{"number":1}')
    assert difference.severity == "error"
    assert difference.message.endswith("address: missing")


def test_word_of_a_key_that_is_not_read_any_more_is_told() -> None:
    old, new = contract_of(("order.{number}", takes_word)), contract_of(("order.{number}", takes_number))

    (difference,) = found(old, new)

    assert (difference.code, difference.key, difference.body) == ("refused", "order.x", None)
    assert told(new, old) == []


def test_handler_that_another_one_replaces_for_its_keys_is_not_missed() -> None:
    old = contract_of(("order.{number}.paid", takes_order), (ANY, takes_anything))

    assert told(old, contract_of((ANY, takes_anything))) == []


def test_body_goes_to_the_handler_that_wins_now() -> None:
    """The pattern of the handler stays, and another one takes some of its keys and reads them otherwise."""
    old = contract_of((ANY, takes_order))
    new = contract_of((ANY, takes_order), ("order.paid", takes_addressed))

    (difference,) = found(old, new)

    assert (difference.code, difference.key) == ("refused", "order.paid")


def test_declared_event_alone_says_what_was_written() -> None:
    """What the handler would have read besides does not count where an event says what is sent."""
    event = ordered(Addressed)
    old = contract_of(("order.{number}", lambda body: None), events=(event,))
    new = contract_of(("order.{number}", takes_addressed), events=(event,))

    assert told(old, new) == []


def test_keys_that_no_event_has_are_read_as_before() -> None:
    event = ordered(Addressed, "order.{number}.paid")
    old, new = contract_of((ANY, takes_order), events=(event,)), contract_of((ANY, takes_addressed), events=(event,))

    (difference,) = found(old, new)

    assert difference.key is not None
    assert not event.pattern.matches(difference.key)


def test_event_that_writes_what_still_running_handlers_refuse_is_told() -> None:
    """The new version fits together; a worker of the old one reads the same queue until it is replaced."""
    old = contract_of((ANY, takes_addressed), events=(ordered(Addressed),))
    new = contract_of((ANY, takes_order), events=(ordered(Order),))

    (difference,) = found(old, new)

    assert (difference.code, difference.name) == ("refused", "event:shop:order.{number}")
    assert (difference.queue, difference.body) == (None, '{"number":1}')
    assert "as it still runs: address: missing" in difference.message


def test_event_that_writes_less_is_no_difference_that_counts() -> None:
    class Kind(BaseModel):
        kind: Literal["a", "b"]

    class LessKind(BaseModel):
        kind: Literal["a"]

    old = contract_of((ANY, takes_anything), events=(ordered(Kind),))

    assert told(old, contract_of((ANY, takes_anything), events=(ordered(LessKind),))) == []


def test_event_that_was_refused_before_is_not_told_for_another_key() -> None:
    """That handlers refuse what the event writes is a finding of `check()`, and no difference."""
    old = contract_of((ANY, takes_addressed), events=(ordered(Order, ANY.replace("#", "{rest:#}")),))
    new = contract_of((ANY, takes_addressed), events=(ordered(Order),))

    assert told(old, new) == []


def test_new_validator_of_a_declared_events_reader_is_undecided() -> None:
    event = ordered(Order)
    old, new = (
        contract_of(("order.*", takes_order), events=(event,)),
        contract_of(("order.*", takes_checked), events=(event,)),
    )

    assert told(old, new) == [("undecided", "orders:order.*")]


def test_queue_under_a_new_name_is_lost() -> None:
    renamed = QueueSpec(name="orders.2", bindings=[shop.bind("order.#")])

    (difference,) = found(contract_of((ANY, takes_order)), contract_of((ANY, takes_order), queue=renamed))

    assert (difference.code, difference.name, difference.key) == ("lost", "orders", "order")


def test_changed_argument_of_a_queue_has_to_be_replaced() -> None:
    changed = QueueSpec(name="orders", bindings=[shop.bind("order.#")], delivery_limit=5)

    (difference,) = found(contract_of((ANY, takes_order)), contract_of((ANY, takes_order), queue=changed))

    assert (difference.code, difference.name, difference.severity) == ("replace", "orders", "error")
    assert (
        "x-delivery-limit 20 -> 5: give it a new name, QueueSpec(name='orders.2', replaces='orders'"
        in difference.message
    )


def test_retry_delays_are_no_part_of_a_contract() -> None:
    changed = QueueSpec(name="orders", bindings=[shop.bind("order.#")], retry={"delays": (1, 2)})  # type: ignore[arg-type]

    assert told(contract_of((ANY, takes_order)), contract_of((ANY, takes_order), queue=changed)) == []


def test_exchange_of_another_type_has_to_be_replaced() -> None:
    fanout = ExchangeSpec(name="shop", type="fanout")
    changed = QueueSpec(name="orders", bindings=[fanout.bind()])

    assert told(contract_of((ANY, takes_order)), contract_of((ANY, takes_order), queue=changed)) == [
        ("replace", "exchange:shop")
    ]


def test_queue_of_somebody_else_is_not_to_be_replaced() -> None:
    before, now = (
        QueueSpec(name="orders", bindings=[shop.bind("order.#")], passive=True, delivery_limit=limit)
        for limit in (5, 6)
    )

    assert told(contract_of((ANY, takes_order), queue=before), contract_of((ANY, takes_order), queue=now)) == []


def test_alternate_exchange_that_goes_loses_what_nothing_else_takes() -> None:
    spare = ExchangeSpec(name="spare", type="fanout")
    main = ExchangeSpec(name="shop", alternate_exchange="spare")
    queue = QueueSpec(name="orders", bindings=[spare.bind()])
    old = contract_of(("#", takes_anything), queue=queue, exchanges=(main, spare))
    new = contract_of(("#", takes_anything), queue=queue, exchanges=(shop, spare))

    codes = told(old, new)

    assert ("lost", "orders:#") in codes
    assert ("replace", "exchange:shop") in codes


def test_key_through_headers_is_shown_with_its_headers() -> None:
    docs = ExchangeSpec(name="docs", type="headers")
    before, now = (QueueSpec(name="q", bindings=[docs.bind(headers={"kind": kind})]) for kind in ("pdf", "png"))
    old, new = contract_of(("#", takes_anything), queue=before), contract_of(("#", takes_anything), queue=now)

    (difference,) = found(old, new)

    assert (difference.code, dict(difference.headers)) == ("lost", {"kind": "pdf"})


def test_bindings_by_too_many_headers_are_undecided() -> None:
    docs = ExchangeSpec(name="docs", type="headers")
    bound = [docs.bind(headers={f"h{number}": 1}) for number in range(10)]
    old = contract_of(("#", takes_anything), queue=QueueSpec(name="q", bindings=bound))
    new = contract_of(("#", takes_anything), queue=QueueSpec(name="q", bindings=[*bound, docs.bind(headers={"k": 1})]))

    assert told(old, new) == [("undecided", "headers")]


@pytest.mark.parametrize(
    ("before", "now"), [(takes_order, takes_addressed), (takes_word, takes_number), (takes_any_tenant, takes_tenant)]
)
def test_allowance_of_a_refusal_stays_until_the_message_is_read(
    before: Callable[..., object], now: Callable[..., object]
) -> None:
    old, new = contract_of(("order.{number}", before)), contract_of(("order.{number}", now))
    allowed = new.allowing(found(old, new))

    assert [each.severity for each in allowed.differences(old) if each.code == "refused"] == ["info"]
    assert new.allowing(recorded=Contract.read(allowed.text)).allowed == allowed.allowed != ()
    assert old.allowing(recorded=allowed).allowed == ()


def test_allowance_of_a_replacement_stays_until_it_is_declared_as_before() -> None:
    changed = QueueSpec(name="orders", bindings=[shop.bind("order.#")], delivery_limit=5)
    old, new = contract_of((ANY, takes_order)), contract_of((ANY, takes_order), queue=changed)
    allowed = new.allowing(found(old, new))

    assert [each.allowed for each in allowed.differences(old)] == [True]
    assert new.allowing(recorded=allowed).allowed == allowed.allowed
    assert old.allowing(recorded=allowed).allowed == ()


def test_allowance_of_an_event_stays_until_it_does_not_write_that_body() -> None:
    old = contract_of((ANY, takes_addressed), events=(ordered(Addressed),))
    new = contract_of((ANY, takes_order), events=(ordered(Order),))
    allowed = new.allowing(found(old, new))

    assert [each.allowed for each in allowed.differences(old) if each.code != "compatible"] == [True]
    assert new.allowing(recorded=allowed).allowed == allowed.allowed
    assert old.allowing(recorded=allowed).allowed == ()


def test_queue_that_another_one_replaces_is_not_lost() -> None:
    replacing = QueueSpec(name="orders.2", bindings=[shop.bind("order.#")], replaces="orders", delivery_limit=5)

    assert told(contract_of((ANY, takes_order)), contract_of((ANY, takes_order), queue=replacing)) == []


def test_replacing_queue_is_compared_with_the_one_that_it_replaces() -> None:
    replacing = QueueSpec(name="orders.2", bindings=[shop.bind("order.paid")], replaces="orders")

    codes = told(contract_of((ANY, takes_order)), contract_of((ANY, takes_addressed), queue=replacing))

    assert codes == [("lost", f"orders:{ANY}"), ("refused", f"orders:{ANY}")]


def test_key_whose_handler_is_gone_is_lost_though_it_is_routed() -> None:
    old, new = (contract_of((pattern, takes_order)) for pattern in ("order.{number}.paid", "order.{number}"))

    (difference,) = found(old, new)

    assert (difference.code, difference.name, difference.key) == ("lost", "orders:order.{number}.paid", "order.x.paid")
    assert difference.message.endswith("reaches it, and no handler takes it any more")
