"""Check: what a broker of some version does not take is found without asking one."""

from __future__ import annotations

import pytest

from taskroute import (
    BrokerFacts,
    ConfigurationError,
    ExchangeSpec,
    Finding,
    HandlerRegistry,
    QueueSpec,
    Routes,
    Topology,
)

media = ExchangeSpec(name="media")


def found(topology: Topology, broker: BrokerFacts | str | None, *patterns: str) -> list[Finding]:
    registry = HandlerRegistry()
    for pattern in patterns or ("#",):
        registry.add(pattern, lambda body: None)
    findings = Routes(topology, registry).check(broker=broker)
    return [finding for finding in findings if finding.code.endswith("_by_broker")]


def test_transient_queue_is_found_for_the_version_that_denies_it() -> None:
    topology = Topology(queues=[QueueSpec(name="news", durable=False)])

    (finding,) = found(topology, "4.3")

    assert (finding.code, finding.severity, finding.subject) == ("denied_by_broker", "error", "queue 'news'")
    assert finding.message.startswith("queue 'news': durable: RabbitMQ 4.3 denies")
    assert "use exclusive=True, or durable=True with expires=" in finding.message
    assert found(topology, "4.2") == []
    assert found(topology, None) == []


def test_binding_of_three_hashes_is_found_with_a_key_that_it_takes() -> None:
    queue = QueueSpec(name="q", bindings=[media.bind("#.a.#.b.#")])

    (finding,) = found(Topology(exchanges=[media], queues=[queue]), BrokerFacts("RabbitMQ", "4.3.6"))

    assert (finding.code, finding.severity, finding.witness) == ("refused_by_broker", "error", "a.b")
    assert "binding '#.a.#.b.#' from exchange 'media': binding_key: RabbitMQ 4.3.6 refuses" in finding.message
    assert "bind the key up to its second `#`" in finding.message


def test_binding_between_exchanges_is_looked_at() -> None:
    other = ExchangeSpec(name="other", bindings=[media.bind("#.#.#")])

    (finding,) = found(Topology(exchanges=[media, other]), "4.3")

    assert (finding.subject, finding.witness) == ("exchange 'other'", "")


def test_handler_pattern_keeps_any_number_of_hashes() -> None:
    queue = QueueSpec(name="q", bindings=[media.bind("#.a.#")])

    assert found(Topology(exchanges=[media], queues=[queue]), "4.3", "#.a.#.b.#.c.#", "#") == []


def test_argument_that_a_version_ignores_is_a_warning() -> None:
    lazy = QueueSpec(name="q", type="classic", arguments={"x-queue-mode": "lazy"})

    (finding,) = found(Topology(queues=[lazy]), "3.13")

    assert (finding.code, finding.severity, finding.witness) == ("ignored_by_broker", "warning", None)


def test_queue_that_others_declare_is_left_to_them() -> None:
    """Nothing of it is declared, its bindings neither."""
    passive = QueueSpec(name="q", durable=False, passive=True, bindings=[media.bind("#.#.#")])

    assert found(Topology(exchanges=[media], queues=[passive]), "4.3") == []


def test_broker_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names no broker"):
        Routes(Topology(), HandlerRegistry()).check(broker="newest")
