"""Names that are nearly right, and values of a wrong kind: the error says in a few words what helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from taskroute import (
    CircuitBreaker,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    RetryPolicy,
    Routes,
    RoutingPattern,
    Service,
    Topology,
    TopologyError,
    Worker,
)
from taskroute.suggestion import nearest
from taskroute.testing import Harness

media = ExchangeSpec(name="media")
video = QueueSpec(name="video", bindings=[media.bind("video.#")])
audio = QueueSpec(name="audio", bindings=[media.bind("audio.#")], dead_letter="viedo")
topology = Topology(exchanges=[media], queues=[video, audio])


def handle(body: dict[str, Any]) -> None: ...


def registered(**options: Any) -> HandlerRegistry:
    registry = HandlerRegistry()
    registry.add("video.a", handle, **options)
    return registry


def published(**options: Any) -> None:
    with Publisher("memory://test_suggestion", topology) as publisher:
        publisher.publish({}, "video.a", **options)


def worker(queue: Any = video, **options: Any) -> Worker:
    return Worker("memory://", topology, registered(queue=queue), **options)


NEARLY_RIGHT: list[tuple[Callable[[], object], str]] = [
    (lambda: topology.queue("vidoe"), "'video'"),
    (lambda: topology.exchange("Media"), "'media'"),
    (lambda: topology.route("a", exchange="medai"), "'media'"),
    (lambda: Routes(topology, registered(queue="vido")), "'video'"),
    (lambda: Routes(topology, registered()).explain("a", exchange="medai"), "'media'"),
    (lambda: worker(queues=["vido"]), "'video'"),
    (lambda: worker(prefetch={"vido": 1}), "'video'"),
    (lambda: worker(queue=audio), "'video'"),
    (lambda: worker(declare="creat"), "'create'"),
    (lambda: published(exchange="medai"), "'media'"),
    (lambda: published(exchange=media, header={}), "'headers'"),
    (lambda: worker(thread=3), "'threads'"),
    (lambda: registered(queu=video), "'queue'"),
    (lambda: HandlerRegistry().handler("a", queu=video), "'queue'"),  # type: ignore[call-arg]
    (lambda: HandlerRegistry().fallback(queu=video), "'queue'"),  # type: ignore[call-arg]
    (lambda: HandlerRegistry(midleware=[]), "'middleware'"),  # type: ignore[call-arg]
    (lambda: Publisher("memory://", topology, heartbeet=5), "'heartbeat'"),  # type: ignore[call-arg]
    (lambda: Service(topology, registered(), lifspan=None), "'lifespan'"),  # type: ignore[call-arg]
    (lambda: CircuitBreaker(failure=3), "'failures'"),  # type: ignore[call-arg]
    (lambda: Harness(topology, overides={}), "'overrides'"),
    (lambda: Harness(topology, shutdown_timout=1), "'shutdown_timeout'"),
    (lambda: ExchangeSpec.model_validate({"name": "x", "durabel": True}), "'durable'"),
    (lambda: QueueSpec.model_validate({"name": "x", "ttl": 5}), "'message_ttl'"),
    (lambda: Topology.model_validate({"queue": [video]}), "'queues'"),
    (lambda: RetryPolicy.model_validate({"delay": [1]}), "'delays'"),
    (lambda: EventSpec.model_validate({"patern": "a", "exchange": media, "body": dict}), "'pattern'"),
    (lambda: RoutingPattern("video.{action}").format(acton="a"), "'action'"),
    (lambda: topology | Topology(exchanges=[ExchangeSpec(name="other", alternate_exchange="othr")]), "'other'"),
]


@pytest.mark.parametrize(("call", "meant"), NEARLY_RIGHT)
def test_name_that_is_nearly_right_is_asked_for(call: Callable[[], object], meant: str) -> None:
    with pytest.raises(Exception, match=rf"did you mean {meant}.*\?") as caught:
        call()

    assert len(str(caught.value)) < 200


def test_wrong_field_of_a_spec_with_one_names_that_one() -> None:
    with pytest.raises(TopologyError, match=r"RetryPolicy: attempts: there is no such field; its field is delays$"):
        RetryPolicy.model_validate({"attempts": 3})


def test_name_that_is_near_to_none_has_no_suggestion() -> None:
    assert nearest("elephant", ["video", "audio"]) is None
    assert nearest("", ["video"]) is None
    assert nearest("x", []) is None


WRONG_KINDS: list[Callable[[], object]] = [
    lambda: registered(queue=[video, audio]),
    lambda: registered(queue=topology),
    lambda: registered(retry=video),
    lambda: registered(timeout=video),
    lambda: HandlerRegistry().fallback([video, audio]),  # type: ignore[arg-type]
    lambda: HandlerRegistry(middleware=[video]),  # type: ignore[list-item]
    lambda: topology.queue([video, audio]),  # type: ignore[arg-type]
    lambda: topology.route("a", exchange=[media, media]),  # type: ignore[arg-type]
    lambda: Routes(topology, registered()).explain("a", exchange=[media, media]),  # type: ignore[arg-type]
    lambda: published(exchange=[media, media]),
    lambda: worker(queues=[[video, audio]]),
    lambda: worker(queues=video),
    lambda: worker(prefetch=[video, audio]),
    lambda: worker(prefetch={video: video}),
    lambda: worker(concurrency=[video, audio]),
    lambda: worker(circuit_breaker=video),
    lambda: worker(consumer_timeout=video),
    lambda: worker(threads=video),
    lambda: worker(declare=video),
    lambda: worker(heartbeat=video),
    lambda: worker(shutdown_timeout=video),
    lambda: worker(instrumentation=[video]),
    lambda: worker(instrumentation=video),
    lambda: EventSpec(pattern="a", exchange=media, body=video),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", WRONG_KINDS)
def test_spec_in_the_wrong_place_is_shown_by_its_name(call: Callable[[], object]) -> None:
    with pytest.raises(Exception, match=r"video|media|Topology") as caught:
        call()

    assert len(str(caught.value)) < 300
    assert "single_active_consumer=" not in str(caught.value)
