"""Check, with events: each key of an event reaches a queue and a handler, and the handler reads its body."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator
from tests.kit.strategies import all_keys, token_lists

from taskroute import EventSpec, ExchangeSpec, Finding, HandlerRegistry, Message, Publisher, QueueSpec, Routes, Topology
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


def topology_of(
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


def event_findings(topology: Topology, registry: HandlerRegistry) -> list[tuple[str, str, str | None]]:
    codes = ("event_unrouted", "event_unhandled", "event_body", "undecided")
    found = check(topology, registry.handlers)
    return [(one.code, one.severity, one.witness) for one in found if one.code in codes]


def finding_of(topology: Topology, registry: HandlerRegistry, code: str) -> Finding:
    (finding,) = (one for one in check(topology, registry.handlers) if one.code == code)
    return finding


def test_sound_topology_with_an_event_has_no_findings() -> None:
    registry = HandlerRegistry()
    registry.add(uploaded, takes_video, queue=video)
    assert Routes(topology_of(video), registry).check() == ()


# --- queues ---


def test_event_that_reaches_no_queue_is_found() -> None:
    finding = finding_of(topology_of(), handlers(), "event_unrouted")
    assert (finding.severity, finding.subject, finding.witness) == ("error", "event 'video.{action}'", "video.x")
    assert "'video.x' reaches no queue from exchange 'media'" in finding.message


def test_event_with_some_unrouted_keys_is_found() -> None:
    some = QueueSpec(name="some", bindings=[media.bind("*.upload"), media.bind("video.x")])
    assert finding_of(topology_of(some), handlers(), "event_unrouted").witness == "video.x1"

    rest = QueueSpec(name="rest", bindings=[media.bind("video.#")])
    assert "event_unrouted" not in {code for code, _, _ in event_findings(topology_of(some, rest), handlers())}


def test_queues_may_take_the_keys_of_an_event_together() -> None:
    logged = EventSpec(pattern="log.{path:#}", exchange=media, body=Video)
    short = QueueSpec(name="short", bindings=[media.bind("log"), media.bind("log.*")])
    long = QueueSpec(name="long", bindings=[media.bind("log.*.*.#")])

    assert finding_of(topology_of(short, event=logged), handlers(), "event_unrouted").witness == "log.x.x"
    assert event_findings(topology_of(short, long, event=logged), handlers()) == [
        ("event_unhandled", "info", "log.x.x")
    ]


def test_event_is_followed_through_bound_and_alternate_exchanges() -> None:
    """The alternate exchange takes a key that no binding matches; a key that is lost further on stays lost."""
    inner = ExchangeSpec(name="inner", internal=True, bindings=[media.bind("*.upload")])
    queue = QueueSpec(name="q", bindings=[inner.bind("video.#")])
    assert finding_of(topology_of(queue, exchanges=(media, inner)), handlers(), "event_unrouted").witness == "video.x"

    rest = ExchangeSpec(name="rest", type="fanout")
    main = ExchangeSpec(name="media", alternate_exchange="rest")
    left = QueueSpec(name="left", bindings=[rest.bind()])
    event = EventSpec(pattern="video.{action}", exchange="media", body=Video)
    topology = Topology(exchanges=[main, inner, rest], queues=[queue, left], events=[event])
    assert "event_unrouted" not in {code for code, _, _ in event_findings(topology, handlers())}

    greedy = ExchangeSpec(name="inner", internal=True, bindings=[main.bind("video.upload")])
    queue = QueueSpec(name="q", bindings=[greedy.bind("*.delete")])
    topology = Topology(exchanges=[main, greedy, rest], queues=[queue, left], events=[event])
    assert finding_of(topology, handlers(), "event_unrouted").witness == "video.upload"


def test_unrouted_event_of_a_passive_exchange_is_info() -> None:
    """Another service declares the exchange, and may bind its own queues to it."""
    theirs = ExchangeSpec(name="theirs", passive=True)
    event = EventSpec(pattern="video.{action}", exchange=theirs, body=Video)
    assert finding_of(topology_of(exchanges=(theirs,), event=event), handlers(), "event_unrouted").severity == "info"


def test_default_exchange_reaches_a_queue_by_its_name() -> None:
    job = EventSpec(pattern="video", exchange="", body=Video)
    assert event_findings(topology_of(video, event=job), handlers(("video", takes_video, "video"))) == []

    nowhere = EventSpec(pattern="{queue}", exchange="", body=Video)
    assert finding_of(topology_of(video, event=nowhere), handlers(), "event_unrouted").witness == "x"


def test_event_bound_by_headers_is_undecided() -> None:
    """A message of the event may lack the headers, unless a binding asks for none."""
    by_header = ExchangeSpec(name="h", type="headers")
    event = EventSpec(pattern="video.{action}", exchange=by_header, body=Video)
    asking = QueueSpec(name="asking", bindings=[by_header.bind(headers={"a": 1})])
    topology = topology_of(asking, exchanges=(by_header,), event=event)
    registry = handlers(("#", takes_video, "asking"))

    assert event_findings(topology, registry) == [("undecided", "info", None)]
    assert "headers" in finding_of(topology, registry, "undecided").message

    free = QueueSpec(name="free", bindings=[by_header.bind()])
    assert event_findings(topology_of(asking, free, exchanges=(by_header,), event=event), registry) == []


binding_keys = token_lists(3).map(".".join)
event_patterns = st.sampled_from(["a.{x}", "{x}.b", "{x:#}", "a.{x:#}.b", "{x}.{y}", "a.b", "a.{x}.{y:#}"])


@settings(max_examples=200)
@given(st.lists(binding_keys, max_size=5), st.lists(binding_keys, max_size=2), event_patterns, st.booleans())
def test_unrouted_key_is_found_exactly_when_there_is_one(
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


def test_find_missed_raises_beyond_its_limit_of_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [Flow(frozenset({(f"w{number}", "#"), ("#", f"w{number}")})) for number in range(40)]

    assert find_missed(("#",), ways) == ""
    assert find_missed(("a", "#"), [*ways, Flow(frozenset({("a", "#")}))]) is None

    monkeypatch.setattr(flows_module, "MOST_FLOWS", 10)
    with pytest.raises(BudgetExceededError):
        find_missed(("#",), ways)


def test_event_beyond_the_budget_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_module, "BUDGET", 1)

    findings = check(topology_of(video), handlers(("video.*", takes_video, "video")).handlers)

    questions = {one.message for one in findings if one.code == "undecided" and one.subject == str(uploaded)}
    assert "event 'video.{action}': whether every key reaches a queue: too hard to decide" in questions
    assert {one.severity for one in findings if one.code == "undecided"} == {"warning"}


# --- handlers ---


def test_event_key_without_a_handler_is_found() -> None:
    finding = finding_of(topology_of(video), handlers(("video.upload", takes_video, "video")), "event_unhandled")
    assert (finding.severity, finding.witness) == ("error", "video.x")
    assert "'video.x' reaches queue 'video', and no handler takes it" in finding.message


def test_fallback_and_any_queue_handler_take_keys_of_an_event() -> None:
    upload = ("video.upload", takes_video, "video")

    assert event_findings(topology_of(video), handlers(upload, fallback=(takes_anything, "video"))) == []
    assert event_findings(topology_of(video), handlers(upload, fallback=(takes_anything, None))) == []
    assert event_findings(topology_of(video), handlers(upload, ("#", takes_video, None))) == []


def test_queue_without_handlers_may_belong_to_another_service() -> None:
    """An event that only such queues receive is reported as information."""
    audit = QueueSpec(name="audit", bindings=[media.bind("#")])
    assert event_findings(topology_of(video, audit), handlers(("video.*", takes_video, "video"))) == []
    finding = finding_of(topology_of(video, audit), handlers(), "event_unhandled")
    assert (finding.severity, finding.witness) == ("info", "video.x")
    assert "'audit', 'video'" in finding.message


# --- bodies ---


def test_handler_that_refuses_the_body_of_an_event_is_found() -> None:
    finding = finding_of(topology_of(video), handlers(("video.{action}", takes_task, "video")), "event_body")
    assert (finding.severity, finding.witness) == ("error", "video.x")
    assert finding.subject == f"{__name__}.takes_task ('video.{{action}}' of queue 'video')"
    assert "refuses a body of event 'video.{action}' (Video): file: missing; such messages" in finding.message


def test_body_that_a_handler_may_refuse_is_undecided() -> None:
    topology, registry = topology_of(video), handlers(("video.*", takes_checked, "video"))
    assert event_findings(topology, registry) == [("undecided", "info", "video.x")]
    assert (
        "may refuse a body of event 'video.{action}' (Video): id: "
        in finding_of(topology, registry, "undecided").message
    )


def test_body_is_judged_by_the_handlers_that_receive_the_event() -> None:
    other = ("video.x.y", takes_task, "video")
    wide = QueueSpec(name="video", bindings=[media.bind("#")])
    assert event_findings(topology_of(wide), handlers(("video.*", takes_video, "video"), other)) == []

    narrower = [("video.*", takes_video, "video"), ("video.upload", takes_task, "video")]
    assert event_findings(topology_of(video), handlers(*narrower)) == [("event_body", "error", "video.upload")]

    covered = [("#", takes_task, "video"), ("video.*", takes_video, "video")]
    assert event_findings(topology_of(video), handlers(*covered)) == []

    own_first = [("video.*", takes_task, None), ("#", takes_video, "video")]
    assert event_findings(topology_of(video), handlers(*own_first)) == []

    elsewhere = QueueSpec(name="elsewhere", bindings=[media.bind("image.#")])
    away = [("video.*", takes_video, "video"), ("#", takes_task, "elsewhere")]
    assert event_findings(topology_of(video, elsewhere), handlers(*away)) == []


def test_body_is_judged_by_a_fallback_that_receives_the_event() -> None:
    upload = ("video.upload", takes_video, "video")

    for queue in ("video", None):
        assert event_findings(topology_of(video), handlers(upload, fallback=(takes_task, queue))) == [
            ("event_body", "error", "video.x")
        ]

    everything = ("video.*", takes_video, "video")
    assert event_findings(topology_of(video), handlers(everything, fallback=(takes_task, "video"))) == []

    for_any_queue = [upload, ("video.*", takes_video, None)]
    assert event_findings(topology_of(video), handlers(*for_any_queue, fallback=(takes_task, "video"))) == []

    both = handlers(upload, fallback=(takes_anything, "video"))
    both.fallback()(takes_task)
    assert event_findings(topology_of(video), both) == []


def test_handler_in_two_queues_is_reported_once() -> None:
    copy = QueueSpec(name="copy", bindings=[uploaded])
    registry = handlers(("#", takes_task, None), ("never", takes_video, "video"), ("never", takes_video, "copy"))
    assert [one[0] for one in event_findings(topology_of(video, copy), registry)] == ["event_body"]


def test_explain_names_the_event() -> None:
    registry = handlers(("video.*", takes_video, "video"))

    explanation = Routes(topology_of(video), registry).explain("video.upload", exchange=media)
    assert explanation.events == (uploaded,)
    assert str(explanation).splitlines()[1] == "  event 'video.{action}' with a body of Video"
    assert Routes(topology_of(video), registry).explain("image.upload", exchange=media).events == ()
    assert Routes(topology_of(video), registry).explain("video.upload", exchange="").events == ()


@pytest.mark.parametrize("is_bound", [True, False])
def test_event_that_only_a_queue_or_a_handler_uses_counts(is_bound: bool) -> None:
    """Whether its bodies can be read is asked without it being listed; it can be published as well."""
    queue = QueueSpec(name="q", bindings=[uploaded if is_bound else media.bind("video.#")])
    registry = HandlerRegistry()
    registry.add("video.{action}" if is_bound else uploaded, takes_task, queue="q")
    topology = Topology(queues=[queue])

    (finding,) = [found for found in Routes(topology, registry).check() if found.code == "event_body"]

    assert (finding.severity, finding.witness) == ("error", "video.x")
    assert "file" in finding.message
    with Publisher("memory://test_check_events", topology) as publisher:
        assert publisher.publish(uploaded(Video(id="1"), action="x")).routing_key == "video.x"


def test_event_of_a_handler_that_is_published_elsewhere_is_not_asked_about() -> None:
    registry = HandlerRegistry()
    registry.add(uploaded, takes_task, queue="q")

    assert "event_body" not in {
        found.code for found in Routes(Topology(queues=[QueueSpec(name="q")]), registry).check()
    }


def test_unhandled_key_of_an_event_is_found_once() -> None:
    """As one of the event; another key that the queue lets in is a finding of its own."""
    takes_one = handlers(("video.a", takes_video, "video"))
    wider = QueueSpec(name="video", bindings=[uploaded, media.bind("audio")])

    once = [finding.code for finding in Routes(topology_of(video), takes_one).check()]
    both = {finding.code: finding.witness for finding in Routes(topology_of(wider), takes_one).check()}

    assert once == ["event_unhandled"]
    assert both.keys() == {"event_unhandled", "unhandled_key"}
    assert both["unhandled_key"] == "audio"
