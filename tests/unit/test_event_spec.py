"""EventSpec: one object for key, captures, binding and body, in publishers, registries and topologies."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from taskroute import (
    BindingSpec,
    ConfigurationError,
    Event,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Message,
    MessageInvalidError,
    PatternError,
    Publisher,
    QueueSpec,
    Receipt,
    Routes,
    RoutingPattern,
    Topology,
    TopologyError,
    UnknownExchangeError,
    UnroutableError,
    Worker,
)
from taskroute.broker.embedded.transport import drop
from taskroute.testing import Harness


class Video(BaseModel):
    id: str
    size: int = 0


class LongVideo(Video):
    minutes: int = 90


media = ExchangeSpec(name="media")
uploaded = EventSpec(pattern="video.{action}", exchange=media, body=Video)
everything = EventSpec(pattern="log.{path:#}", exchange="media", body=dict[str, int])
video = QueueSpec(name="video", bindings=[uploaded])
topology = Topology(exchanges=[media], queues=[video], events=[uploaded])


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    drop()
    with Publisher("memory://", topology) as publisher:
        yield publisher
    drop()


# --- the spec ---


def test_call_of_a_spec_makes_an_event_with_key_and_body() -> None:
    event = uploaded(Video(id="1"), action="upload")
    assert (event.routing_key, event.exchange, event.body, event.spec) == (
        "video.upload",
        "media",
        Video(id="1"),
        uploaded,
    )
    assert everything({"a": 1}, path=("eu", "web")).routing_key == "log.eu.web"


def test_capture_may_have_the_name_of_a_parameter() -> None:
    spec = EventSpec(pattern="{body}.{self}.{spec}", exchange=media, body=Video)
    assert spec(Video(id="1"), body="a", self="b", spec="c").routing_key == "a.b.c"


def test_wrong_capture_raises_pattern_error() -> None:
    for captures in ({}, {"action": "a.b"}, {"action": "up", "more": "x"}, {"action": None}):
        with pytest.raises(PatternError, match=r"video\.\{action\}"):
            uploaded(Video(id="1"), **captures)


def test_invalid_body_is_refused_and_its_values_are_not_quoted() -> None:
    """The call that makes the event checks the body."""
    with pytest.raises(MessageInvalidError) as caught:
        uploaded({"size": "hush"}, action="up")  # type: ignore[arg-type]

    text = str(caught.value)
    assert text.startswith("event 'video.{action}': not a valid Video: id: Field required; size: ")
    assert "hush" not in text

    with pytest.raises(MessageInvalidError, match="not a valid Video"):
        uploaded(None, action="up")  # type: ignore[arg-type]
    with pytest.raises(MessageInvalidError, match=r"not a valid dict: a"):
        everything({"a": "b"}, path=())  # type: ignore[dict-item]


def test_body_is_converted_to_the_type_of_the_spec() -> None:
    event = uploaded({"id": "1"}, action="up")  # type: ignore[arg-type]
    assert event.body == Video(id="1")


def test_body_that_is_an_instance_is_kept() -> None:
    body = LongVideo(id="1")
    assert uploaded(body, action="up").body is body


def test_events_and_specs_are_frozen_and_equal_by_value() -> None:
    same = EventSpec(pattern=RoutingPattern("video.{action}"), exchange=media, body=Video)
    assert same == uploaded
    assert hash(same) == hash(uploaded)
    assert same(Video(id="1"), action="a") == uploaded(Video(id="1"), action="a")
    assert uploaded != EventSpec[Any](pattern="video.{action}", exchange=media, body=dict)

    with pytest.raises(Exception, match="frozen"):
        uploaded.pattern = RoutingPattern("a")  # type: ignore[misc]
    with pytest.raises(AttributeError):
        uploaded(Video(id="1"), action="a").routing_key = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: EventSpec(pattern="a.*", exchange=media, body=Video), TopologyError, "wildcard without a name"),
        (lambda: EventSpec(pattern="a.#.{b}", exchange=media, body=Video), TopologyError, "wildcard without a name"),
        (lambda: EventSpec(pattern="a.b*", exchange=media, body=Video), PatternError, "glued"),
        (lambda: EventSpec(pattern="a", exchange="a\n", body=Video), TopologyError, "exchange: .*control"),
        (lambda: EventSpec(pattern="a", exchange=media, body=type_without_schema()), TopologyError, "body: .*validate"),
        (lambda: EventSpec(pattern="a", exchange=media, body="Nowhere"), TopologyError, "body: Nowhere"),  # type: ignore[arg-type]
        (lambda: EventSpec(pattern="a", exchange=media, body=Video, key="b"), TopologyError, "key: there is no"),  # type: ignore[call-arg]
        (
            lambda: EventSpec(pattern="a", exchange=ExchangeSpec(name="in", internal=True), body=Video),
            TopologyError,
            "'in' is internal",
        ),
    ],
)
def test_spec_that_cannot_be_published_is_refused(make: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


def type_without_schema() -> type[Any]:
    class Lock:
        pass

    return Lock


# --- binding ---


def test_binding_of_an_event_matches_its_keys() -> None:
    assert uploaded.bind() == media.bind("video.*")
    assert everything.bind() == BindingSpec(exchange="media", binding_key="log.#")
    assert QueueSpec(name="q", bindings=[uploaded, media.bind("b"), everything]).bindings == (
        media.bind("video.*"),
        media.bind("b"),
        media.bind("log.#"),
    )


def test_binding_of_an_event_suits_the_type_of_its_exchange() -> None:
    def bound(kind: Any, pattern: str) -> BindingSpec:
        return EventSpec(pattern=pattern, exchange=ExchangeSpec(name="e", type=kind), body=Video).bind()

    assert bound("fanout", "video.{action}").binding_key == ""
    assert bound("direct", "video.upload").binding_key == "video.upload"

    with pytest.raises(TopologyError, match="direct exchange does not choose by pattern"):
        bound("direct", "video.{action}")
    with pytest.raises(TopologyError, match="headers exchange does not choose by pattern"):
        bound("headers", "video.upload")
    with pytest.raises(TopologyError, match="default exchange"):
        EventSpec(pattern="jobs", exchange="", body=Video).bind()


letters = st.characters(codec="utf-8", exclude_characters=".*#", exclude_categories=["C"])
words = st.text(letters, min_size=1, max_size=9)


@given(words, st.lists(words, max_size=3))
def test_key_of_an_event_matches_its_binding_and_its_captures(first: str, rest: list[str]) -> None:
    spec = EventSpec(pattern="{first}.x.{rest:#}", exchange=media, body=int)
    key = spec(1, first=first, rest=tuple(rest)).routing_key
    bound = Topology(exchanges=[media], queues=[QueueSpec(name="q", bindings=[spec])])

    assert bound.route(key, exchange=media) == {"q"}
    assert spec.pattern.captures(key) == {"first": first, "rest": tuple(rest)}


# --- the topology ---


def test_union_of_topologies_merges_their_events() -> None:
    other = Topology(exchanges=[media], events=[everything, uploaded])

    assert (topology | other).events == (uploaded, everything)
    assert topology != Topology(exchanges=[media], queues=[video])


def test_json_of_a_topology_leaves_events_out() -> None:
    """The body of an event is a Python type, which JSON cannot carry."""
    text = topology.model_dump_json()
    assert "events" not in json.loads(text)

    again = Topology.model_validate_json(text)
    assert again == Topology(exchanges=[media], queues=[video])
    assert again | Topology(exchanges=[media], events=[uploaded]) == topology
    assert "events" not in Topology.model_json_schema()["properties"]


def test_event_needs_a_usable_exchange_of_its_topology() -> None:
    inner = ExchangeSpec(name="media", internal=True)

    for exchanges, error in (([], "no exchange 'media'"), ([inner], "internal")):
        with pytest.raises(TopologyError, match=error):
            Topology(exchanges=exchanges, events=[everything])

    with pytest.raises(TopologyError, match=r"'media' is declared twice, and differs in durable"):
        Topology(exchanges=[ExchangeSpec(name="media", durable=False)], events=[uploaded])

    Topology(events=[EventSpec(pattern="jobs", exchange="", body=Video)])  # every broker has the default exchange


# --- the registry ---


def test_handler_of_an_event_has_its_pattern() -> None:
    registry = HandlerRegistry()

    @registry.handler(uploaded, queue=video)
    def transcode(task: Video, action: str) -> None: ...

    registry.add(everything, lambda body: None, queue=video)

    match = Routes(topology, registry).resolve(video, "video.upload")

    assert match is not None
    assert match.handler.function is transcode
    assert match.captures == {"action": "upload"}
    assert [str(handler.pattern) for handler in registry.handlers] == ["video.{action}", "log.{path:#}"]


# --- the publisher ---


def test_published_event_reaches_its_handler_as_it_was_made(publisher: Publisher) -> None:
    registry = HandlerRegistry()
    seen: list[tuple[Video, str, Message]] = []

    @registry.handler(uploaded, queue=video)
    def transcode(task: Video, action: str, message: Message) -> None:
        seen.append((task, action, message))

    with Worker("memory://", topology, registry, threads=1) as worker:
        event = uploaded(Video(id="1"), action="upload")
        receipt = publisher.publish(event, message_id="m-1", headers={"x-tenant": "t"})
        assert worker.wait_idle(timeout=10)

    [(task, action, message)] = seen
    assert (task, action) == (Video(id="1"), "upload")
    assert (message.message_id, message.headers["x-tenant"], message.content_type) == ("m-1", "t", "application/json")
    assert (receipt.routing_key, receipt.exchange) == ("video.upload", "media")


def test_publisher_accepts_events_and_pairs_of_body_and_key(publisher: Publisher) -> None:
    event = uploaded(Video(id="1"), action="upload")

    assert publisher.submit(event).result(10).routing_key == "video.upload"
    assert asyncio.run(publisher.publish_async(event, priority=1)).routing_key == "video.upload"

    outcomes = list(publisher.publish_many([event, event]))
    assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt]

    mixed: list[tuple[object, str] | Event[Any]] = [("text", "video.a"), event, ({}, "nowhere")]
    outcomes = list(publisher.publish_many(mixed, exchange="media"))
    assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, UnroutableError]


def test_publish_with_no_or_two_destinations_is_refused(publisher: Publisher) -> None:
    """An event has its own exchange and routing key; a body needs both of the caller."""
    event: Any = uploaded(Video(id="1"), action="upload")
    body: Any = {}
    spec: Any = uploaded
    calls: list[tuple[Callable[[], object], str]] = [
        (
            lambda: publisher.publish(event, "video.upload"),  # type: ignore[call-overload]
            r"event 'video.+' has its own .* given a routing key",
        ),
        (lambda: publisher.publish(event, exchange=media), "given an exchange"),  # type: ignore[call-overload]
        (lambda: publisher.submit(event, "video.upload", exchange=media), "given an exchange"),
        (
            lambda: asyncio.run(publisher.publish_async(event, "video.upload")),  # type: ignore[call-overload]
            "given a routing key",
        ),
        (lambda: publisher.submit(body), r"a body \(dict\) needs a routing key"),
        (
            lambda: publisher.publish(body, "video.upload"),  # type: ignore[call-overload]
            r"a body \(dict\) needs exchange=",
        ),
        (lambda: publisher.publish(spec), r"\(EventSpec\) needs .* calling an EventSpec"),
        (
            lambda: list(publisher.publish_many([(body, "video.upload")])),  # type: ignore[list-item]
            "needs exchange=",
        ),
    ]

    for call, text in calls:
        with pytest.raises(ConfigurationError, match=text):
            call()


def test_event_of_an_unknown_exchange_is_refused(publisher: Publisher) -> None:
    with pytest.raises(UnknownExchangeError, match="'other'"):
        publisher.publish(EventSpec(pattern="a", exchange="other", body=int)(1))


# --- the bytes ---


def test_encoding_of_a_body_follows_from_its_type() -> None:
    def encoded(body: object, kind: Any) -> tuple[bytes, str]:
        return EventSpec(pattern="a", exchange=media, body=kind)(body).encode()

    assert encoded(b"\x00", bytes) == (b"\x00", "application/octet-stream")
    assert encoded("ü", str) == ("ü".encode(), "text/plain")
    assert encoded([1], list[int]) == (b"[1]", "application/json")
    assert encoded(LongVideo(id="1"), Video) == (b'{"id":"1","size":0}', "application/json")

    with pytest.raises(MessageInvalidError, match="cannot be encoded"):
        encoded(Video.model_construct(id=object()), Video)  # type: ignore[arg-type]


class Aliased(BaseModel):
    file_name: str = Field(alias="fileName")


def test_field_is_written_under_the_alias_that_a_handler_reads(publisher: Publisher) -> None:
    spec = EventSpec(pattern="video.{action}", exchange=media, body=Aliased)
    body = Aliased(fileName="a")
    assert spec(body, action="x").encode()[0] == b'{"fileName":"a"}'

    registry = HandlerRegistry()
    seen: list[Aliased] = []

    @registry.handler(spec, queue=video)
    def rename(body: Aliased) -> None:
        seen.append(body)

    with Worker("memory://", topology, registry, threads=1) as worker:
        publisher.publish(spec(body, action="event"))
        publisher.publish(body, "video.plain", exchange=media)
        assert worker.wait_idle(timeout=10)

    assert seen == [body, body]


class Circle(BaseModel):
    kind: Literal["circle"]


class Square(BaseModel):
    kind: Literal["square"]


Shape = Annotated[Circle | Square, Field(discriminator="kind")]


@pytest.mark.parametrize(("union", "name"), [(Circle | Square, "Circle | Square"), (Shape, "Circle | Square"),
    (Circle | None, "Circle | None")])  # fmt: skip
def test_event_of_a_union_prints_its_members(union: Any, name: str) -> None:
    event = EventSpec[Any](pattern="shape.{x}", exchange=media, body=union)
    queue = QueueSpec(name="shapes", bindings=[event])
    registry = HandlerRegistry()
    registry.add(event, lambda body: None, queue=queue)

    assert event.body_name == name
    assert repr(event).endswith(f", body={name})")
    with pytest.raises(MessageInvalidError, match=f"not a valid {re.escape(name)}: "):
        event({"kind": 1}, x="a")
    explained = str(Routes(Topology(queues=[queue]), registry).explain("shape.a", exchange=media))
    assert "discriminator" not in explained
    assert "FieldInfo" not in explained


def test_event_of_a_union_is_published_and_handled_as_its_member() -> None:
    event = EventSpec[Shape](pattern="shape.{x}", exchange=media, body=Shape)
    handled: list[Shape] = []
    registry = HandlerRegistry()

    @registry.handler(event, queue="shapes")
    def handle(shape: Shape) -> None:
        handled.append(shape)

    topology = Topology(queues=[QueueSpec(name="shapes", bindings=[event])])
    assert [finding for finding in Routes(topology, registry).check() if finding.severity != "info"] == []
    with Harness(topology, registry) as harness:
        harness.publish(event(Square(kind="square"), x="a"))
        harness.drain()

    assert handled == [Square(kind="square")]
