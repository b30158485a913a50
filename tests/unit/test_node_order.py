"""NodeOrder: a fleet is spread over the nodes, and each client goes on to another node than the one it has lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from taskroute.broker.node_order import NodeOrder
from taskroute.broker.url import BrokerUrl

NAMES = st.sets(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=2, max_size=6)
KEYS = st.binary(min_size=1, max_size=16)


def nodes_of(names: set[str]) -> list[BrokerUrl]:
    return [BrokerUrl("amqp", name, 5672, "shop", "secret") for name in sorted(names)]


def orders(count: int) -> list[NodeOrder]:
    return [NodeOrder(str(number).encode()) for number in range(count)]


def test_fleet_is_spread_over_the_nodes() -> None:
    nodes = nodes_of({"one", "two", "three"})

    first = Counter(order.next(nodes).host for order in orders(3000))
    second = Counter(order.next(nodes).host for order in orders(3000) if order.next(nodes).host == "one")

    assert min(first.values()) > 900
    assert second.keys() == {"two", "three"}
    assert min(second.values()) > 400


@given(names=NAMES, key=KEYS)
def test_each_node_has_its_turn_before_one_comes_again(names: set[str], key: bytes) -> None:
    nodes, order = nodes_of(names), NodeOrder(key)

    turns = [order.next(nodes) for _ in range(2 * len(nodes))]

    assert set(turns[: len(nodes)]) == set(nodes)
    assert turns[len(nodes) :] == turns[: len(nodes)]


@given(names=NAMES, key=KEYS, data=st.data())
def test_order_of_the_others_is_the_same_without_a_node(names: set[str], key: bytes, data: st.DataObject) -> None:
    nodes, order = nodes_of(names), NodeOrder(key)
    gone = data.draw(st.sampled_from(nodes))

    left = order.of(node for node in nodes if node != gone)

    assert left == tuple(node for node in order.of(nodes) if node != gone)


@given(names=NAMES, key=KEYS, data=st.data())
def test_lost_node_is_not_the_next_and_the_first_is_preferred(names: set[str], key: bytes, data: st.DataObject) -> None:
    nodes, order = nodes_of(names), NodeOrder(key)
    ordered = order.of(nodes)
    for _ in range(data.draw(st.integers(1, len(nodes)))):
        lost = order.next(nodes)

    order.begin_anew()

    assert order.next(nodes) == (ordered[1] if lost == ordered[0] else ordered[0])


def test_credentials_that_change_keep_the_order() -> None:
    order = NodeOrder(b"key")
    before = [node.host for node in order.of(nodes_of({"one", "two", "three"}))]

    renewed = [BrokerUrl("amqp", name, 5672, "other", "renewed") for name in ("three", "one", "two")]

    assert [node.host for node in order.of(renewed)] == before


def test_single_node_is_always_the_first() -> None:
    nodes, order = nodes_of({"one"}), NodeOrder()

    for _ in range(3):
        assert order.next(nodes) == nodes[0]
        assert order.is_first
        order.begin_anew()
