"""Capabilities: what the table says of each version, and the page that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from taskroute import BrokerFacts, ConfigurationError, ExchangeSpec, QueueSpec, RoutingPattern, TopologyError
from taskroute.topology.broker_facts import AMAZON_MQ, LAVINMQ, RABBITMQ, facts_named, facts_of, lowest
from taskroute.topology.capabilities import (
    FEATURES,
    RETURNS_UNCOUNTED,
    Feature,
    Stage,
    Support,
    feature_refused,
    has,
    limits_of_binding,
    limits_of_queue,
)

PAGE = Path(__file__).parents[2] / "docs" / "brokers.md"
WORDS: dict[Support, str] = {
    "taken": "yes",
    "ignored": "ignored",
    "denied": "denied, unless permitted",
    "refused": "refused",
}

media = ExchangeSpec(name="media")
transient = QueueSpec(name="q", durable=False)


def classic(**arguments: str | int) -> QueueSpec:
    return QueueSpec(name="q", type="classic", arguments={f"x-{k.replace('_', '-')}": v for k, v in arguments.items()})


def quorum(**arguments: str | int) -> QueueSpec:
    return QueueSpec(name="q", arguments={f"x-{k.replace('_', '-')}": v for k, v in arguments.items()})


def markdown(features: tuple[Feature, ...]) -> str:
    """Return a table as the page shows it."""
    head = ["| | RabbitMQ | LavinMQ | Amazon MQ | instead |", "|---|---|---|---|---|"]
    return "\n".join([*head, *map(row, features)])


def row(feature: Feature) -> str:
    cells = (cell(feature, product) for product in (RABBITMQ, LAVINMQ, AMAZON_MQ))
    return f"| {feature.what} | {' | '.join(cells)} | {feature.instead} |"


def cell(feature: Feature, product: str) -> str:
    if product not in feature.stages:
        return "as RabbitMQ" if product == AMAZON_MQ else "not known"
    return "; ".join(described(feature.stages[product]))


def described(stages: Sequence[Stage]) -> Iterator[str]:
    for number, stage in enumerate(stages):
        since = f"from {'.'.join(map(str, stage.since))} on " if number else ""
        note = f" ({stage.note})" if stage.note else ""
        yield f"{since}{WORDS[stage.support]}{note}"


def test_page_shows_the_table_of_the_code() -> None:
    declared = markdown(tuple(feature for feature in FEATURES if feature.field))
    others = markdown(tuple(feature for feature in FEATURES if not feature.field))

    for table in (declared, others):
        assert table in PAGE.read_text(), f"docs/brokers.md must have these tables:\n{declared}\n\n{others}"


@pytest.mark.parametrize(
    ("queue", "broker", "support"),
    [
        (transient, "4.2.10", None),
        (transient, "4.3.0", "denied"),
        (transient, "5.0", "denied"),
        (QueueSpec(name="q", durable=False, auto_delete=True), "4.3", "denied"),
        (QueueSpec(name="q", durable=False, exclusive=True), "4.3", None),
        (QueueSpec(name="q", expires=60, type="classic"), "4.3", None),
        (transient, "LavinMQ 2.9", None),
        (transient, "Amazon MQ 4.2", None),
        (transient, "Amazon MQ 4.3", "refused"),
        (classic(queue_mode="lazy"), "3.11.28", None),
        (classic(queue_mode="lazy"), "3.12", "ignored"),
        (classic(queue_version=1), "4.2", None),
        (classic(queue_version=1), "4.3", "refused"),
        (classic(queue_version=2), "4.3", None),
        (classic(queue_master_locator="min-masters"), "4.3", "denied"),
        (classic(queue_leader_locator="balanced"), "3.13", "refused"),
        (classic(queue_leader_locator="balanced"), "4.0", None),
        (quorum(queue_leader_locator="balanced"), "3.10", None),
        (classic(consumer_timeout=60_000), "3.10", "ignored"),
        (classic(consumer_timeout=60_000), "4.2", None),
        (classic(consumer_timeout=60_000), "4.3", "refused"),
        (quorum(consumer_timeout=60_000), "4.3", None),
        (quorum(delayed_retry_type="failed"), "4.2", "ignored"),
        (quorum(delayed_retry_type="failed"), "4.3", None),
        (quorum(max_in_memory_length=5), "4.0", "ignored"),
        (QueueSpec(name="q"), "LavinMQ 2.9", "ignored"),
        (QueueSpec(name="q", type="classic"), "LavinMQ 2.9", None),
        (QueueSpec(name="q", type="stream"), "Amazon MQ 4.2", "refused"),
        (QueueSpec(name="q", type="stream"), "3.10", None),
    ],
    ids=str,
)
def test_queue_is_limited_as_the_version_limits_it(queue: QueueSpec, broker: str, support: Support | None) -> None:
    assert [limit.stage.support for limit in limits_of_queue(queue, facts_named(broker))] == [support] * bool(support)


@pytest.mark.parametrize(
    ("key", "broker", "support"),
    [
        ("#.a.#", "4.3.6", None),
        ("#.a.#.b.#", "4.3.4", None),
        ("#.a.#.b.#", "4.3.5", "refused"),
        ("#.#.#", "4.3", "refused"),
        ("#.a.#.b.#", "4.2.10", None),
        ("#.a.#.b.#", "LavinMQ 2.9", None),
        ("#.a.#.b.#", "Amazon MQ 4.3", "refused"),
        (RoutingPattern("#.a.#.b.#"), "4.3", "refused"),
    ],
)
def test_binding_may_have_as_many_hashes_as_the_version_takes(
    key: str | RoutingPattern, broker: str, support: Support | None
) -> None:
    found = [limit.stage.support for limit in limits_of_binding(media, media.bind(key), facts_named(broker))]

    assert found == [support] * bool(support)


def test_hashes_are_counted_for_topic_exchanges_alone() -> None:
    """A direct exchange takes the key as it is."""
    direct = ExchangeSpec(name="direct", type="direct")

    assert not list(limits_of_binding(direct, direct.bind("#.#.#"), BrokerFacts(RABBITMQ, "4.3.6")))


def test_limit_says_which_field_which_broker_and_the_way_out() -> None:
    (limit,) = limits_of_queue(transient, BrokerFacts(RABBITMQ, "4.3.6"))

    assert str(limit) == (
        "durable: RabbitMQ 4.3.6 denies, unless its operator permits it, a queue that is neither durable nor exclusive "
        "(deprecated_features.permit.transient_nonexcl_queues, as in Debian's package): "
        "use exclusive=True, or durable=True with expires="
    )


@pytest.mark.parametrize(
    "broker", [BrokerFacts("Other", "4.3"), BrokerFacts(RABBITMQ, "unknown"), BrokerFacts(RABBITMQ, "3.9.29")]
)
def test_nothing_is_said_of_a_broker_that_is_not_known(broker: BrokerFacts) -> None:
    assert list(limits_of_queue(transient, broker)) == []
    assert not has(RETURNS_UNCOUNTED, broker)


def test_messages_are_returned_uncounted_from_4_3_on() -> None:
    known = {version: has(RETURNS_UNCOUNTED, BrokerFacts(RABBITMQ, version)) for version in ("4.2.10", "4.3.0", "4.3")}

    assert known == {"4.2.10": False, "4.3.0": True, "4.3": True}
    assert not has(RETURNS_UNCOUNTED, None)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated.\nBy default ...", "transient_queue"),
        ("INTERNAL_ERROR - Feature `queue_master_locator` is deprecated.", "queue_master_locator"),
        ("PRECONDITION_FAILED - Topic binding key '#.#.#' uses 3 '#' wildcards, at most", "binding_of_many_hashes"),
        ("PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q'", None),
    ],
)
def test_refusal_of_a_broker_names_the_feature_it_is_about(answer: str, code: str | None) -> None:
    feature = feature_refused(answer)

    assert (feature.code if feature else None) == code


@pytest.mark.parametrize(
    ("text", "facts"),
    [
        ("4.3", BrokerFacts(RABBITMQ, "4.3")),
        ("rabbitmq 3.10.8", BrokerFacts(RABBITMQ, "3.10.8")),
        (" LavinMQ 2.9.0 ", BrokerFacts(LAVINMQ, "2.9.0")),
        ("amazon mq 4.2", BrokerFacts(AMAZON_MQ, "4.2")),
        (BrokerFacts("Other", "1"), BrokerFacts("Other", "1")),
    ],
)
def test_broker_is_named_by_version_or_product(text: str, facts: BrokerFacts) -> None:
    assert facts_named(text) == facts


@pytest.mark.parametrize("text", ["", "newest", "RabbitMQ", "Qpid 9", "4.", 4.3])
def test_text_that_names_no_broker_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write '4\.3' for RabbitMQ's version"):
        facts_named(text)


def test_facts_come_from_the_properties_of_a_connection() -> None:
    assert facts_of({"product": "RabbitMQ", "version": "4.3.6", "platform": "x"}) == BrokerFacts(RABBITMQ, "4.3.6")
    assert facts_of({"product": "RabbitMQ"}) is None
    assert facts_of({}) is None


def test_lowest_version_of_one_product_counts() -> None:
    old, new, other = BrokerFacts(RABBITMQ, "3.10.8"), BrokerFacts(RABBITMQ, "4.3.6"), BrokerFacts(LAVINMQ, "2.9.0")

    assert lowest(old, new) == lowest(new, old) == lowest(None, old) == lowest(old, None) == old
    assert lowest(old, other) == other


@pytest.mark.parametrize(
    ("type_", "argument"),
    [("quorum", "x-queue-mode"), ("classic", "x-delayed-retry-type"), ("stream", "x-queue-version")],
)
def test_argument_of_another_type_of_queue_is_refused(type_: str, argument: str) -> None:
    """No broker does anything with it: each refuses or ignores it."""
    with pytest.raises(TopologyError, match=f"arguments: {argument} is for a .* queue, and this is a {type_} one"):
        QueueSpec.model_validate({"name": "q", "type": type_, "arguments": {argument: 2}})


def test_priorities_of_a_quorum_queue_are_not_declared() -> None:
    """RabbitMQ 4.3 too refuses the argument, and has 32 priorities."""
    with pytest.raises(TopologyError, match=r"from RabbitMQ 4\.0 on it has priorities of its own"):
        QueueSpec(name="q", max_priority=31)
