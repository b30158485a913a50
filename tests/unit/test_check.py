"""Check: one hole of each kind is found with its witness, and nothing is found where nothing is wrong."""

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


def of(*queues: QueueSpec, exchanges: tuple[ExchangeSpec, ...] = (media,)) -> Topology:
    return Topology(exchanges=exchanges, queues=queues)


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    registry = handlers(("video.{action}", "video"), ("video.upload", "video"), ("#", "audit"))
    assert Routes(of(video, audit), registry).check() == ()


def test_a_handler_that_no_binding_feeds() -> None:
    finding = found(of(video), handlers(("video.*", "video"), ("image.*", "video")))["unfed_handler"]
    assert finding.severity == "error"
    assert "'image.*'" in finding.message
    assert "queue 'video'" in finding.message


def test_the_default_exchange_feeds_a_queue_by_its_name() -> None:
    jobs = QueueSpec(name="jobs")
    assert found(of(jobs, exchanges=()), handlers(("jobs", "jobs"))) == {}
    assert "unfed_handler" in found(of(jobs, exchanges=()), handlers(("job", "jobs")))


def test_a_handler_of_a_dead_letter_queue_is_fed_by_the_queue_that_dies_into_it() -> None:
    registry = handlers(("video.*", "video"), ("video.upload", "video.dead"), fallback="video.dead")
    assert found(of(video), registry) == {}
    assert "unfed_handler" in found(of(video), handlers(("video.*", "video"), ("image", "video.dead")))


def test_a_key_that_no_handler_takes() -> None:
    finding = found(of(audit), handlers(("*", "audit"), ("*.*.#", "audit")))["unhandled_key"]
    assert (finding.severity, finding.witness) == ("warning", "")
    assert "unhandled_key" not in found(of(audit), handlers(("*", "audit"), ("*.*.#", "audit"), ("", "audit")))
    assert "unhandled_key" not in found(of(audit), handlers(("*", "audit"), fallback="audit"))


def test_ambiguous_handlers() -> None:
    finding = found(of(audit), handlers(("video.*", "audit"), ("*.upload", "audit")))["ambiguous_handlers"]
    assert (finding.severity, finding.witness) == ("error", "video.upload")


def test_an_any_queue_handler_that_one_message_runs_twice() -> None:
    """The bug of many a tutorial: what is meant for the video queue lands in the audit queue as well."""
    finding = found(of(video, audit), handlers(("video.{action}", None)))["handled_twice"]
    assert finding.severity == "warning"
    assert finding.witness is not None
    assert of(video, audit).route(finding.witness, exchange="media") == {"video", "audit"}
    own = handlers(("video.{action}", None), ("#", "audit"))
    assert "handled_twice" not in found(of(video, audit), own)


def test_two_ways_into_one_queue_bring_one_message() -> None:
    twice = QueueSpec(name="q", bindings=[media.bind("video.#"), media.bind("*.upload")])
    assert "handled_twice" not in found(of(twice), handlers(("video.upload", None)))


def test_an_any_queue_handler_is_not_run_twice_through_different_exchanges() -> None:
    other = ExchangeSpec(name="other")
    topology = of(video, QueueSpec(name="q", bindings=[other.bind("video.*")]), exchanges=(media, other))
    assert "handled_twice" not in found(topology, handlers(("video.{action}", None)))


def test_a_shadowed_any_queue_handler() -> None:
    everywhere = found(of(audit), handlers(("video.upload", None), ("#", "audit")))["shadowed_handler"]
    assert (everywhere.severity, everywhere.witness) == ("warning", "video.upload")
    assert "(any queue)" not in everywhere.message
    assert "('#' of queue 'audit')" in everywhere.message
    here = found(of(video, audit), handlers(("video.upload", None), ("#", "audit")))["shadowed_handler"]
    assert here.severity == "info"


def test_a_handler_that_narrower_ones_cover_together_is_shadowed() -> None:
    registry = handlers(("video.*", "video"), ("video.a", "video"))
    assert "shadowed_handler" not in found(of(video), registry)
    narrow = QueueSpec(name="video", bindings=[media.bind("video.a"), media.bind("video.b")])
    registry = handlers(("video.*", "video"), ("video.a", "video"), ("video.b", "video"))
    finding = found(of(narrow), registry)["shadowed_handler"]
    assert finding.subject.endswith("('video.*' of queue 'video')")


def test_an_exchange_whose_messages_go_nowhere() -> None:
    lonely = ExchangeSpec(name="lonely")
    finding = found(of(exchanges=(lonely,)), handlers())["dead_end_exchange"]
    assert (finding.severity, finding.subject) == ("warning", "exchange 'lonely'")
    # A way there is that no key can take:
    source = ExchangeSpec(name="source")
    target = ExchangeSpec(name="target", internal=True, bindings=[source.bind("a.#")])
    q = QueueSpec(name="q", bindings=[target.bind("b.#")])
    codes = [(one.code, one.subject) for one in check(of(q, exchanges=(source, target)), ())]
    assert ("dead_end_exchange", "exchange 'source'") in codes


def test_a_queue_that_no_handler_consumes() -> None:
    finding = found(of(video, audit), handlers(("video.*", "video")))["unconsumed_queue"]
    assert (finding.severity, finding.subject) == ("info", "queue 'audit'")
    own = QueueSpec(name="own", exclusive=True, bindings=[media.bind("#")])
    assert found(of(own), handlers())["unconsumed_queue"].severity == "warning"


def test_a_dead_letter_queue_that_is_not_there() -> None:
    jobs = QueueSpec(name="jobs", bindings=[media.bind("job.#")], dead_letter="morgue")
    finding = found(of(jobs), handlers(("job.#", "jobs")))["missing_dead_letter_queue"]
    assert (finding.severity, finding.subject, finding.witness) == ("error", "queue 'jobs'", "job")
    there = of(jobs, QueueSpec(name="morgue", retry=False, dead_letter=False))
    assert found(there, handlers(("job.#", "jobs"))) == {}


def test_a_circle_of_dead_letters_is_found_once() -> None:
    one = QueueSpec(name="one", bindings=[media.bind("#")], dead_letter="two")
    two = QueueSpec(name="two", dead_letter="one")
    cycles = check(of(one, two), handlers(("#", "one"), ("#", "two")).handlers)
    assert [each.code for each in cycles] == ["dead_letter_cycle"]
    assert "'one' -> 'two' -> 'one'" in cycles[0].message


def test_what_is_too_hard_is_said_to_be_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_module, "BUDGET", 1)
    finding = found(of(audit), handlers(("a.b.c", "audit"), ("a.#", "audit")))["undecided"]
    assert finding.severity == "warning"
    assert "too hard" in finding.message


def test_the_worst_comes_first() -> None:
    severities = [
        one.severity for one in check(of(video, audit), handlers(("nope", "video"), ("video.a", "video")).handlers)
    ]
    assert severities == sorted(severities, key=["error", "warning", "info"].index)
    assert set(severities) == {"error", "warning", "info"}


# --- ways through the graph ---


def test_bindings_between_exchanges_are_both_asked() -> None:
    inner = ExchangeSpec(name="inner", internal=True, bindings=[media.bind("video.#")])
    queue = QueueSpec(name="q", bindings=[inner.bind("*.upload")])
    topology = of(queue, exchanges=(media, inner))
    assert found(topology, handlers(("video.upload", "q"))) == {}
    assert found(topology, handlers(("audio.upload", "q")))["unfed_handler"].severity == "error"


def test_an_exchange_that_anyone_can_publish_to_lets_in_every_key_itself() -> None:
    outer = ExchangeSpec(name="outer", bindings=[media.bind("video.#")])
    queue = QueueSpec(name="q", bindings=[outer.bind("*.upload")])
    assert (
        found(of(queue, exchanges=(media, outer)), handlers(("audio.upload", "q")))["unhandled_key"].witness
        == "x.upload"
    )


def test_an_alternate_exchange_gets_what_is_left() -> None:
    rest = ExchangeSpec(name="rest", type="fanout", internal=True)
    main = ExchangeSpec(name="main", alternate_exchange="rest")
    topology = of(
        QueueSpec(name="known", bindings=[main.bind("a.#")]),
        QueueSpec(name="unknown", bindings=[rest.bind()]),
        exchanges=(main, rest),
    )
    registry = handlers(("a.#", "known"), ("a.x", "unknown"), fallback="unknown")
    assert "('a.x' of queue 'unknown')" in found(topology, registry)["unfed_handler"].subject
    registry = handlers(("a.#", "known"), ("b", "unknown"), fallback="unknown")
    assert found(topology, registry) == {}


def test_a_direct_exchange_lets_in_exactly_its_keys() -> None:
    direct = ExchangeSpec(name="direct", type="direct")
    queue = QueueSpec(name="q", bindings=[direct.bind("a.*")])
    topology = of(queue, exchanges=(direct,))
    assert found(topology, handlers(("a.b", "q")))["unhandled_key"].witness == "a.*"
    assert "unfed_handler" in found(topology, handlers(("a.b", "q")))
    assert found(topology, handlers(("a.{any}", "q"))) == {}


def test_headers_are_free_and_keys_are_not_asked() -> None:
    by_header = ExchangeSpec(name="h", type="headers")
    queue = QueueSpec(name="q", bindings=[by_header.bind(headers={"a": 1})])
    assert found(of(queue, exchanges=(by_header,)), handlers(("#", "q"))) == {}
    assert "unhandled_key" in found(of(queue, exchanges=(by_header,)), handlers(("a", "q")))


def test_exchanges_in_a_circle_end() -> None:
    names = ("one", "two", "three")
    bare = [ExchangeSpec(name=name) for name in names]
    circle = tuple(
        ExchangeSpec(name=name, internal=name != "one", bindings=[bare[at - 1].bind("#")])
        for at, name in enumerate(names)
    )
    queue = QueueSpec(name="q", bindings=[bare[2].bind("a.#")])
    assert found(of(queue, exchanges=circle), handlers(("a.#", "q"))) == {}


binding_keys = token_lists(3).map(".".join)


@settings(max_examples=150)
@given(st.lists(binding_keys, min_size=1, max_size=3), st.lists(binding_keys, min_size=1, max_size=4, unique=True))
def test_a_key_without_a_handler_is_found_if_and_only_if_there_is_one(bound: list[str], handled: list[str]) -> None:
    registry = HandlerRegistry()
    for pattern in handled:
        try_to(lambda pattern=pattern: registry.add(pattern, nothing, queue="q"))  # type: ignore[misc]
    topology = of(QueueSpec(name="q", bindings=[media.bind(key) for key in bound]))
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


def try_to(call: Callable[[], Any]) -> None:
    from taskroute import DuplicateHandlerError

    try:
        call()
    except DuplicateHandlerError:
        return


def test_retry_policies_play_no_part() -> None:
    jobs = QueueSpec(name="jobs", bindings=[media.bind("#")], retry=RetryPolicy(delays=(1,)))
    assert found(of(jobs), handlers(("#", "jobs"))) == {}
