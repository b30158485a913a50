"""The binding table of one exchange, the rules of headers, and the walk over exchanges, by a naive reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit.strategies import accepts, keys, token_lists, words_of

from taskroute.topology.routing import (
    BindingTable,
    Destination,
    ExchangeType,
    all_routing_keys,
    binding_table,
    headers_match,
    reachable_queues,
)

TYPES: tuple[ExchangeType, ...] = get_args(ExchangeType)
Arguments = Mapping[str, object]


# --- the naive reference ---


class Bound(NamedTuple):
    destination: Destination
    key: str
    arguments: Arguments


class Exchange(NamedTuple):
    type: ExchangeType
    alternate: str | None
    bindings: list[Bound]


def same_value(wanted: object, actual: object) -> bool:
    return type(wanted) is type(actual) and wanted == actual


def takes(kind: ExchangeType, bound: Bound, routing_keys: tuple[str, ...], headers: Arguments) -> bool:
    if kind == "fanout":
        return True
    if kind == "direct":
        return bound.key in routing_keys
    if kind == "topic":
        return any(accepts(words_of(bound.key), words_of(key)) for key in routing_keys)
    how = bound.arguments.get("x-match", "all")
    names = [name for name in bound.arguments if name != "x-match"]
    if how in ("all", "any"):
        names = [name for name in names if not name.startswith("x-")]
    hits = sum(name in headers and same_value(bound.arguments[name], headers[name]) for name in names)
    return hits == len(names) if how in ("all", "all-with-x") else hits > 0


def reference(
    name: str, routing_keys: tuple[str, ...], headers: Arguments, exchanges: Mapping[str, Exchange], seen: set[str]
) -> set[str]:
    if name in seen or name not in exchanges:
        return set()
    seen.add(name)
    exchange = exchanges[name]
    bound = [binding for binding in exchange.bindings if takes(exchange.type, binding, routing_keys, headers)]
    if not bound:
        return (
            set()
            if exchange.alternate is None
            else reference(exchange.alternate, routing_keys, headers, exchanges, seen)
        )
    queues = {binding.destination.name for binding in bound if binding.destination.kind == "queue"}
    for binding in bound:
        if binding.destination.kind == "exchange":
            queues |= reference(binding.destination.name, routing_keys, headers, exchanges, seen)
    return queues


# --- strategies ---

EXCHANGES = ("e0", "e1", "e2", "e3")
values = st.sampled_from(["a", "b", 1, 0, True, False])
names = st.sampled_from(["h", "k", "x-t"])
headers = st.dictionaries(names, values, max_size=3)
arguments = st.builds(
    lambda table, how: {**table, **({"x-match": how} if how else {})},
    st.dictionaries(names, values, max_size=2),
    st.sampled_from([None, "all", "any", "all-with-x", "any-with-x"]),
)
destinations = st.one_of(
    st.sampled_from(["q0", "q1", "q2", "q3"]).map(lambda name: Destination("queue", name)),
    st.sampled_from([*EXCHANGES, "gone"]).map(lambda name: Destination("exchange", name)),
)
bindings = st.lists(st.builds(Bound, destinations, token_lists(3).map(".".join), arguments), max_size=4)
exchanges = st.fixed_dictionaries(
    {
        name: st.builds(Exchange, st.sampled_from(TYPES), st.sampled_from([None, *EXCHANGES, "gone"]), bindings)
        for name in EXCHANGES
    }
)


class Node(NamedTuple):
    table: BindingTable
    alternate: str | None


def node(exchange: Exchange) -> Node:
    table = binding_table(exchange.type)
    for binding in exchange.bindings:
        table.add(*binding)
    return Node(table, exchange.alternate)


# --- the walk ---


@given(exchanges, st.lists(keys(3), min_size=1, max_size=3).map(tuple), headers)
def test_walk_reaches_the_queues_of_the_naive_reference(
    graph: dict[str, Exchange], routing_keys: tuple[str, ...], message_headers: dict[str, object]
) -> None:
    nodes = {name: node(exchange) for name, exchange in graph.items()}

    for start in EXCHANGES:
        reached = reachable_queues(start, routing_keys, message_headers, nodes)
        assert reached == reference(start, routing_keys, message_headers, graph, set())


def walk(graph: dict[str, Exchange], key: str = "a") -> set[str]:
    return reachable_queues("e0", [key], {}, {name: node(exchange) for name, exchange in graph.items()})


def to(name: str, key: str = "a") -> Bound:
    return Bound(Destination("exchange" if name.startswith("e") else "queue", name), key, {})


def test_walk_of_a_cycle_ends_and_reaches_its_queue() -> None:
    graph = {
        "e0": Exchange("topic", None, [to("e1", "#")]),
        "e1": Exchange("topic", None, [to("e0", "#"), to("q1", "a")]),
    }

    assert walk(graph) == {"q1"}


def test_alternate_exchange_takes_only_what_no_binding_takes() -> None:
    graph = {
        "e0": Exchange("direct", "e1", [to("q0", "a")]),
        "e1": Exchange("fanout", None, [to("q1")]),
    }

    assert walk(graph, "a") == {"q0"}
    assert walk(graph, "b") == {"q1"}


def test_binding_to_exchange_without_queue_keeps_alternate_out() -> None:
    """A message that a binding takes is routed, even where it reaches no queue in the end."""
    graph = {
        "e0": Exchange("topic", "e2", [to("e1", "#")]),
        "e1": Exchange("direct", None, []),
        "e2": Exchange("fanout", None, [to("q2")]),
    }

    assert walk(graph) == set()


def test_alternate_exchanges_chain_and_may_form_a_cycle() -> None:
    graph = {
        "e0": Exchange("direct", "e1", []),
        "e1": Exchange("direct", "e0", [to("q1", "a")]),
    }

    assert walk(graph, "a") == {"q1"}
    assert walk(graph, "b") == set()


def test_missing_exchange_is_passed_over() -> None:
    assert walk({"e0": Exchange("topic", "e9", [])}) == set()
    assert walk({"e0": Exchange("topic", None, [to("e9", "#"), to("q0", "#")])}) == {"q0"}


# --- tables ---


@given(st.sampled_from(TYPES), bindings, bindings, st.lists(keys(3), max_size=2), headers)
def test_removed_binding_leaves_nothing(
    kind: ExchangeType, kept: list[Bound], removed: list[Bound], routing_keys: list[str], message_headers: Arguments
) -> None:
    table, untouched = binding_table(kind), binding_table(kind)

    for binding in [*removed, *kept]:
        table.add(*binding)
    for binding in removed:
        table.discard(*binding)
    for binding in kept:
        table.add(*binding)  # `removed` may have held it as well
        untouched.add(*binding)

    assert table.destinations(routing_keys, message_headers) == untouched.destinations(routing_keys, message_headers)


@pytest.mark.parametrize("kind", TYPES)
def test_binding_added_twice_and_removed_twice_is_gone(kind: ExchangeType) -> None:
    table = binding_table(kind)
    destination = Destination("queue", "q")

    table.add(destination, "a", {"h": "v"})
    table.add(destination, "a", {"h": "v"})
    assert table.destinations(["a"], {"h": "v"}) == {destination}

    table.discard(destination, "a", {"h": "v"})
    table.discard(destination, "a", {"h": "v"})
    assert table.destinations(["a"], {"h": "v"}) == set()


@pytest.mark.parametrize("kind", TYPES)
def test_bindings_with_different_arguments_are_separate(kind: ExchangeType) -> None:
    table = binding_table(kind)
    destination = Destination("queue", "q")
    table.add(destination, "a", {"h": 1})
    table.add(destination, "a", {"h": True})

    table.discard(destination, "a", {"h": 1})

    assert table.destinations(["a"], {"h": True}) == {destination}


def test_headers_table_keeps_bool_and_number_apart() -> None:
    """AMQP has a type for each, while Python holds True and 1 to be equal."""
    table = binding_table("headers")
    destination = Destination("queue", "q")

    table.add(destination, "", {"h": 1})
    table.add(destination, "", {"h": True})

    assert table.destinations([""], {"h": True}) == {destination}
    assert table.destinations([""], {"h": 1}) == {destination}
    assert table.destinations([""], {"h": False}) == set()


@pytest.mark.parametrize("kind", TYPES)
def test_table_ignores_the_order_of_arguments(kind: ExchangeType) -> None:
    table = binding_table(kind)
    destination = Destination("queue", "q")
    table.add(destination, "a", {"h": 1, "k": 2})

    table.discard(destination, "a", {"k": 2, "h": 1})

    assert table.destinations(["a"], {"h": 1, "k": 2}) == set()


# --- headers ---


@pytest.mark.parametrize(
    ("binding", "message", "matches"),
    [
        ({"f": "pdf", "t": "log"}, {"f": "pdf", "t": "log", "z": 1}, True),
        ({"f": "pdf", "t": "log"}, {"f": "pdf"}, False),
        ({"f": "pdf", "t": "log", "x-match": "all"}, {"f": "pdf", "t": "zip"}, False),
        ({"f": "pdf", "t": "log", "x-match": "any"}, {"f": "pdf"}, True),
        ({"f": "pdf", "t": "log", "x-match": "any"}, {"f": "zip"}, False),
        # an empty set
        ({}, {}, True),
        ({}, {"f": "pdf"}, True),
        ({"x-match": "all"}, {}, True),
        ({"x-match": "any"}, {"f": "pdf"}, False),
        ({"x-match": "all-with-x"}, {}, True),
        ({"x-match": "any-with-x"}, {"f": "pdf"}, False),
        # names that start with x-
        ({"x-tenant": "a"}, {"x-tenant": "b"}, True),
        ({"x-tenant": "a", "x-match": "any"}, {"x-tenant": "a"}, False),
        ({"x-tenant": "a", "x-match": "all-with-x"}, {"x-tenant": "b"}, False),
        ({"x-tenant": "a", "x-match": "all-with-x"}, {"x-tenant": "a"}, True),
        ({"x-tenant": "a", "f": "pdf", "x-match": "any-with-x"}, {"x-tenant": "a"}, True),
        ({"x-tenant": "a", "x-match": "any-with-x"}, {"x-tenant": "b"}, False),
        ({"x-match": "all-with-x", "f": "pdf"}, {"f": "pdf", "x-match": "any"}, True),
        # values
        ({"n": 1}, {"n": True}, False),
        ({"n": True}, {"n": 1}, False),
        ({"n": 0}, {"n": False}, False),
        ({"n": True}, {"n": True}, True),
        ({"n": 1}, {"n": "1"}, False),
        ({"n": ""}, {}, False),
        ({"n": None}, {"n": "anything"}, True),
        ({"n": None}, {}, False),
        ({"n": "v"}, {"n": None}, False),
        ({"N": "v"}, {"n": "v"}, False),
    ],
)
def test_headers_match_by_the_rules_of_the_broker(binding: Arguments, message: Arguments, matches: bool) -> None:
    assert headers_match(binding, message) is matches


@given(arguments, headers)
def test_headers_match_as_the_naive_reference_does(binding: Arguments, message: Arguments) -> None:
    bound = Bound(Destination("queue", "q"), "", binding)

    assert headers_match(binding, message) == takes("headers", bound, (), message)


# --- CC and BCC ---


def test_cc_and_bcc_are_further_routing_keys() -> None:
    assert all_routing_keys("a", {}) == ("a",)
    assert all_routing_keys("a", {"CC": ["b", "c"], "BCC": ("d",)}) == ("a", "b", "c", "d")


@pytest.mark.parametrize("value", ["b", 1, None, ["b", 1], [None], {"b": 1}, [b"b"]])
@pytest.mark.parametrize("name", ["CC", "BCC"])
def test_cc_that_is_not_a_list_of_keys_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"the header {name} is a list of routing keys"):
        all_routing_keys("a", {name: value})
