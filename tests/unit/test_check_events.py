"""Check, with events: each reaches a queue and a handler with every key, and the handler takes its body."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator
from tests.kit.strategies import all_keys, token_lists

from taskroute import EventSpec, ExchangeSpec, Finding, HandlerRegistry, Message, QueueSpec, Routes, Topology
from taskroute.graph import reachability as flows_module
from taskroute.graph.check import ways as ways_module
from taskroute.graph.check.check import check
from taskroute.graph.reachability import Flow, find_missed
from taskroute.keys.automaton import BudgetExceededError


class Video(BaseModel):
    id: str


class Task(BaseModel):
    id: str
    file: str


class Checked(BaseModel):
    id: str

    @field_validator("id")
    @classmethod
    def check(cls, value: str) -> str:
        return value


media = ExchangeSpec(name="media")
uploaded = EventSpec(pattern="video.{action}", exchange=media, body=Video)
video = QueueSpec(name="video", bindings=[uploaded])


def takes_video(body: Video) -> None: ...
def takes_task(body: Task) -> None: ...
def takes_checked(body: Checked) -> None: ...
def takes_anything(message: Message) -> None: ...


def of(
    *queues: QueueSpec, exchanges: tuple[ExchangeSpec, ...] = (media,), event: EventSpec[Any] = uploaded
) -> Topology:
    return Topology(exchanges=exchanges, queues=queues, events=[event])


def handlers(
    *registered: tuple[str, Any, str | None], fallback: tuple[Any, str | None] | None = None
) -> HandlerRegistry:
    registry = HandlerRegistry()
    for pattern, function, queue in registered:
        registry.add(pattern, function, queue=queue)
    if fallback is not None:
        registry.fallback(queue=fallback[1])(fallback[0])
    return registry


def of_events(topology: Topology, registry: HandlerRegistry) -> list[tuple[str, str, str | None]]:
    codes = ("event_unrouted", "event_unhandled", "event_body", "undecided")
    found = check(topology, registry.handlers)
    return [(one.code, one.severity, one.witness) for one in found if one.code in codes]


def only(topology: Topology, registry: HandlerRegistry, code: str) -> Finding:
    (finding,) = (one for one in check(topology, registry.handlers) if one.code == code)
    return finding


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    registry = HandlerRegistry()
    registry.add(uploaded, takes_video, queue=video)
    assert Routes(of(video), registry).check() == ()


# --- queues ---


def test_an_event_that_reaches_no_queue() -> None:
    finding = only(of(), handlers(), "event_unrouted")
    assert (finding.severity, finding.subject, finding.witness) == ("error", "event 'video.{action}'", "video.x")
    assert "'video.x' reaches no queue from exchange 'media'" in finding.message


def test_an_event_of_which_some_keys_reach_no_queue() -> None:
    some = QueueSpec(name="some", bindings=[media.bind("*.upload"), media.bind("video.x")])
    assert only(of(some), handlers(), "event_unrouted").witness == "video.x1"
    rest = QueueSpec(name="rest", bindings=[media.bind("video.#")])
    assert "event_unrouted" not in {code for code, _, _ in of_events(of(some, rest), handlers())}


def test_several_queues_may_take_the_keys_together() -> None:
    logged = EventSpec(pattern="log.{path:#}", exchange=media, body=Video)
    short = QueueSpec(name="short", bindings=[media.bind("log"), media.bind("log.*")])
    long = QueueSpec(name="long", bindings=[media.bind("log.*.*.#")])
    assert only(of(short, event=logged), handlers(), "event_unrouted").witness == "log.x.x"
    assert of_events(of(short, long, event=logged), handlers()) == [("event_unhandled", "info", "log.x.x")]


def test_ways_over_two_exchanges_and_the_alternate_one() -> None:
    inner = ExchangeSpec(name="inner", internal=True, bindings=[media.bind("*.upload")])
    queue = QueueSpec(name="q", bindings=[inner.bind("video.#")])
    assert only(of(queue, exchanges=(media, inner)), handlers(), "event_unrouted").witness == "video.x"
    rest = ExchangeSpec(name="rest", type="fanout")
    main = ExchangeSpec(name="media", alternate_exchange="rest")
    left = QueueSpec(name="left", bindings=[rest.bind()])
    event = EventSpec(pattern="video.{action}", exchange="media", body=Video)
    topology = Topology(exchanges=[main, inner, rest], queues=[queue, left], events=[event])
    assert "event_unrouted" not in {code for code, _, _ in of_events(topology, handlers())}
    greedy = ExchangeSpec(name="inner", internal=True, bindings=[main.bind("video.upload")])
    queue = QueueSpec(name="q", bindings=[greedy.bind("*.delete")])
    topology = Topology(exchanges=[main, greedy, rest], queues=[queue, left], events=[event])
    assert only(topology, handlers(), "event_unrouted").witness == "video.upload"


def test_an_exchange_of_others_may_be_bound_by_them() -> None:
    theirs = ExchangeSpec(name="theirs", passive=True)
    event = EventSpec(pattern="video.{action}", exchange=theirs, body=Video)
    assert only(of(exchanges=(theirs,), event=event), handlers(), "event_unrouted").severity == "info"


def test_the_default_exchange_reaches_queues_by_their_names() -> None:
    job = EventSpec(pattern="video", exchange="", body=Video)
    assert of_events(of(video, event=job), handlers(("video", takes_video, "video"))) == []
    nowhere = EventSpec(pattern="{queue}", exchange="", body=Video)
    assert only(of(video, event=nowhere), handlers(), "event_unrouted").witness == "x"


def test_headers_that_a_message_may_lack_are_undecided() -> None:
    by_header = ExchangeSpec(name="h", type="headers")
    event = EventSpec(pattern="video.{action}", exchange=by_header, body=Video)
    asking = QueueSpec(name="asking", bindings=[by_header.bind(headers={"a": 1})])
    topology = of(asking, exchanges=(by_header,), event=event)
    registry = handlers(("#", takes_video, "asking"))
    assert of_events(topology, registry) == [("undecided", "info", None)]
    assert "headers" in only(topology, registry, "undecided").message
    free = QueueSpec(name="free", bindings=[by_header.bind()])
    assert of_events(of(asking, free, exchanges=(by_header,), event=event), registry) == []


binding_keys = token_lists(3).map(".".join)
event_patterns = st.sampled_from(["a.{x}", "{x}.b", "{x:#}", "a.{x:#}.b", "{x}.{y}", "a.b", "a.{x}.{y:#}"])


@settings(max_examples=200)
@given(st.lists(binding_keys, max_size=5), st.lists(binding_keys, max_size=2), event_patterns, st.booleans())
def test_a_key_that_reaches_no_queue_is_found_if_and_only_if_there_is_one(
    bound: list[str], inner_bound: list[str], pattern: str, has_alternate: bool
) -> None:
    rest = ExchangeSpec(name="rest")
    main = ExchangeSpec(name="media", alternate_exchange="rest" if has_alternate else None)
    inner = ExchangeSpec(name="inner", bindings=[main.bind(key) for key in inner_bound])
    event = EventSpec(pattern=pattern, exchange="media", body=Video)
    queues = [
        QueueSpec(name="q", bindings=[main.bind(key) for key in bound[:2]]),
        QueueSpec(name="r", bindings=[inner.bind(key) for key in bound[2:4]]),
        QueueSpec(name="s", bindings=[rest.bind(key) for key in bound[4:]]),
    ]
    topology = Topology(exchanges=[main, inner, rest], queues=queues, events=[event])
    found = [one for one in check(topology, ()) if one.code == "event_unrouted"]
    missed = [
        key
        for key in map(".".join, all_keys(4))
        if event.pattern.matches(key) and not topology.route(key, exchange="media")
    ]
    assert bool(found) == bool(missed)
    for finding in found:
        assert finding.witness is not None
        assert event.pattern.matches(finding.witness)
        assert not topology.route(finding.witness, exchange="media")


def test_many_ways_of_several_patterns_are_decided_and_far_too_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [Flow(frozenset({(f"w{number}", "#"), ("#", f"w{number}")})) for number in range(40)]
    assert find_missed(("#",), ways) == ""
    assert find_missed(("a", "#"), [*ways, Flow(frozenset({("a", "#")}))]) is None
    monkeypatch.setattr(flows_module, "MOST_FLOWS", 10)
    with pytest.raises(BudgetExceededError):
        find_missed(("#",), ways)


def test_the_budget_holds_for_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_module, "BUDGET", 1)
    findings = check(of(video), handlers(("video.*", takes_video, "video")).handlers)
    questions = {one.message for one in findings if one.code == "undecided" and one.subject == str(uploaded)}
    assert "event 'video.{action}': whether every key reaches a queue: too hard to decide" in questions
    assert {one.severity for one in findings if one.code == "undecided"} == {"warning"}


# --- handlers ---


def test_an_event_with_a_key_that_no_handler_takes() -> None:
    finding = only(of(video), handlers(("video.upload", takes_video, "video")), "event_unhandled")
    assert (finding.severity, finding.witness) == ("error", "video.x")
    assert "'video.x' reaches queue 'video', and no handler takes it" in finding.message


def test_fallbacks_and_handlers_for_any_queue_take_keys_too() -> None:
    upload = ("video.upload", takes_video, "video")
    assert of_events(of(video), handlers(upload, fallback=(takes_anything, "video"))) == []
    assert of_events(of(video), handlers(upload, fallback=(takes_anything, None))) == []
    assert of_events(of(video), handlers(upload, ("#", takes_video, None))) == []


def test_a_queue_that_no_handler_names_may_be_another_services() -> None:
    audit = QueueSpec(name="audit", bindings=[media.bind("#")])
    assert of_events(of(video, audit), handlers(("video.*", takes_video, "video"))) == []
    finding = only(of(video, audit), handlers(), "event_unhandled")
    assert (finding.severity, finding.witness) == ("info", "video.x")
    assert "'audit', 'video'" in finding.message


# --- bodies ---


def test_a_handler_that_refuses_an_events_body() -> None:
    finding = only(of(video), handlers(("video.{action}", takes_task, "video")), "event_body")
    assert (finding.severity, finding.witness) == ("error", "video.x")
    assert finding.subject == f"{__name__}.takes_task ('video.{{action}}' of queue 'video')"
    assert "refuses a body of event 'video.{action}' (Video): file: missing; such messages" in finding.message


def test_a_body_that_may_be_refused_is_said_to_be() -> None:
    topology, registry = of(video), handlers(("video.*", takes_checked, "video"))
    assert of_events(topology, registry) == [("undecided", "info", "video.x")]
    assert "may refuse a body of event 'video.{action}' (Video): id: " in only(topology, registry, "undecided").message


def test_only_handlers_that_get_the_event_are_asked() -> None:
    other = ("video.x.y", takes_task, "video")
    wide = QueueSpec(name="video", bindings=[media.bind("#")])
    assert of_events(of(wide), handlers(("video.*", takes_video, "video"), other)) == []
    narrower = [("video.*", takes_video, "video"), ("video.upload", takes_task, "video")]
    assert of_events(of(video), handlers(*narrower)) == [("event_body", "error", "video.upload")]
    covered = [("#", takes_task, "video"), ("video.*", takes_video, "video")]
    assert of_events(of(video), handlers(*covered)) == []
    own_first = [("video.*", takes_task, None), ("#", takes_video, "video")]
    assert of_events(of(video), handlers(*own_first)) == []
    elsewhere = QueueSpec(name="elsewhere", bindings=[media.bind("image.#")])
    away = [("video.*", takes_video, "video"), ("#", takes_task, "elsewhere")]
    assert of_events(of(video, elsewhere), handlers(*away)) == []


def test_fallbacks_are_asked_for_what_is_left_to_them() -> None:
    upload = ("video.upload", takes_video, "video")
    for queue in ("video", None):
        assert of_events(of(video), handlers(upload, fallback=(takes_task, queue))) == [
            ("event_body", "error", "video.x")
        ]
    everything = ("video.*", takes_video, "video")
    assert of_events(of(video), handlers(everything, fallback=(takes_task, "video"))) == []
    for_any_queue = [upload, ("video.*", takes_video, None)]
    assert of_events(of(video), handlers(*for_any_queue, fallback=(takes_task, "video"))) == []
    both = handlers(upload, fallback=(takes_anything, "video"))
    both.fallback()(takes_task)
    assert of_events(of(video), both) == []


def test_one_handler_in_two_queues_is_one_finding() -> None:
    copy = QueueSpec(name="copy", bindings=[uploaded])
    registry = handlers(("#", takes_task, None), ("never", takes_video, "video"), ("never", takes_video, "copy"))
    assert [one[0] for one in of_events(of(video, copy), registry)] == ["event_body"]


def test_explain_names_the_event() -> None:
    registry = handlers(("video.*", takes_video, "video"))
    explanation = Routes(of(video), registry).explain("video.upload", exchange=media)
    assert explanation.events == (uploaded,)
    assert str(explanation).splitlines()[1] == "  event 'video.{action}' with a body of Video"
    assert Routes(of(video), registry).explain("image.upload", exchange=media).events == ()
    assert Routes(of(video), registry).explain("video.upload", exchange="").events == ()
