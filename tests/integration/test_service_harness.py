"""Harness of a service: the same wiring as in production, with what a test puts in the place of its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any
from unittest.mock import call

import pytest
from tests.kit.calls import Calls

from taskroute import (
    ConfigurationError,
    Depends,
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    Resource,
    Service,
    Topology,
)
from taskroute.instrumentation import Handled, Instrumentation
from taskroute.testing import Harness

JOBS = QueueSpec(name="jobs")
DONE = QueueSpec(name="done")
TOPOLOGY = Topology(queues=[JOBS, DONE])


class Pool:
    name = "real"


class FakePool(Pool):
    name = "fake"


def session(pool: Annotated[Pool, Resource()]) -> str:
    return f"session of {pool.name}"


registry = HandlerRegistry()


@registry.handler("jobs", queue=JOBS)
def handle(
    job: int, pool: Annotated[Pool, Resource()], of: Annotated[str, Depends(session)], publisher: Publisher
) -> None:
    publisher.publish([pool.name, of], "done", exchange="")


async def resources() -> AsyncIterator[Pool]:
    yield Pool()


def fakes() -> Iterator[Pool]:
    yield FakePool()


def never() -> Iterator[Pool]:
    yield Pool()
    raise AssertionError


SERVICE = Service(
    TOPOLOGY,
    registry,
    url="amqp://guest:guest@127.0.0.1:1/",
    lifespan=resources,
    worker={"threads": 0, "declare": "verify", "name": "jobs"},
    publisher={"declare": "skip"},
)


def outcome(harness: Harness) -> Any:
    harness.publish(7, "jobs", exchange="")
    assert harness.handled(handle) == [call(7)]
    (message,) = harness.messages(DONE)
    return message.body


def test_harness_runs_a_service_with_its_lifespan() -> None:
    with Harness(SERVICE) as harness:
        assert outcome(harness) == b'["real","session of real"]'


@pytest.mark.parametrize(
    ("service", "changes", "body"),
    [
        (SERVICE, {"overrides": {resources: fakes}}, b'["fake","session of fake"]'),
        (SERVICE, {"overrides": {Pool: FakePool}}, b'["fake","session of fake"]'),
        (SERVICE, {"overrides": {session: lambda: "none"}}, b'["real","none"]'),
        (SERVICE.replace(lifespan=never), {"resources": FakePool()}, b'["fake","session of fake"]'),
    ],
)
def test_override_is_given_to_handlers_and_providers(service: Service, changes: Any, body: bytes) -> None:
    with Harness(service, **changes) as harness:
        assert outcome(harness) == body


def test_publisher_can_be_overridden_by_its_type() -> None:
    class Recording:
        def publish(self, body: object, routing_key: str, *, exchange: str) -> None:
            seen(body, routing_key)

    seen = Calls()

    with Harness(SERVICE, overrides={Publisher: Recording}) as harness:
        harness.publish(7, "jobs", exchange="")
        harness.drain()

    assert seen.calls == [(["real", "session of real"], "done")]


def test_middleware_and_instrumentation_of_the_service_count() -> None:
    seen = Calls()

    class Listening(Instrumentation):
        def on_event(self, event: object) -> None:
            if isinstance(event, Handled):
                seen("instrumentation")

    def around(message: Message, call_next: Callable[[Message], object]) -> object:
        seen("middleware")
        return call_next(message)

    service = SERVICE.replace(instrumentation=[Listening()], worker={"middleware": [around]})
    with Harness(service) as harness:
        outcome(harness)

    assert sorted(seen.calls) == ["instrumentation", "middleware"]


def test_override_of_what_nobody_asks_for_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no handler asks for .*\.fakes; what they ask for: .*Pool"):
        Harness(SERVICE, overrides={fakes: resources})


@pytest.mark.parametrize("asked", [Pool, session, resources])
def test_override_by_an_object_says_to_write_a_function(asked: Any) -> None:
    expected = rf"overrides: what replaces .*{asked.__name__} is an object, .*: write .*, lambda: fake"
    with pytest.raises(ConfigurationError, match=expected):
        Harness(SERVICE, overrides={asked: FakePool()})  # type: ignore[dict-item]


def test_service_and_a_registry_are_refused_together() -> None:
    with pytest.raises(ConfigurationError, match="a service has a registry"):
        Harness(SERVICE, HandlerRegistry())


def test_harness_of_a_service_without_handlers_only_publishes() -> None:
    with Harness(SERVICE.replace(registry=HandlerRegistry(), lifespan=None)) as harness:
        harness.publish(7, "done", exchange="")
        assert [message.body for message in harness.messages(DONE)] == [b"7"]


def test_plugin_makes_a_harness_of_a_service(taskroute_harness: Callable[..., Harness]) -> None:
    assert outcome(taskroute_harness(SERVICE)) == b'["real","session of real"]'
