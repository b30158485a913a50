"""Specs: what they refuse and why, what they send to the broker, and where a message goes."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from taskroute.errors import TopologyError, UnknownExchangeError, UnknownQueueError
from taskroute.keys.pattern import RoutingPattern
from taskroute.topology.event_spec import EventSpec
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy
from taskroute.topology.topology import Topology, predecessor

TOPIC = ExchangeSpec(name="topic")
DIRECT = ExchangeSpec(name="direct", type="direct")
FANOUT = ExchangeSpec(name="fanout", type="fanout")
HEADERS = ExchangeSpec(name="headers", type="headers")
SECOND = timedelta(seconds=1)
PLAIN: dict[str, Any] = {"retry": False, "dead_letter": False}


def refusal(build: Callable[[], object]) -> str:
    with pytest.raises(TopologyError) as caught:
        build()
    return str(caught.value)


# --- queues ---

REFUSED_QUEUES: list[tuple[dict[str, Any], list[str]]] = [
    # what the broker would refuse
    ({"max_priority": 5}, ["max_priority", "quorum", "type='classic'"]),
    ({"max_priority": 5, "type": "quorum"}, ["max_priority", "type='classic'"]),
    ({"type": "quorum", "exclusive": True}, ["exclusive", "quorum", "type='classic'"]),
    ({"type": "quorum", "auto_delete": True}, ["auto_delete", "quorum", "type='classic'"]),
    ({"type": "quorum", "durable": False}, ["durable", "quorum", "type='classic'"]),
    ({"type": "stream", "exclusive": True}, ["exclusive", "stream"]),
    ({"type": "stream", "durable": False}, ["durable", "stream"]),
    ({"type": "stream", "auto_delete": True}, ["auto_delete", "stream"]),
    ({"type": "classic", "delivery_limit": 3}, ["delivery_limit", "classic", "type='quorum'"]),
    ({"exclusive": True, "delivery_limit": 3}, ["delivery_limit", "classic"]),
    ({"type": "stream", "message_ttl": 1}, ["message_ttl", "stream", "leave it out"]),
    ({"type": "stream", "expires": 1}, ["expires", "stream"]),
    ({"type": "stream", "max_length": 1}, ["max_length", "stream"]),
    ({"type": "stream", "max_length_bytes": 1, "overflow": "drop-head"}, ["overflow", "stream"]),
    ({"type": "stream", "max_priority": 1}, ["max_priority", "stream"]),
    ({"type": "stream", "single_active_consumer": True}, ["single_active_consumer", "stream"]),
    ({"type": "stream", "delivery_limit": 1}, ["delivery_limit", "stream"]),
    ({"type": "stream", "retry": RetryPolicy()}, ["retry", "stream"]),
    ({"type": "stream", "dead_letter": "other"}, ["dead_letter", "stream"]),
    ({"name": "amq.mine"}, ["name", "amq.", "passive=True"]),
    # what the broker would take and ignore
    ({"max_length": 5, "overflow": "reject-publish-dlx"}, ["overflow", "quorum", "'reject-publish'"]),
    ({"overflow": "drop-head"}, ["overflow", "max_length or max_length_bytes"]),
    ({"type": "classic", "overflow": "reject-publish"}, ["overflow", "max_length"]),
    (
        {"type": "classic", "max_length": 5, "overflow": "reject-publish-dlx", "dead_letter": False},
        ["overflow", "dead_letter", "'reject-publish'"],
    ),
    # names
    ({"name": ""}, ["name", "needs one"]),
    ({"name": "a\n"}, ["name", "control character"]),
    ({"name": "\ud800"}, ["name", "UTF-8"]),
    ({"name": "q" * 256}, ["name", "256 bytes", "255"]),
    ({"name": "q" * 251}, ["name", ".retry.1000", "255", "retry=False and dead_letter=False"]),
    ({"name": "é" * 126, "retry": False}, ["name", ".dead"]),
    ({"name": 5}, ["name", "string"]),
    ({"dead_letter": "q"}, ["dead_letter", "its own"]),
    ({"dead_letter": ""}, ["dead_letter", "dead_letter=False"]),
    ({"dead_letter": "a\n"}, ["dead_letter", "control character"]),
    ({"dead_letter": "\ud800"}, ["dead_letter", "UTF-8"]),
    ({"dead_letter": "d" * 256}, ["dead_letter", "255"]),
    ({"dead_letter": True}, ["dead_letter"]),
    # values
    ({"message_ttl": -1}, ["message_ttl", "milliseconds"]),
    ({"message_ttl": 0.0005}, ["message_ttl", "whole number of milliseconds"]),
    ({"message_ttl": timedelta(microseconds=1)}, ["message_ttl", "whole number of milliseconds"]),
    ({"message_ttl": timedelta(milliseconds=2**32)}, ["message_ttl", "2**32 - 1"]),
    ({"message_ttl": float("nan")}, ["message_ttl"]),
    ({"message_ttl": float("inf")}, ["message_ttl"]),
    ({"message_ttl": "soon"}, ["message_ttl"]),
    ({"expires": 0}, ["expires", "longer than 0"]),
    ({"max_length": -1}, ["max_length", "greater than or equal to 0"]),
    ({"max_length": 1.5}, ["max_length"]),
    ({"max_length_bytes": -1}, ["max_length_bytes"]),
    ({"max_length_bytes": 2**63}, ["max_length_bytes"]),
    ({"type": "classic", "max_priority": 0}, ["max_priority"]),
    ({"type": "classic", "max_priority": 256}, ["max_priority", "255"]),
    ({"delivery_limit": 0}, ["delivery_limit"]),
    ({"type": "mirrored"}, ["type", "'quorum'", "'classic'", "'stream'"]),
    ({"max_length": 1, "overflow": "drop-tail"}, ["overflow", "'drop-head'"]),
    ({"retry": True}, ["bool instead of RetryPolicy", "retry=False"]),
    ({"retry": (1, 5)}, ["tuple instead of RetryPolicy", "retry=RetryPolicy(delays=(1, 5, 25))"]),
    ({"bindings": ["video.#"]}, ["str instead of BindingSpec", "bindings=[exchange.bind('a.#')]"]),
    (
        {"bindings": TOPIC.bind("video.#")},
        ["bindings: write a list, bindings=[exchange.bind('a.#')], not one BindingSpec"],
    ),
    ({"bindings": 5}, ["bindings: write a list, bindings=[exchange.bind('a.#')], not one int"]),
    ({"ttl": 5}, ["ttl: there is no such field; did you mean 'message_ttl'?"]),
    # arguments
    ({"arguments": {"x-max-length": 5}}, ["arguments", "x-max-length is the field max_length"]),
    ({"arguments": {"x-queue-type": "quorum"}}, ["arguments", "the field type"]),
    ({"arguments": {"x-dead-letter-exchange": "dlx"}}, ["arguments", "the field dead_letter"]),
    ({"arguments": {"x": 1.5}}, ["arguments.x"]),
    ({"arguments": {"x": None}}, ["arguments.x"]),
    ({"arguments": {"x": 2**63}}, ["arguments", "64 bits"]),
    ({"arguments": {"x": "\ud800"}}, ["arguments", "surrogates"]),
    ({"arguments": {"x\n": "v"}}, ["arguments", "control character"]),
    ({"arguments": {"x" * 256: "v"}}, ["arguments", "256 bytes"]),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED_QUEUES)
def test_queue_that_broker_would_refuse_or_ignore_is_refused(fields: dict[str, Any], words: list[str]) -> None:
    text = refusal(lambda: QueueSpec(**{"name": "q", **fields}))

    assert text.startswith("QueueSpec")
    assert [word for word in words if word not in text] == []


def test_refusal_names_the_queue_and_stays_short() -> None:
    assert refusal(lambda: QueueSpec(name="jobs", max_priority=1)).startswith("QueueSpec 'jobs': max_priority: ")
    assert refusal(lambda: QueueSpec(name="jobs", nam="x")).startswith("QueueSpec 'jobs': nam: ")  # type: ignore[call-arg]
    assert len(refusal(lambda: QueueSpec(name="q" * 10_000))) < 400


ACCEPTED_QUEUES: list[dict[str, Any]] = [
    {},
    {"type": "classic", "max_priority": 255},
    {"exclusive": True, "max_priority": 1},
    {"durable": False},
    {"auto_delete": True, "durable": True},
    {"exclusive": True, "retry": RetryPolicy(delays=[1]), "dead_letter": "dead"},
    {"type": "stream", "max_length_bytes": 10, "arguments": {"x-max-age": "1h"}},
    {"type": "stream", "retry": False, "dead_letter": False},
    {"max_length": 0, "overflow": "drop-head"},
    {"max_length": 5, "overflow": "reject-publish", "max_length_bytes": 10},
    {"type": "classic", "max_length": 5, "overflow": "reject-publish-dlx"},
    {"message_ttl": 0, "expires": 0.001, "single_active_consumer": True, "delivery_limit": 1},
    {"message_ttl": timedelta(milliseconds=2**32 - 1)},
    {"name": "é" * 127, **PLAIN},
    {"name": "q" * 243},
    {"name": "é" * 125, "retry": False},
    {"name": "amq.gen-1", "passive": True, **PLAIN},
    {"dead_letter": "d" * 255},
    {"arguments": {"x-anything": True, "n": -(2**63), "s": ""}},
]


@pytest.mark.parametrize("fields", ACCEPTED_QUEUES)
def test_valid_queue_is_accepted(fields: dict[str, Any]) -> None:
    queue = QueueSpec(**{"name": "q", **fields})

    assert str(queue) == queue.name


@pytest.mark.parametrize(
    ("fields", "kind", "retries", "dead_letter"),
    [
        ({}, "quorum", True, "q.dead"),
        ({"type": "classic"}, "classic", True, "q.dead"),
        ({"type": "stream"}, "stream", False, None),
        ({"exclusive": True}, "classic", False, None),
        ({"auto_delete": True}, "classic", False, None),
        ({"durable": False}, "classic", False, None),
        ({"passive": True}, "quorum", True, "q.dead"),
        (PLAIN, "quorum", False, None),
        ({"retry": False}, "quorum", False, "q.dead"),
        ({"dead_letter": "other"}, "quorum", True, "other"),
        ({"durable": False, "retry": RetryPolicy(), "dead_letter": "other"}, "classic", True, "other"),
    ],
)
def test_queue_defaults_follow_from_its_kind(
    fields: dict[str, Any], kind: str, retries: bool, dead_letter: str | None
) -> None:
    queue = QueueSpec(**{"name": "q", **fields})

    assert queue.queue_type == kind
    assert queue.retry_policy == (RetryPolicy(delays=(1, 5, 25)) if retries else None)
    assert queue.dead_letter_queue == dead_letter


SAFE = {
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "q.dead",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
QUORUM = {"x-queue-type": "quorum", "x-delivery-limit": 20}
CLASSIC = {"x-queue-type": "classic"}
DEAD = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q.dead"}


@pytest.mark.parametrize(
    ("fields", "arguments"),
    [
        ({}, {**QUORUM, **SAFE}),
        (PLAIN, QUORUM),
        ({"delivery_limit": 3}, {**QUORUM, **SAFE, "x-delivery-limit": 3}),
        ({"dead_letter": "other"}, {**QUORUM, **SAFE, "x-dead-letter-routing-key": "other"}),
        ({"max_length": 9, "overflow": "reject-publish"}, {**QUORUM, **SAFE, "x-max-length": 9}),
        (
            {"max_length": 9, "overflow": "drop-head"},
            {**QUORUM, **DEAD, "x-max-length": 9, "x-overflow": "drop-head", "x-dead-letter-strategy": "at-most-once"},
        ),
        ({"type": "classic"}, CLASSIC),
        ({"type": "classic", "message_ttl": 1.5}, {**CLASSIC, **DEAD, "x-message-ttl": 1500}),
        ({"type": "classic", "message_ttl": 0}, {**CLASSIC, **DEAD, "x-message-ttl": 0}),
        ({"type": "classic", "max_length": 9}, {**CLASSIC, **DEAD, "x-max-length": 9}),
        ({"type": "classic", "max_length_bytes": 9}, {**CLASSIC, **DEAD, "x-max-length-bytes": 9}),
        (
            {"type": "classic", "max_length": 9, "overflow": "reject-publish"},
            {**CLASSIC, "x-max-length": 9, "x-overflow": "reject-publish"},
        ),
        (
            {"type": "classic", "max_length": 9, "overflow": "reject-publish-dlx"},
            {**CLASSIC, **DEAD, "x-max-length": 9, "x-overflow": "reject-publish-dlx"},
        ),
        ({"type": "classic", "max_priority": 7, "expires": 60}, {**CLASSIC, "x-max-priority": 7, "x-expires": 60_000}),
        ({"type": "classic", "single_active_consumer": True}, {**CLASSIC, "x-single-active-consumer": True}),
        ({"exclusive": True}, CLASSIC),
        ({"type": "stream", "arguments": {"x-max-age": "1h"}}, {"x-queue-type": "stream", "x-max-age": "1h"}),
    ],
)
def test_broker_gets_every_argument_that_matters_and_no_other(
    fields: dict[str, Any], arguments: dict[str, object]
) -> None:
    assert dict(QueueSpec(**{"name": "q", **fields}).broker_arguments) == arguments


def test_helper_queues_of_a_quorum_queue_are_as_safe_as_it_is() -> None:
    """A message is as safe in a wait queue or a dead-letter queue as in the queue itself."""
    queue = QueueSpec(name="q", retry=RetryPolicy(delays=[25, 0.5, 25]))

    half, long, dead = queue.helper_queues()

    assert [half.name, long.name, dead.name] == ["q.retry.500", "q.retry.25000", "q.dead"]
    assert queue.wait_queue(timedelta(seconds=25)) == "q.retry.25000"
    assert dict(half.broker_arguments) == {
        **QUORUM,
        **SAFE,
        "x-message-ttl": 500,
        "x-dead-letter-routing-key": "q",
    }
    assert dict(dead.broker_arguments) == QUORUM | {"x-delivery-limit": 2**31 - 1}
    assert all(helper.durable and helper.retry_policy is None for helper in (half, long, dead))


def test_helper_queues_of_a_classic_queue_are_classic() -> None:
    wait, dead = QueueSpec(name="q", type="classic", retry=RetryPolicy(delays=[1])).helper_queues()

    assert dict(wait.broker_arguments) == {**CLASSIC, **DEAD, "x-message-ttl": 1000, "x-dead-letter-routing-key": "q"}
    assert dict(dead.broker_arguments) == CLASSIC


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (PLAIN, []),
        ({"retry": False}, ["q.dead"]),
        ({"retry": False, "dead_letter": "other"}, []),
        ({"retry": RetryPolicy(delays=[1]), "dead_letter": False}, ["q.retry.1000"]),
        ({"exclusive": True}, []),
        ({"type": "stream"}, []),
        ({"passive": True}, ["q.retry.1000", "q.retry.5000", "q.retry.25000", "q.dead"]),
    ],
)
def test_helper_queues_are_declared_only_where_they_are_used(fields: dict[str, Any], names: list[str]) -> None:
    assert [helper.name for helper in QueueSpec(**{"name": "q", **fields}).helper_queues()] == names


# --- retry policies and durations ---


@pytest.mark.parametrize("delays", [(), (0,), (-1,), (0.0001,), ("soon",), 5, None, (timedelta(0),), (1, float("inf"))])
def test_retry_policy_without_usable_delays_is_refused(delays: Any) -> None:
    assert refusal(lambda: RetryPolicy(delays=delays)).startswith("RetryPolicy: delays")


@pytest.mark.parametrize(
    ("delays", "problem"),
    [
        ((), "delays: needs at least one; for no retries, write retry=False"),
        (5, "delays: write a list, delays=[1, 5, 25], not one int"),
        ("1,2", "delays: write a list, delays=[1, 5, 25], not one str"),
        (("a",), "delays.0: write seconds, 60, or a timedelta"),
        ((1, -1), "delays.1: a duration is a whole number of milliseconds between 0 and 2**32 - 1"),
        ((0,), "delays.0: must be longer than 0"),
    ],
)
def test_retry_policy_refusal_names_only_the_wrong_delay(delays: Any, problem: str) -> None:
    assert refusal(lambda: RetryPolicy(delays=delays)) == f"RetryPolicy: {problem}"


def test_retry_policy_takes_seconds_or_timedeltas() -> None:
    """It counts one attempt more than it has delays."""
    policy = RetryPolicy(delays=[1, 0.25, timedelta(minutes=1)])

    assert policy.delays == (SECOND, timedelta(milliseconds=250), timedelta(seconds=60))
    assert policy.attempts == 4
    assert RetryPolicy().attempts == 4


@given(st.integers(0, 2**32 - 1))
def test_seconds_and_equal_timedelta_are_the_same_duration(milliseconds: int) -> None:
    exact = timedelta(milliseconds=milliseconds)

    assert QueueSpec(name="q", message_ttl=milliseconds / 1000).message_ttl == exact
    assert QueueSpec(name="q", message_ttl=exact).broker_arguments["x-message-ttl"] == milliseconds


# --- exchanges and bindings ---

REFUSED_EXCHANGES: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": ""}, ["name", "default exchange", "exchange=''"]),
    ({"name": "a\n"}, ["name", "control character"]),
    ({"name": "\ud800"}, ["name", "UTF-8"]),
    ({"name": "e" * 256}, ["name", "256 bytes"]),
    ({"type": "x-delayed-message"}, ["type", "'topic'", "'headers'"]),
    ({"name": "amq.topic", "type": "direct"}, ["type", "amq.topic is topic, not direct"]),
    ({"alternate_exchange": ""}, ["alternate_exchange", "name an exchange"]),
    ({"alternate_exchange": 5}, ["alternate_exchange"]),
    ({"arguments": {"alternate-exchange": "x"}}, ["arguments", "the field alternate_exchange"]),
    ({"bindings": ["x"]}, ["BindingSpec"]),
    ({"exclusive": True}, ["exclusive", "there is no such field; there are name, type"]),
]


@pytest.mark.parametrize(("fields", "words"), REFUSED_EXCHANGES)
def test_invalid_exchange_is_refused(fields: dict[str, Any], words: list[str]) -> None:
    text = refusal(lambda: ExchangeSpec(**{"name": "e", **fields}))

    assert text.startswith("ExchangeSpec")
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("amq.direct", "direct"),
        ("amq.topic", "topic"),
        ("amq.fanout", "fanout"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
        ("amq.rabbitmq.event", "topic"),
    ],
)
def test_predeclared_exchange_is_passive_and_of_its_type(name: str, kind: str) -> None:
    assert ExchangeSpec(name=name).type == kind
    assert ExchangeSpec(name=name).passive
    assert ExchangeSpec(name=name, passive=False).passive


def test_exchange_of_a_plugin_may_be_of_any_type() -> None:
    assert ExchangeSpec(name="amq.other", type="fanout").passive


def test_alternate_exchange_is_an_argument_of_the_declaration() -> None:
    assert dict(ExchangeSpec(name="e", arguments={"x": 1}).broker_arguments) == {"x": 1}
    assert dict(ExchangeSpec(name="e", alternate_exchange="other").broker_arguments) == {"alternate-exchange": "other"}


def test_spec_is_taken_in_place_of_its_name() -> None:
    other = QueueSpec(name="other")

    assert ExchangeSpec(name="e", alternate_exchange=TOPIC).alternate_exchange == "topic"
    assert QueueSpec(name="q", dead_letter=other).dead_letter == "other"


REFUSED_BINDINGS: list[tuple[ExchangeSpec, dict[str, Any], list[str]]] = [
    (TOPIC, {"binding_key": "a.b*"}, ["binding_key", "glued"]),
    (TOPIC, {"binding_key": "a.{x}"}, ["binding_key", "no captures", "'a.*'", "RoutingPattern('a.{x}')"]),
    (TOPIC, {"headers": {"h": 1}}, ["headers", "only a headers exchange"]),
    (DIRECT, {"binding_key": "a", "headers": {"h": 1}}, ["headers", "only a headers exchange"]),
    (FANOUT, {"binding_key": "a"}, ["binding_key", "fanout exchange ignores it", "leave it out"]),
    (HEADERS, {"binding_key": "a"}, ["binding_key", "headers exchange ignores it"]),
    (HEADERS, {"headers": {"x-tenant": "a"}}, ["headers", "x-tenant", "match='all-with-x'"]),
    (HEADERS, {"headers": {"x-tenant": "a"}, "match": "any"}, ["headers", "x-tenant", "match='any-with-x'"]),
    (HEADERS, {"headers": {"x-match": "any"}}, ["headers", "match="]),
    (HEADERS, {"match": "any"}, ["match", "no message at all", "'all'"]),
    (HEADERS, {"match": "any-with-x"}, ["match", "no message at all"]),
    (HEADERS, {"match": "some"}, ["match", "'all'"]),
    (HEADERS, {"headers": {"h": 1.5}}, ["headers.h"]),
    (HEADERS, {"headers": {"h": None}}, ["headers.h"]),
    (HEADERS, {"headers": {"h": 2**63}}, ["headers", "64 bits"]),
    (HEADERS, {"headers": {"h": "\ud800"}}, ["headers", "surrogates"]),
    (DIRECT, {"binding_key": "a\n"}, ["binding_key", "control character"]),
    (DIRECT, {"binding_key": "a" * 256}, ["binding_key", "256 bytes"]),
    (DIRECT, {"binding_key": 5}, ["binding_key", "string"]),
]


@pytest.mark.parametrize(("exchange", "fields", "words"), REFUSED_BINDINGS)
def test_binding_that_the_exchange_would_misread_is_refused(
    exchange: ExchangeSpec, fields: dict[str, Any], words: list[str]
) -> None:
    text = refusal(lambda: exchange.bind(**fields))

    assert [word for word in words if word not in text] == []


def test_binding_made_without_its_exchange_is_checked_by_topology() -> None:
    queue = QueueSpec(name="q", bindings=[BindingSpec(exchange="fanout", binding_key="a")])

    assert "fanout exchange ignores it" in refusal(lambda: Topology(exchanges=[FANOUT], queues=[queue]))


def test_bind_takes_binding_key_of_a_pattern_and_direct_key_as_is() -> None:
    assert TOPIC.bind(RoutingPattern("a.{x}.{y:#}")).binding_key == "a.*.#"
    assert DIRECT.bind("a.b*").binding_key == "a.b*"
    assert FANOUT.bind() == BindingSpec(exchange="fanout")


@pytest.mark.parametrize(
    ("binding", "arguments"),
    [
        (TOPIC.bind("a"), {}),
        (HEADERS.bind(), {}),
        (HEADERS.bind(headers={"h": True}), {"h": True, "x-match": "all"}),
        (HEADERS.bind(headers={"x-t": "a"}, match="any-with-x"), {"x-t": "a", "x-match": "any-with-x"}),
    ],
)
def test_headers_binding_sends_x_match_with_its_headers(binding: BindingSpec, arguments: dict[str, object]) -> None:
    assert dict(binding.arguments) == arguments


# --- frozen ---


def test_spec_and_its_tables_cannot_be_changed() -> None:
    table: dict[str, Any] = {"x": 1}
    exchange = ExchangeSpec(name="e", type="headers", arguments=table)
    queue = QueueSpec(name="q", arguments=table, bindings=[exchange.bind(headers={"h": 1})])

    table["x"] = 2
    assert queue.arguments["x"] == exchange.arguments["x"] == 1

    for arguments in (queue.arguments, exchange.arguments, queue.bindings[0].headers, QueueSpec(name="p").arguments):
        with pytest.raises(TypeError):
            arguments["x"] = 3  # type: ignore[index]

    with pytest.raises(ValidationError):
        queue.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError):
        Topology().queues = (queue,)  # type: ignore[misc]

    assert isinstance(queue.bindings, tuple)
    assert isinstance(Topology(queues=[queue], exchanges=[exchange]).queues, tuple)


# --- round trip ---

words = st.sampled_from(["a", "b.c", "é", "x-y", "z" * 20])
tables = st.dictionaries(words, st.one_of(words, st.integers(-(2**63), 2**63 - 1), st.booleans()), max_size=2)
durations = st.integers(1, 2**32 - 1).map(lambda number: timedelta(milliseconds=number))
retries = st.one_of(
    st.none(), st.just(False), st.lists(durations, min_size=1, max_size=3).map(lambda d: RetryPolicy(delays=d))
)


@st.composite
def queue_specs(draw: st.DrawFn, name: str) -> QueueSpec:
    kind = draw(st.sampled_from(["quorum", "classic", None]))
    shared = kind != "classic" or draw(st.booleans())
    limit = draw(st.none() | st.integers(0, 2**31 - 1))
    fields: dict[str, Any] = {
        "name": name,
        "type": kind,
        "durable": shared or draw(st.booleans()),
        "auto_delete": not shared and draw(st.booleans()),
        "exclusive": not shared and draw(st.booleans()),
        "message_ttl": draw(st.none() | durations),
        "expires": draw(st.none() | durations),
        "max_length": limit,
        "overflow": None if limit is None else draw(st.sampled_from([None, "drop-head", "reject-publish"])),
        "max_priority": draw(st.integers(1, 255)) if kind == "classic" else None,
        "delivery_limit": draw(st.none() | st.integers(1, 99)) if kind == "quorum" else None,
        "single_active_consumer": draw(st.booleans()),
        "retry": draw(retries),
        "dead_letter": draw(st.sampled_from([None, False, "q0" if name == "q1" else "q1"])),
        "passive": draw(st.booleans()),
        "arguments": draw(tables),
        "bindings": draw(st.lists(st.sampled_from(BINDINGS), max_size=3)),
    }
    return QueueSpec(**fields)


BINDINGS = [TOPIC.bind("a.#"), DIRECT.bind("a"), FANOUT.bind(), HEADERS.bind(headers={"h": True, "n": 1}, match="any")]
topologies = st.builds(
    lambda queues, bound, alternate, table: Topology(
        exchanges=[
            TOPIC,
            DIRECT,
            HEADERS,
            FANOUT,
            ExchangeSpec(name="e", bindings=bound, alternate_exchange=alternate, arguments=table),
        ],
        queues=queues,
    ),
    st.tuples(queue_specs("q0"), queue_specs("q1")),
    st.lists(st.sampled_from(BINDINGS), max_size=2),
    st.sampled_from([None, "topic", "e"]),
    tables,
)


@settings(max_examples=60)
@given(topologies)
def test_topology_survives_dumps_to_json_python_and_pickle(topology: Topology) -> None:
    _ = topology.all_queues  # what was computed from it does not count

    for copy in (
        Topology.model_validate_json(topology.model_dump_json()),
        Topology.model_validate(topology.model_dump()),
        Topology.model_validate_json(topology.model_dump_json(exclude_defaults=True)),
        pickle.loads(pickle.dumps(topology)),
    ):
        assert copy == topology
        assert hash(copy) == hash(topology)
        assert [queue.broker_arguments for queue in copy.all_queues] == [
            queue.broker_arguments for queue in topology.all_queues
        ]


def test_every_kind_of_spec_survives_json() -> None:
    for spec in (
        RetryPolicy(delays=[0.001, 4294967.295]),
        HEADERS.bind(headers={"h": 1}),
        ExchangeSpec(name="amq.topic"),
        QueueSpec(name="s", type="stream"),
    ):
        copy = type(spec).model_validate_json(spec.model_dump_json())
        assert copy == spec
        assert hash(copy) == hash(spec)


def test_wrong_field_in_json_is_refused_by_name() -> None:
    text = '{"queues": [{"name": "jobs", "max_priority": 3}]}'

    assert refusal(lambda: Topology.model_validate_json(text)).startswith("Topology: QueueSpec 'jobs': max_priority")


# --- topologies ---


def test_lookup_takes_spec_or_name_and_names_what_is_unknown() -> None:
    queue = QueueSpec(name="q")
    topology = Topology(exchanges=[TOPIC], queues=[queue])

    assert topology.exchange("topic") is topology.exchange(TOPIC)
    assert topology.queue("q") is topology.queue(queue)
    assert topology.queue("q.retry.1000").message_ttl == SECOND
    assert topology.queue("q.dead").retry is False

    with pytest.raises(UnknownQueueError, match=r"no queue 'p' \(it has 'q', 'q.dead', .*queues="):
        topology.queue("p")
    with pytest.raises(UnknownExchangeError, match=r"no exchange 'x' \(it has 'topic'\).*exchanges="):
        topology.exchange("x")
    with pytest.raises(UnknownExchangeError, match="it has none"):
        Topology().route("a", exchange="x")


def test_unknown_queue_error_lists_a_bounded_number_of_names() -> None:
    topology = Topology(queues=[QueueSpec(name=f"q{number}", **PLAIN) for number in range(500)])

    with pytest.raises(UnknownQueueError) as caught:
        topology.queue("p")

    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("field", "one", "kind"),
    [
        ("exchanges", TOPIC, "ExchangeSpec"),
        ("queues", QueueSpec(name="q"), "QueueSpec"),
        ("events", EventSpec(pattern="a", exchange="", body=dict), "EventSpec"),
        ("queues", "q", "str"),
        ("queues", {"q": QueueSpec(name="q")}, "dict"),
    ],
)
def test_single_spec_in_place_of_a_list_is_refused(field: str, one: object, kind: str) -> None:
    text = refusal(lambda: Topology(**{field: one}))  # type: ignore[arg-type]

    assert text == f"Topology: {field}: write a list, {field}=[{field.removesuffix('s')}], not one {kind}"


def test_iterator_of_specs_is_taken_as_a_list() -> None:
    assert Topology(exchanges=iter([TOPIC]), queues={QueueSpec(name="q")}).queue("q").name == "q"


@pytest.mark.parametrize(
    ("build", "written"),
    [
        (lambda: QueueSpec("a"), "QueueSpec(name='a')"),  # type: ignore[call-arg]
        (lambda: QueueSpec("a", bindings=[]), "QueueSpec(name='a', ...)"),  # type: ignore[call-arg]
        (lambda: ExchangeSpec("a", "topic"), "ExchangeSpec(name='a', type='topic')"),  # type: ignore[call-arg]
        (lambda: RetryPolicy((1, 2)), "RetryPolicy(delays=(1, 2))"),  # type: ignore[call-arg]
        (lambda: EventSpec("a"), "EventSpec(pattern='a')"),  # type: ignore[call-arg]
        (lambda: RetryPolicy(*range(3)), "RetryPolicy(delays=0, ...)"),
    ],
)
def test_positional_fields_are_refused_with_what_to_write(build: Callable[[], object], written: str) -> None:
    with pytest.raises(TypeError) as caught:
        build()

    assert str(caught.value) == f"{written.partition('(')[0]} takes its fields by name: write {written}"


def test_signature_of_spec_shows_keyword_fields_only() -> None:
    kinds = {parameter.kind for parameter in inspect.signature(QueueSpec).parameters.values()}

    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}


@pytest.mark.parametrize(
    ("exchanges", "queues", "words"),
    [
        (
            [],
            [QueueSpec(name="q", bindings=[BindingSpec(exchange="topic", binding_key="a")])],
            ["QueueSpec 'q'", "bindings", "no exchange 'topic'"],
        ),
        (
            [ExchangeSpec(name="e", bindings=[BindingSpec(exchange="topic", binding_key="a")])],
            [],
            ["ExchangeSpec 'e'", "bindings", "no exchange 'topic'"],
        ),
        (
            [ExchangeSpec(name="e", alternate_exchange="gone")],
            [],
            ["exchange 'e'", "alternate_exchange", "no exchange 'gone'"],
        ),
        ([TOPIC, ExchangeSpec(name="topic", type="direct")], [], ["exchange 'topic'", "twice", "type"]),
        ([], [QueueSpec(name="q"), QueueSpec(name="q", max_length=1)], ["queue 'q'", "twice", "max_length"]),
        ([], [QueueSpec(name="q"), QueueSpec(name="q.retry.1000")], ["queue 'q.retry.1000'", "wait queue of 'q'"]),
        ([], [QueueSpec(name="amq.gen-1", passive=True)], ["amq."]),
        ([], [TOPIC], ["QueueSpec"]),
        ("topic", [], ["exchanges"]),
    ],
)
def test_specs_that_contradict_each_other_are_refused(exchanges: Any, queues: Any, words: list[str]) -> None:
    text = refusal(lambda: Topology(exchanges=exchanges, queues=queues))

    assert [word for word in words if word not in text] == []


def test_binding_is_checked_against_the_exchange_of_its_topology() -> None:
    queue = QueueSpec(name="q", bindings=[DIRECT.bind("a.b*")])
    other = ExchangeSpec(name="direct", type="topic")

    assert "glued" in refusal(lambda: Topology(exchanges=[other], queues=[queue]))


def test_topology_may_declare_a_dead_letter_queue_itself() -> None:
    """It replaces the one that its queue would bring along."""
    dead = QueueSpec(name="q.dead", type="classic", max_length=5, **PLAIN)

    topology = Topology(queues=[QueueSpec(name="q"), dead])

    assert topology.queue("q.dead") == dead


def test_equal_specs_of_merged_topologies_count_once() -> None:
    queue = QueueSpec(name="q")

    merged = Topology(exchanges=[TOPIC], queues=[queue]) | Topology(exchanges=[TOPIC, DIRECT], queues=[queue])

    assert merged == Topology(exchanges=[TOPIC, DIRECT], queues=[queue])


def test_merge_keeps_everything_and_refuses_a_conflict() -> None:
    one = Topology(exchanges=[TOPIC], queues=[QueueSpec(name="q", bindings=[TOPIC.bind("a")])])
    two = Topology(exchanges=[TOPIC], queues=[QueueSpec(name="p", bindings=[TOPIC.bind("a")])])

    assert (one | two).route("a", exchange=TOPIC) == {"p", "q"}
    assert (one | Topology()) == one

    text = refusal(lambda: one | Topology(queues=[QueueSpec(name="q", type="classic")]))
    assert "queue 'q' is declared twice, and differs in bindings, type" in text


def test_empty_topology_is_valid_and_routes_nowhere() -> None:
    assert Topology() == Topology(exchanges=[], queues=[])
    assert Topology().route("a", exchange="") == frozenset()


# --- what bindings bring ---


def test_topology_takes_the_exchanges_that_its_bindings_were_made_of() -> None:
    """Through exchange bindings, events and amq.* too, each once; it is the same as when they are listed."""
    outer = ExchangeSpec(name="outer", durable=False)
    inner = ExchangeSpec(name="inner", internal=True, bindings=[outer.bind("a.#")])
    own = ExchangeSpec(name="amq.topic")
    event = EventSpec(pattern="sale.{number}", exchange=ExchangeSpec(name="shop"), body=dict)
    queues = [queue("q", inner.bind("#"), own.bind("b"), event.bind()), queue("r", inner.bind("a.b"))]

    short = Topology(queues=queues)

    assert [exchange.name for exchange in short.exchanges] == ["inner", "outer", "amq.topic", "shop"]
    assert short == Topology(exchanges=[inner, outer, own, ExchangeSpec(name="shop")], queues=queues)
    assert short.exchange("outer") is outer
    assert short.exchange("amq.topic").passive
    assert short.route("a.b", exchange="outer") == {"q", "r"}
    assert Topology.model_validate_json(short.model_dump_json()) == short == pickle.loads(pickle.dumps(short))
    assert Topology(queues=pickle.loads(pickle.dumps(queues))) == short
    assert (short | Topology(queues=[queue("s", outer.bind("c"))])).route("c", exchange="outer") == {"s"}
    assert Topology(events=[event]).exchange("shop").name == "shop"


def test_exchanges_with_many_ways_between_them_are_taken_once() -> None:
    """Each is bound to the one before by two keys: there are 2**2000 ways from the last to the first."""
    chain = [ExchangeSpec(name="x0")]
    for number in range(1, 2000):
        chain.append(ExchangeSpec(name=f"x{number}", bindings=[chain[-1].bind("a"), chain[-1].bind("b")]))

    topology = Topology(queues=[QueueSpec(name="q", bindings=[chain[-1].bind("a")])])

    assert [exchange.name for exchange in topology.exchanges] == [exchange.name for exchange in reversed(chain)]


def test_bindings_of_two_specs_of_one_exchange_contradict_each_other() -> None:
    """What is listed settles it, as a binding names its exchange then; and a name alone must be listed."""
    one, other = ExchangeSpec(name="x"), ExchangeSpec(name="x", durable=False)
    queues = [queue("q", one.bind("a")), queue("r", other.bind("a"))]

    text = refusal(lambda: Topology(queues=queues))
    assert "exchange 'x' is declared twice, and differs in durable: declare it once" in text
    assert Topology(exchanges=[other], queues=queues).exchanges == (other,)
    assert "no exchange 'x'" in refusal(lambda: Topology(queues=[queue("q", BindingSpec(exchange="x"))]))


def test_binding_is_equal_whatever_it_was_made_of() -> None:
    assert ExchangeSpec(name="x").bind("a") == BindingSpec(exchange="x", binding_key="a") != BindingSpec(exchange="x")
    assert BindingSpec(exchange="x") != "x"


# --- routing ---


def queue(name: str, *bindings: BindingSpec, **fields: Any) -> QueueSpec:
    return QueueSpec(name=name, bindings=bindings, **{**PLAIN, **fields})


GRAPH = Topology(
    exchanges=[
        TOPIC,
        DIRECT,
        FANOUT,
        HEADERS,
        ExchangeSpec(name="inner", internal=True, bindings=[TOPIC.bind("in.#"), FANOUT.bind()]),
        ExchangeSpec(name="back", type="fanout", bindings=[ExchangeSpec(name="inner").bind("#")]),
        ExchangeSpec(name="strict", type="direct", alternate_exchange="lost"),
        ExchangeSpec(name="lost", type="fanout"),
    ],
    queues=[
        queue("video", TOPIC.bind("video.#")),
        queue("audit", TOPIC.bind("#")),
        queue("one", DIRECT.bind("a.*")),
        queue("all", FANOUT.bind()),
        queue("pdf", HEADERS.bind(headers={"f": "pdf", "n": 1})),
        queue("any", HEADERS.bind(headers={"f": "pdf", "n": 1}, match="any")),
        queue("bool", HEADERS.bind(headers={"n": True})),
        queue("every", HEADERS.bind()),
        queue("inside", ExchangeSpec(name="inner").bind("#.x")),
        queue("strictly", ExchangeSpec(name="strict", type="direct").bind("k")),
        queue("rest", ExchangeSpec(name="lost", type="fanout").bind()),
        QueueSpec(name="work", retry=RetryPolicy(delays=[1])),
    ],
)


@pytest.mark.parametrize(
    ("key", "exchange", "headers", "queues"),
    [
        ("video.upload", "topic", {}, {"video", "audit"}),
        ("video", "topic", {}, {"video", "audit"}),
        ("", "topic", {}, {"audit"}),
        ("in.x", "topic", {}, {"audit", "inside"}),
        ("a.*", "direct", {}, {"one"}),
        ("a.b", "direct", {}, set()),
        ("y.x", "fanout", {}, {"all", "inside"}),
        ("k", "headers", {"f": "pdf", "n": 1}, {"pdf", "any", "every"}),
        ("k", "headers", {"f": "pdf"}, {"any", "every"}),
        ("k", "headers", {"n": True}, {"bool", "every"}),
        ("k", "headers", {}, {"every"}),
        ("k", "strict", {}, {"strictly"}),
        ("nobody", "strict", {}, {"rest"}),
        ("work", "", {}, {"work"}),
        ("work.dead", "", {}, {"work.dead"}),
        ("work.retry.1000", "", {}, {"work.retry.1000"}),
        ("nobody", "", {}, set()),
        ("user.x", "topic", {"CC": ["video.y"]}, {"audit", "video"}),
        ("user.x", "direct", {"BCC": ["a.*"]}, {"one"}),
        ("nobody", "", {"CC": ["one"], "BCC": ["all"]}, {"one", "all"}),
        ("nobody", "strict", {"CC": ["k"]}, {"strictly"}),
    ],
)
def test_route_finds_the_queues_that_a_message_reaches(
    key: str, exchange: str, headers: Mapping[str, object], queues: set[str]
) -> None:
    assert GRAPH.route(key, exchange=exchange, headers=headers) == queues


def test_route_takes_an_exchange_by_spec_or_name() -> None:
    assert GRAPH.route("video.a", exchange=TOPIC) == GRAPH.route("video.a", exchange="topic")


def test_route_of_a_publish_to_internal_exchange_is_refused() -> None:
    assert "exchange 'inner' is internal" in refusal(lambda: GRAPH.route("a", exchange="inner"))


@pytest.mark.parametrize("value", ["video.a", [1], None, 5])
def test_route_refuses_a_cc_that_the_broker_refuses(value: object) -> None:
    text = refusal(lambda: GRAPH.route("a", exchange="topic", headers={"CC": value}))

    assert "CC is a list of routing keys" in text


def test_queue_may_be_bound_with_a_bool_and_with_its_equal_number() -> None:
    both = queue("q", HEADERS.bind(headers={"h": 1}), HEADERS.bind(headers={"h": True}))
    topology = Topology(exchanges=[HEADERS], queues=[both])

    assert topology.route("", exchange=HEADERS, headers={"h": 1}) == {"q"}
    assert topology.route("", exchange=HEADERS, headers={"h": True}) == {"q"}


def test_replacement_and_retired_queues_survive_json() -> None:
    topology = Topology(
        queues=[QueueSpec(name="orders.2", replaces="orders")],
        retired=["mails", QueueSpec(name="orders", type="classic", single_active_consumer=True)],
    )

    again = Topology.model_validate_json(topology.model_dump_json())

    assert again == topology
    assert again.retired_names == {"mails", "orders"}
    assert again.replacement_of("orders") == "orders.2"
    assert again.replacement_of("mails") is None
    old = predecessor(again.queue("orders.2"), again)
    assert old is not None
    assert (old.queue_type, old.single_active_consumer, old.passive) == ("classic", True, True)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"replaces": "one"}, "replaces: a queue cannot replace itself"),
        ({"replaces": ""}, "replaces: the older queue has a name"),
        ({"replaces": "amq.old"}, "names that start with amq. are the broker's own"),
        ({"replaces": "old", "passive": True}, "someone else owns a passive queue"),
        ({"replaces": "old", "exclusive": True}, "only a queue that keeps work"),
        ({"replaces": "old", "type": "stream"}, "only a queue that keeps work"),
        ({"replaces": "one.dead"}, "'one.dead' is declared with this queue"),
        ({"replaces": "one.retry.1000"}, "'one.retry.1000' is declared with this queue"),
        ({"after": "empty"}, "after: it says when to begin with a queue that replaces another one; give replaces"),
        ({"replaces": "old", "after": "empty", "expires": 5}, "which expires, while it waits"),
    ],
)
def test_replacement_that_cannot_be_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(TopologyError) as refused:
        QueueSpec(name="one", **fields)

    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("queues", "retired", "problem"),
    [
        ([("new", "old"), ("old", None)], [], "queue 'old' is declared too"),
        ([("new", "old"), ("newer", "old")], [], "queue 'old' is replaced by 'new' already"),
        ([("a", "b"), ("b", "a")], [], "is declared too"),
        ([("one", None)], ["one"], "queue 'one' is declared and retired"),
        ([("one", None)], ["one.retry.1000"], "queue 'one.retry.1000' is declared and retired"),
        ([("new", "other.dead"), ("other", None)], [], "queue 'other.dead' is declared too"),
        ([], [""], "retired: QueueSpec '': name: a queue needs one"),
        ([], [QueueSpec(name="x", passive=True)], "retired queue 'x' is passive"),
        ([], [QueueSpec(name="x"), QueueSpec(name="x", type="classic")], "differs in type"),
        ([("new", "old")], [QueueSpec(name="old", type="stream")], "is a stream, which no worker can empty"),
    ],
)
def test_retired_queue_that_does_not_fit_is_refused(
    queues: list[tuple[str, str | None]], retired: list[QueueSpec | str], problem: str
) -> None:
    specs = [QueueSpec(name=name, replaces=replaces) for name, replaces in queues]

    with pytest.raises(TopologyError) as refused:
        Topology(queues=specs, retired=retired)

    assert problem in str(refused.value)


def test_merged_topologies_keep_what_either_has_retired() -> None:
    known = QueueSpec(name="a", type="classic")

    merged = Topology(retired=["a", "b"]) | Topology(retired=[known, "c"])

    assert merged.retired == (known, "b", "c")
    with pytest.raises(TopologyError, match="declared and retired"):
        _ = merged | Topology(queues=[QueueSpec(name="b")])
