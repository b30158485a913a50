"""The events that instrumentation hears from a worker and a publisher, and its hooks around both."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from tests.kit.calls import Events
from tests.kit.embedded import broker_of
from tests.kit.inside import InsidePublisher
from tests.kit.running import running
from tests.kit.specs import media, video
from tests.kit.waiting import DEADLINE

from taskroute import (
    HandlerRegistry,
    Message,
    MessageTooLargeError,
    Publisher,
    QueueSpec,
    Reject,
    Topology,
    UnroutableError,
    Worker,
)
from taskroute.instrumentation import (
    Connected,
    DeadLettered,
    Disconnected,
    Dropped,
    Handled,
    Instrumentation,
    Overdue,
    Published,
    PublishFailed,
    Received,
    Retried,
    Returned,
)

scratch = QueueSpec(name="scratch", bindings=[media.bind("scratch")], retry=False, dead_letter=False)
topology = Topology(exchanges=[media], queues=[video, scratch])


class Around(Instrumentation):
    """Instrumentation that adds headers and notes which handlers it wraps."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    @contextmanager
    def handling(self, message: Message, handler: str) -> Iterator[None]:
        self.seen.append(("begin", message.routing_key, threading.current_thread().name))
        try:
            yield
        except BaseException as error:
            self.seen.append(type(error))
            raise
        finally:
            self.seen.append("end")

    def publishing(self, exchange: str, routing_key: str, message_id: str) -> Mapping[str, object]:
        return {"x-trace": f"{exchange}/{routing_key}/{message_id}", "x-own": "not mine"}


def test_instrumentation_hears_each_step_of_a_message(broker_url: str) -> None:
    events, registry = Events(), HandlerRegistry()

    @registry.handler("video.{action}", queue=video)
    def on_video(message: Message, action: str) -> None:
        if action == "fails":
            raise ValueError

    @registry.handler("#", queue=scratch)
    async def on_scratch(message: Message) -> None:
        if message.message_id == "rejected":
            raise Reject("no")

    with running(broker_url, topology, registry, name="w", instrumentation=[events]) as (worker, publisher):
        publisher.publish({}, "video.works", exchange=media, message_id="1")
        publisher.publish({}, "video.fails", exchange=media, message_id="2")
        publisher.publish({}, "video.a.b", exchange=media, message_id="3")
        publisher.publish({}, "scratch", exchange=media, message_id="rejected")
        publisher.publish({}, "scratch", exchange=media, message_id="5")
        assert worker.wait_idle(DEADLINE)

    received = events.of(Received)
    assert sorted((event.message_id, event.attempt) for event in received) == [
        ("1", 1), ("2", 1), ("2", 2), ("3", 1), ("5", 1), ("rejected", 1),
    ]  # fmt: skip
    assert all(event.exchange == "media" and not event.redelivered for event in received)
    handled = {event.message_id: event for event in events.of(Handled)}
    assert handled.keys() == {"1", "5"}
    assert handled["1"].handler.endswith("on_video")
    assert handled["5"].queue == "scratch"
    (retried,) = events.of(Retried)
    assert (retried.message_id, retried.reason, retried.delay, retried.attempt) == ("2", "handler_error", 0.05, 1)
    dead = {event.message_id: event for event in events.of(DeadLettered)}
    assert dead.keys() == {"2", "3"}
    assert (dead["2"].to, dead["2"].attempt, dead["2"].error.split()[0]) == ("video.dead", 2, "ValueError")
    assert (dead["3"].reason, dead["3"].handler) == ("no_handler", None)
    (dropped,) = events.of(Dropped)
    assert (dropped.message_id, dropped.reason) == ("rejected", "rejected")
    assert all(0 <= event.seconds < DEADLINE for event in events.of(Handled, Retried, DeadLettered, Dropped))
    connected = [(event.session, event.generation) for event in events.of(Connected)]
    assert sorted(connected) == [("w", 1), ("w-hand-over", 1)]
    assert sorted(event.session for event in events.of(Disconnected)) == ["w", "w-hand-over"]
    assert {event.error for event in events.of(Disconnected)} == {None}


def test_instrumentation_hears_each_publish_outcome_once(broker_url: str) -> None:
    """A header that instrumentation adds does not replace one of the publisher's."""
    events, around = Events(), Around()

    with Publisher(broker_url, topology, max_body_size=10, instrumentation=[events, around]) as publisher:
        publisher.publish(b"", "video.a", exchange=media, message_id="1", headers={"x-own": "mine"})
        with pytest.raises(UnroutableError):
            publisher.publish(b"", "nowhere", exchange=media, message_id="2")
        with pytest.raises(MessageTooLargeError):
            publisher.publish(b"more than ten", "video.a", exchange=media, message_id="3")

    heard = [
        (type(event), event.routing_key, event.message_id) for event in events.of(Published, Returned, PublishFailed)
    ]
    assert heard == [(Published, "video.a", "1"), (Returned, "nowhere", "2")]

    seen: list[Any] = []
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    def take(message: Message) -> None:
        seen.append({name: message.headers.get(name) for name in ("x-trace", "x-own")})

    with Worker(broker_url, topology, registry) as worker:
        assert worker.wait_idle(DEADLINE)

    assert seen == [{"x-trace": "media/video.a/1", "x-own": "mine"}]


def test_instrumentation_hears_unwritten_messages_as_failed(taskroute_url: str) -> None:
    events = Events()
    publisher = Publisher(taskroute_url, topology, max_in_flight=1, instrumentation=[events])

    publisher.start()
    inside, held = InsidePublisher(publisher), threading.Event()
    inside.block()
    inside.hold(held)  # the time of the first one is not over before there is no room
    publisher.submit(b"", "video.a", exchange=media, timeout=0.1)
    with pytest.raises(Exception, match="no room"):
        publisher.submit(b"", "video.a", exchange=media, timeout=0.01)
    held.set()
    events.emitted.wait(1 + 2)
    publisher.close()
    with pytest.raises(Exception, match="closed"):
        publisher.submit(b"", "video.a", exchange=media)

    assert sorted(event.error for event in events.of(PublishFailed)) == [
        "BrokerUnavailableError",
        "BrokerUnavailableError",
        "ClosedError",
    ]


def test_handling_hook_wraps_each_handler_on_its_own_thread(broker_url: str) -> None:
    around, registry = Around(), HandlerRegistry()

    @registry.handler("video.plain", queue=video)
    def plain(body: bytes) -> None:
        around.seen.append("plain")

    @registry.handler("video.async", queue=video)
    async def later(body: bytes) -> None:
        around.seen.append("async")

    @registry.handler("video.bad", queue=video, retry=False)
    async def bad(body: int) -> None: ...

    with running(broker_url, topology, registry, threads=1, name="w", instrumentation=[around]) as (worker, publisher):
        for key in ("plain", "async", "bad"):
            publisher.publish(b"x", f"video.{key}", exchange=media)
            assert worker.wait_idle(DEADLINE)

    assert [line for line in around.seen if not isinstance(line, type)] == [
        ("begin", "video.plain", "w-handler-0"), "plain", "end",
        ("begin", "video.async", "w-loop"), "async", "end",
        ("begin", "video.bad", "w-loop"), "end",
    ]  # fmt: skip


def test_instrumentation_hears_lost_connections_and_overdue_handlers(taskroute_url: str) -> None:
    events, registry, release = Events(), HandlerRegistry(), threading.Event()

    @registry.handler("#", queue=video, timeout=0.05)
    def hang(body: bytes) -> None:
        release.wait(DEADLINE)

    with (
        Worker(taskroute_url, topology, registry, name="w", instrumentation=[events]),
        Publisher(taskroute_url, topology) as publisher,
    ):
        publisher.publish(b"", "video.a", exchange=media)
        events.wait(Overdue)
        broker_of(taskroute_url).close_connections()
        events.wait(Connected, generation=2)
        release.set()

    (lost,) = [event for event in events.of(Disconnected) if event.error is not None]
    assert lost.session == "w"
    assert "closed by the broker" in lost.error
    assert events.of(Overdue)[0].timeout == 0.05
