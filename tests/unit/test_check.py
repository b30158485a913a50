"""Check: each kind of fault is found with its witness, and a sound topology has no findings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.strategies import all_keys, token_lists

from taskroute import ExchangeSpec, Finding, HandlerRegistry, QueueSpec, RetryPolicy, Routes, Topology
from taskroute.graph.check import ways as ways_module
from taskroute.graph.check.check import check

media = ExchangeSpec(name="media")
video = QueueSpec(name="video", bindings=[media.bind("video.*")])
audit = QueueSpec(name="audit", bindings=[media.bind("#")])


def nothing(body: bytes) -> None: ...


def handlers(*patterns: tuple[str, str | None], fallback: str | None = None) -> HandlerRegistry:
    registry = HandlerRegistry()
    for pattern, queue in patterns:
        registry.add(pattern, lambda body: None, queue=queue)
    if fallback is not None:
        registry.fallback(queue=fallback)(nothing)
    return registry


def found(topology: Topology, registry: HandlerRegistry) -> dict[str, Finding]:
    return {finding.code: finding for finding in check(topology, registry.handlers)}


def topology_of(*queues: QueueSpec, exchanges: tuple[ExchangeSpec, ...] = (media,)) -> Topology:
    return Topology(exchanges=exchanges, queues=queues)


def test_sound_topology_has_no_findings() -> None:
    registry = handlers(("video.{action}", "video"), ("video.upload", "video"), ("#", "audit"))
    assert Routes(topology_of(video, audit), registry).check() == ()


def test_handler_that_no_binding_feeds_is_found() -> None:
    finding = found(topology_of(video), handlers(("video.*", "video"), ("image.*", "video")))["unfed_handler"]
    assert finding.severity == "error"
    assert "'image.*'" in finding.message
    assert "queue 'video'" in finding.message


def test_default_exchange_feeds_a_queue_by_its_name() -> None:
    jobs = QueueSpec(name="jobs")
    assert found(topology_of(jobs, exchanges=()), handlers(("jobs", "jobs"))) == {}
    assert "unfed_handler" in found(topology_of(jobs, exchanges=()), handlers(("job", "jobs")))


def test_dead_letter_queue_is_fed_by_its_source_queue() -> None:
    """A handler of a dead-letter queue is fed by the queue that dead-letters into it."""
    registry = handlers(("video.*", "video"), ("video.upload", "video.dead"), fallback="video.dead")
    assert found(topology_of(video), registry) == {}
    assert "unfed_handler" in found(topology_of(video), handlers(("video.*", "video"), ("image", "video.dead")))


def test_key_without_a_handler_is_found() -> None:
    finding = found(topology_of(audit), handlers(("*", "audit"), ("*.*.#", "audit")))["unhandled_key"]
    assert (finding.severity, finding.witness) == ("warning", "")
    assert "unhandled_key" not in found(topology_of(audit), handlers(("*", "audit"), ("*.*.#", "audit"), ("", "audit")))
    assert "unhandled_key" not in found(topology_of(audit), handlers(("*", "audit"), fallback="audit"))


def test_ambiguous_handlers_are_found() -> None:
    finding = found(topology_of(audit), handlers(("video.*", "audit"), ("*.upload", "audit")))["ambiguous_handlers"]
    assert (finding.severity, finding.witness) == ("error", "video.upload")


def test_any_queue_handler_run_twice_by_one_message_is_found() -> None:
    """A message for the video queue reaches the audit queue as well, and runs the handler there too."""
    finding = found(topology_of(video, audit), handlers(("video.{action}", None)))["handled_twice"]
    assert finding.severity == "warning"
    assert finding.witness is not None
    assert topology_of(video, audit).route(finding.witness, exchange="media") == {"video", "audit"}

    own = handlers(("video.{action}", None), ("#", "audit"))
    assert "handled_twice" not in found(topology_of(video, audit), own)


def test_two_bindings_of_one_queue_deliver_one_message() -> None:
    twice = QueueSpec(name="q", bindings=[media.bind("video.#"), media.bind("*.upload")])
    assert "handled_twice" not in found(topology_of(twice), handlers(("video.upload", None)))


def test_queues_of_different_exchanges_do_not_share_a_message() -> None:
    other = ExchangeSpec(name="other")
    topology = topology_of(video, QueueSpec(name="q", bindings=[other.bind("video.*")]), exchanges=(media, other))
    assert "handled_twice" not in found(topology, handlers(("video.{action}", None)))


def test_shadowed_any_queue_handler_is_found() -> None:
    """The severity depends on whether every queue shadows the handler, or some do."""
    everywhere = found(topology_of(audit), handlers(("video.upload", None), ("#", "audit")))["shadowed_handler"]
    assert (everywhere.severity, everywhere.witness) == ("warning", "video.upload")
    assert "(any queue)" not in everywhere.message
    assert "('#' of queue 'audit')" in everywhere.message

    here = found(topology_of(video, audit), handlers(("video.upload", None), ("#", "audit")))["shadowed_handler"]
    assert here.severity == "info"


def test_handler_covered_by_narrower_handlers_is_shadowed() -> None:
    registry = handlers(("video.*", "video"), ("video.a", "video"))
    assert "shadowed_handler" not in found(topology_of(video), registry)

    narrow = QueueSpec(name="video", bindings=[media.bind("video.a"), media.bind("video.b")])
    registry = handlers(("video.*", "video"), ("video.a", "video"), ("video.b", "video"))
    finding = found(topology_of(narrow), registry)["shadowed_handler"]
    assert finding.subject.endswith("('video.*' of queue 'video')")


def test_exchange_that_feeds_no_queue_is_found() -> None:
    lonely = ExchangeSpec(name="lonely")
    finding = found(topology_of(exchanges=(lonely,)), handlers())["dead_end_exchange"]
    assert (finding.severity, finding.subject) == ("warning", "exchange 'lonely'")

    # There is a way to a queue, and no key matches both of its bindings:
    source = ExchangeSpec(name="source")
    target = ExchangeSpec(name="target", internal=True, bindings=[source.bind("a.#")])
    q = QueueSpec(name="q", bindings=[target.bind("b.#")])
    codes = [(one.code, one.subject) for one in check(topology_of(q, exchanges=(source, target)), ())]
    assert ("dead_end_exchange", "exchange 'source'") in codes


def test_queue_without_a_handler_is_found() -> None:
    finding = found(topology_of(video, audit), handlers(("video.*", "video")))["unconsumed_queue"]
    assert (finding.severity, finding.subject) == ("info", "queue 'audit'")

    own = QueueSpec(name="own", exclusive=True, bindings=[media.bind("#")])
    assert found(topology_of(own), handlers())["unconsumed_queue"].severity == "warning"


def test_missing_dead_letter_queue_is_found() -> None:
    jobs = QueueSpec(name="jobs", bindings=[media.bind("job.#")], dead_letter="morgue")

    finding = found(topology_of(jobs), handlers(("job.#", "jobs")))["missing_dead_letter_queue"]
    assert (finding.severity, finding.subject, finding.witness) == ("error", "queue 'jobs'", "job")

    there = topology_of(jobs, QueueSpec(name="morgue", retry=False, dead_letter=False))
    assert found(there, handlers(("job.#", "jobs"))) == {}


def test_dead_letter_cycle_is_found_once() -> None:
    one = QueueSpec(name="one", bindings=[media.bind("#")], dead_letter="two")
    two = QueueSpec(name="two", dead_letter="one")

    cycles = check(topology_of(one, two), handlers(("#", "one"), ("#", "two")).handlers)

    assert [each.code for each in cycles] == ["dead_letter_cycle"]
    assert "'one' -> 'two' -> 'one'" in cycles[0].message


def test_question_beyond_the_budget_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_module, "BUDGET", 1)

    finding = found(topology_of(audit), handlers(("a.b.c", "audit"), ("a.#", "audit")))["undecided"]
    assert finding.severity == "warning"
    assert "too hard" in finding.message


def test_findings_are_sorted_by_severity() -> None:
    severities = [
        one.severity
        for one in check(topology_of(video, audit), handlers(("nope", "video"), ("video.a", "video")).handlers)
    ]

    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert set(severities) == {"error", "warning", "info"}


# --- ways through the graph ---


def test_key_must_match_every_binding_on_its_way() -> None:
    inner = ExchangeSpec(name="inner", internal=True, bindings=[media.bind("video.#")])
    queue = QueueSpec(name="q", bindings=[inner.bind("*.upload")])
    topology = topology_of(queue, exchanges=(media, inner))

    assert found(topology, handlers(("video.upload", "q"))) == {}
    assert found(topology, handlers(("audio.upload", "q")))["unfed_handler"].severity == "error"


def test_exchange_that_is_not_internal_accepts_every_key() -> None:
    """Only an internal exchange is limited to the keys that its bindings bring."""
    outer = ExchangeSpec(name="outer", bindings=[media.bind("video.#")])
    queue = QueueSpec(name="q", bindings=[outer.bind("*.upload")])

    assert (
        found(topology_of(queue, exchanges=(media, outer)), handlers(("audio.upload", "q")))["unhandled_key"].witness
        == "x.upload"
    )


def test_alternate_exchange_receives_only_unrouted_keys() -> None:
    rest = ExchangeSpec(name="rest", type="fanout", internal=True)
    main = ExchangeSpec(name="main", alternate_exchange="rest")
    topology = topology_of(
        QueueSpec(name="known", bindings=[main.bind("a.#")]),
        QueueSpec(name="unknown", bindings=[rest.bind()]),
        exchanges=(main, rest),
    )

    registry = handlers(("a.#", "known"), ("a.x", "unknown"), fallback="unknown")
    assert "('a.x' of queue 'unknown')" in found(topology, registry)["unfed_handler"].subject

    registry = handlers(("a.#", "known"), ("b", "unknown"), fallback="unknown")
    assert found(topology, registry) == {}


def test_direct_exchange_matches_a_binding_key_literally() -> None:
    direct = ExchangeSpec(name="direct", type="direct")
    queue = QueueSpec(name="q", bindings=[direct.bind("a.*")])
    topology = topology_of(queue, exchanges=(direct,))

    assert found(topology, handlers(("a.b", "q")))["unhandled_key"].witness == "a.*"
    assert "unfed_handler" in found(topology, handlers(("a.b", "q")))
    assert found(topology, handlers(("a.{any}", "q"))) == {}


def test_headers_exchange_accepts_every_key() -> None:
    by_header = ExchangeSpec(name="h", type="headers")
    queue = QueueSpec(name="q", bindings=[by_header.bind(headers={"a": 1})])

    assert found(topology_of(queue, exchanges=(by_header,)), handlers(("#", "q"))) == {}
    assert "unhandled_key" in found(topology_of(queue, exchanges=(by_header,)), handlers(("a", "q")))


def test_cycle_of_exchanges_is_checked() -> None:
    names = ("one", "two", "three")
    bare = [ExchangeSpec(name=name) for name in names]
    circle = tuple(
        ExchangeSpec(name=name, internal=name != "one", bindings=[bare[at - 1].bind("#")])
        for at, name in enumerate(names)
    )
    queue = QueueSpec(name="q", bindings=[bare[2].bind("a.#")])

    assert found(topology_of(queue, exchanges=circle), handlers(("a.#", "q"))) == {}


binding_keys = token_lists(3).map(".".join)


@settings(max_examples=150)
@given(st.lists(binding_keys, min_size=1, max_size=3), st.lists(binding_keys, min_size=1, max_size=4, unique=True))
def test_unhandled_key_is_found_exactly_when_there_is_one(bound: list[str], handled: list[str]) -> None:
    registry = HandlerRegistry()
    for pattern in handled:
        ignore_duplicate(lambda pattern=pattern: registry.add(pattern, nothing, queue="q"))  # type: ignore[misc]
    topology = topology_of(QueueSpec(name="q", bindings=[media.bind(key) for key in bound]))

    finding = found(topology, registry).get("unhandled_key")
    unhandled = [
        key
        for key in map(".".join, all_keys(4))
        if topology.route(key, exchange=media) and not any(one.pattern.matches(key) for one in registry.handlers)
    ]

    if finding is None:
        assert unhandled == []
    else:
        assert finding.witness is not None
        assert topology.route(finding.witness, exchange=media) == {"q"}
        assert not any(one.pattern.matches(finding.witness) for one in registry.handlers)


def ignore_duplicate(call: Callable[[], Any]) -> None:
    from taskroute import DuplicateHandlerError

    try:
        call()
    except DuplicateHandlerError:
        return


def test_retry_policy_does_not_affect_findings() -> None:
    jobs = QueueSpec(name="jobs", bindings=[media.bind("#")], retry=RetryPolicy(delays=(1,)))
    assert found(topology_of(jobs), handlers(("#", "jobs"))) == {}


@pytest.mark.parametrize(("bound", "handled", "witness"), [("#", "a", "x"), ("#", "*.#", ""), ("a.#", "b", "a")])
def test_witness_has_a_word_where_one_can(bound: str, handled: str, witness: str) -> None:
    queue = QueueSpec(name="q", bindings=[media.bind(bound)])

    assert found(topology_of(queue), handlers((handled, "q")))["unhandled_key"].witness == witness


def test_witness_of_a_fanout_has_a_word() -> None:
    news = ExchangeSpec(name="news", type="fanout")
    queue = QueueSpec(name="q", bindings=[news.bind()])

    assert found(topology_of(queue, exchanges=(news,)), handlers(("a", "q")))["unhandled_key"].witness == "x"
