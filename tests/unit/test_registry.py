"""HandlerRegistry: which handler takes a key does not depend on the order of registration."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.strategies import all_keys, keys, token_lists

from taskroute import (
    AmbiguousHandlerError,
    ConfigurationError,
    DuplicateHandlerError,
    EventSpec,
    HandlerRegistry,
    HandlerSignatureError,
    PatternError,
    QueueSpec,
    RetryPolicy,
    Routes,
    RoutingPattern,
    Topology,
    UnknownQueueError,
)
from taskroute.handlers.resolver import RESOLVED_KEYS, Resolver

Entry = tuple[str, str | None]  # pattern, queue


def named(name: str) -> Callable[..., None]:
    def function(body: bytes) -> None: ...

    function.__qualname__ = name
    return function


def registry_of(entries: list[Entry]) -> HandlerRegistry:
    registry = HandlerRegistry()
    for pattern, queue in entries:
        registry.add(pattern, named(f"{pattern} {queue}"), queue=queue)
    return registry


def winner(registry: HandlerRegistry, queue: str, key: str) -> str | None:
    try:
        match = registry.resolve(queue, key)
    except AmbiguousHandlerError:
        return "ambiguous"
    return None if match is None else match.handler.function.__qualname__


def same_keys(one: str, other: str) -> bool:
    return all(RoutingPattern(one).matches(key) == RoutingPattern(other).matches(key) for key in KEYS)


KEYS = [".".join(words) for words in all_keys(4)]
patterns = token_lists(3).map(".".join)
entries = st.lists(st.tuples(patterns, st.sampled_from(["q", None])), min_size=1, max_size=4)


@settings(max_examples=60)
@given(entries, st.data())
def test_order_of_registration_does_not_change_the_handler(found: list[Entry], data: st.DataObject) -> None:
    distinct = [
        entry
        for at, entry in enumerate(found)
        if not any(entry[1] == other[1] and same_keys(entry[0], other[0]) for other in found[:at])
    ]
    shuffled = data.draw(st.permutations(distinct))
    first, second = registry_of(distinct), registry_of(shuffled)

    for key in KEYS[::3]:
        assert winner(first, "q", key) == winner(second, "q", key)


@settings(max_examples=100)
@given(st.lists(patterns, min_size=1, max_size=4), keys(4))
def test_handler_with_the_narrowest_pattern_wins(found: list[str], key: str) -> None:
    """Its keys are inside those of every other pattern that matches; without such a handler a key is ambiguous."""
    distinct = [one for at, one in enumerate(found) if not any(same_keys(one, other) for other in found[:at])]
    matching = [one for one in distinct if RoutingPattern(one).matches(key)]
    inside = {one: {other for other in KEYS if RoutingPattern(one).matches(other)} for one in matching}
    best = [one for one in matching if all(inside[one] <= inside[other] for other in matching)]
    expected = f"{best[0]} None" if best else "ambiguous" if matching else None
    registry = HandlerRegistry()
    names = {one: str(number) for number, one in enumerate(distinct)}
    for one in distinct:
        registry.add(one, named(names[one]))

    found_winner = winner(registry, "any", key)

    if expected in (None, "ambiguous"):
        assert found_winner == expected
    else:
        assert found_winner == names[best[0]]


def test_tier_of_handler_comes_before_specificity() -> None:
    """A handler of the queue comes first, then one of any queue, then the fallbacks in the same order."""
    registry = HandlerRegistry()
    registry.add("#", named("own"), queue="q")
    registry.add("a.b", named("any"))
    registry.fallback(queue="q")(named("own fallback"))
    registry.fallback()(named("any fallback"))

    assert winner(registry, "q", "a.b") == "own"
    assert winner(registry, "other", "a.b") == "any"
    assert winner(registry, "other", "c") == "any fallback"

    narrow = HandlerRegistry()
    narrow.add("a", named("own"), queue="q")
    narrow.fallback(queue="q")(named("own fallback"))
    narrow.fallback()(named("any fallback"))

    assert winner(narrow, "q", "b") == "own fallback"
    assert HandlerRegistry().resolve("q", "a") is None


def test_resolved_key_brings_its_captures() -> None:
    registry = HandlerRegistry()
    registry.add("log.{path:#}.{level}", named("log"))

    match = registry.resolve("q", "log.eu.web.error")

    assert match is not None
    assert match.captures == {"path": ("eu", "web"), "level": "error"}
    assert match.handler.function.__qualname__ == "log"


@pytest.mark.parametrize("order", list(itertools.permutations(["video.*", "*.upload", "video.upload"])))
def test_handler_for_the_shared_keys_settles_an_ambiguity(order: tuple[str, ...]) -> None:
    """Without it, Routes names a key that two patterns share, neither of them inside the other."""
    topology = Topology(queues=[QueueSpec(name="q")])
    Routes(topology, registry_of([(pattern, "q") for pattern in order]))

    with pytest.raises(AmbiguousHandlerError, match=r"video\.\*.*\*\.upload|\*\.upload.*video\.\*") as caught:
        Routes(topology, registry_of([(pattern, "q") for pattern in order if pattern != "video.upload"]))

    assert "'video.upload'" in str(caught.value)


def test_handlers_of_different_queues_are_never_ambiguous() -> None:
    topology = Topology(queues=[QueueSpec(name="q"), QueueSpec(name="r")])

    Routes(topology, registry_of([("video.*", "q"), ("*.upload", "r"), ("*.*", None)]))


@pytest.mark.parametrize(("one", "other"), [("a.*", "a.{x}"), ("#.*", "*.#"), ("#.#", "#")])
def test_second_handler_for_the_same_keys_is_refused(one: str, other: str) -> None:
    """The registry stays as it was, and the same keys are free in another queue."""
    registry = HandlerRegistry()
    registry.add(one, named("first"), queue="q")

    with pytest.raises(DuplicateHandlerError, match=r"second.*first"):
        registry.add(other, named("second"), queue="q")
    assert len(registry.handlers) == 1

    registry.add(other, named("elsewhere"), queue="r")


def test_include_is_all_or_nothing_and_idempotent() -> None:
    one, other = registry_of([("a", "q")]), registry_of([("b", "q"), ("a", "q")])

    with pytest.raises(DuplicateHandlerError):
        one.include(other)
    assert len(one.handlers) == 1

    more = registry_of([("c", "q")])
    one.include(more)
    one.include(more)
    assert winner(one, "q", "c") == "c q"
    assert len(one.handlers) == 2


def test_decorated_function_stays_callable_and_takes_more_patterns() -> None:
    """Each decorator registers the function and returns it unchanged."""
    registry = HandlerRegistry()

    @registry.handler("a.{x}", queue="q")
    @registry.handler("b.{x}", queue=QueueSpec(name="q"))
    def handle(x: str) -> str:
        return x

    assert handle("1") == "1"
    assert winner(registry, "q", "a.1") == winner(registry, "q", "b.1") is not None


def test_resolver_remembers_a_bounded_number_of_keys() -> None:
    """Senders choose routing keys, and must not fill the worker's memory with them."""
    resolver = Resolver(registry_of([("#", "q")]).handlers)

    for number in range(RESOLVED_KEYS + 100):
        resolver.resolve("q", str(number))

    assert resolver.resolve.cache_info().currsize == RESOLVED_KEYS


def test_routes_ignore_later_registrations() -> None:
    registry = registry_of([("a", "q")])
    routes = Routes(Topology(queues=[QueueSpec(name="q")]), registry)

    registry.add("b", named("b"), queue="q")

    assert routes.resolve("q", "b") is None
    assert registry.resolve("q", "b") is not None


def test_invalid_registration_is_refused_where_it_is_made() -> None:
    registry = HandlerRegistry()

    with pytest.raises(PatternError, match=r"a\.b\*"):
        registry.add("a.b*", named("x"))
    with pytest.raises(ConfigurationError, match="timeout"):
        registry.add("a", named("x"), timeout=0)
    with pytest.raises(ConfigurationError, match="retry"):
        registry.add("a", named("x"), retry=True)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"brackets are missing: write @registry.handler\('a.b'\) above .*x"):
        registry.handler(named("x"))  # type: ignore[arg-type]  # @registry.handler without brackets
    with pytest.raises(ConfigurationError, match=r"write @registry.fallback\(\) above .*x"):
        registry.fallback(named("x"))  # type: ignore[arg-type]
    assert registry.handlers == ()

    with pytest.raises(UnknownQueueError, match="'r'"):
        Routes(Topology(queues=[QueueSpec(name="q")]), registry_of([("a", "r")]))


def test_handler_retry_may_use_only_the_delays_of_its_queue() -> None:
    registry = HandlerRegistry()
    registry.add("a", named("x"), queue="q", retry=RetryPolicy(delays=(7,)))

    with pytest.raises(ConfigurationError, match="7000 ms"):
        Routes(Topology(queues=[QueueSpec(name="q", retry=RetryPolicy(delays=(1, 2)))]), registry)
    Routes(Topology(queues=[QueueSpec(name="q", retry=RetryPolicy(delays=(1, 7)))]), registry)


def test_handler_of_a_list_of_patterns_takes_the_keys_of_each() -> None:
    registry = HandlerRegistry()
    event = EventSpec(pattern="sale.{number}", exchange="shop", body=dict)

    @registry.handler(["order.{number}", RoutingPattern("refund.{number}"), event], queue="q", timeout=5)
    def handle(body: bytes, number: str) -> None: ...

    for key in ("order.7", "refund.7", "sale.7"):
        match = registry.resolve("q", key)
        assert match is not None
        assert (match.handler.function, match.captures, match.handler.timeout) == (handle, {"number": "7"}, 5)
    assert len(registry.handlers) == 3


@pytest.mark.parametrize(
    ("patterns", "error", "text"),
    [
        (["order.{number}", "refund.*"], HandlerSignatureError, r"^pattern 'refund.\*': .*does not capture 'number'"),
        (["order.*", "refund.{number}"], HandlerSignatureError, r"^pattern 'order.\*': .*as 'refund.{number}' does"),
        (["order.{number}", "refund..{"], PatternError, r"refund\.\.{"),
        (["order.{number}", "order.{number}"], DuplicateHandlerError, "takes exactly the keys"),
        (["order.{number}", 5], PatternError, "a pattern is a str, not int"),
        ([], ConfigurationError, "a list without a pattern"),
    ],
)
def test_list_of_patterns_that_do_not_fit_registers_nothing(patterns: Any, error: type[Exception], text: str) -> None:
    registry = HandlerRegistry()

    with pytest.raises(error, match=text):
        registry.add(patterns, lambda number: None)

    assert not registry.handlers


def test_patterns_of_one_handler_that_overlap_are_not_ambiguous() -> None:
    """Whichever of them is taken, the same function is called; what they capture would make a difference."""
    topology, one, two = Topology(queues=[QueueSpec(name="q")]), HandlerRegistry(), HandlerRegistry()
    one.add(["order.*", "*.paid"], named("one"), queue="q")
    two.add(["{x}.paid", "order.{x}"], lambda body, x: None, queue="q")

    assert winner(one, "q", "order.paid") == "one"
    assert not [finding for finding in Routes(topology, one).check() if finding.code == "ambiguous_handlers"]
    with pytest.raises(AmbiguousHandlerError, match=r"order\.paid"):
        Routes(topology, two)
