"""What handlers ask a worker for: resources by their type, and its publisher. A worker that has none is not built."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, Generic, NewType, Protocol, TypeVar

import pytest
from tests.kit.waiting import DEADLINE

from taskroute import (
    ConfigurationError,
    Depends,
    HandlerRegistry,
    HandlerSignatureError,
    Publisher,
    QueueSpec,
    Resource,
    Topology,
    Worker,
)
from taskroute.handlers.asked import Asked
from taskroute.handlers.resources import find_resource
from taskroute.testing import Harness

T = TypeVar("T")
JOBS = QueueSpec(name="jobs", retry=False, dead_letter=False)
OTHER = QueueSpec(name="other")
TOPOLOGY = Topology(queues=[JOBS, OTHER])


class Pool:
    pass


class BigPool(Pool):
    pass


class Cache:
    pass


class Table(Generic[T]):
    pass


class Closes(Protocol):
    def close(self) -> None: ...


Name = NewType("Name", str)


@dataclass
class Open:
    pool: Pool
    cache: Cache


@dataclass
class Twice:
    primary: Pool
    replica: Pool


@dataclass
class Typed:
    numbers: Table[int]
    words: Table[str]
    name: Name
    closes: Closes


class OwnPublisher(Publisher):
    pass


POOL, CACHE = BigPool(), Cache()
OPEN = Open(POOL, CACHE)
TWICE = Twice(Pool(), POOL)
TYPED = Typed(Table(), Table(), Name("a"), CACHE)  # type: ignore[arg-type]


def with_resources(function: Any) -> HandlerRegistry:
    registry = HandlerRegistry()
    registry.add("jobs", function, queue=JOBS)
    return registry


def asked(kind: Any, parameter: str = "it") -> Asked:
    return Asked(parameter, kind, is_resource=True, default=Parameter.empty)


@pytest.mark.parametrize(
    ("resources", "kind", "parameter", "found"),
    [
        (POOL, Pool, "it", POOL),
        (OPEN, Open, "it", OPEN),
        (OPEN, Pool, "it", POOL),
        (OPEN, Cache, "pool", CACHE),
        (TWICE, Pool, "replica", TWICE.replica),
        (TYPED, Table[str], "it", TYPED.words),
        (TYPED, Name, "it", "a"),
        (TYPED, Closes, "it", CACHE),
        (Table[int](), Table[int], "it", None),
    ],
)
def test_resource_is_found_by_type_or_by_field(resources: Any, kind: Any, parameter: str, found: Any) -> None:
    assert find_resource(resources, asked(kind, parameter)) is (resources if found is None else found)


@pytest.mark.parametrize(
    ("resources", "kind", "text"),
    [
        (POOL, Cache, "parameter 'it' asks for Cache by Resource(), and the resources are a BigPool"),
        (OPEN, Twice, "the resources are a Open of pool: BigPool, cache: Cache"),
        (TWICE, Pool, "the resources have several: primary, replica; give the parameter the name of one"),
        (None, Pool, "the resources are none"),
        (Open, Open, "the resources are a type"),
    ],
)
def test_resource_that_is_not_there_is_told_with_those_that_are(resources: Any, kind: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find_resource(resources, asked(kind))

    assert text in str(caught.value)


def takes_pool(job: int, pool: Annotated[Pool, Resource()]) -> None: ...
def takes_publisher(job: int, publisher: Publisher) -> None: ...
def opens(pool: Annotated[Pool, Resource()]) -> Iterator[Pool]:
    yield pool


def takes_provided(job: int, pool: Annotated[Pool, Depends(opens)]) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (takes_pool, r"takes_pool .*: parameter 'pool' asks for Pool by Resource\(\), and .* Worker\(resources="),
        (takes_provided, r"takes_provided .*: parameter 'pool' asks for Pool by Resource\(\), and"),
        (takes_publisher, r"takes_publisher .*: parameter 'publisher' asks for Publisher, .* Worker\(publisher="),
    ],
)
def test_worker_without_what_a_handler_asks_for_is_not_built(function: Any, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        Worker("memory://", TOPOLOGY, with_resources(function))


def test_worker_with_another_resource_is_not_built() -> None:
    with pytest.raises(ConfigurationError, match=r"takes_pool \('jobs' of .* the resources are a Cache"):
        Worker("memory://", TOPOLOGY, with_resources(takes_pool), resources=CACHE)


def test_worker_refuses_something_else_as_its_publisher() -> None:
    with pytest.raises(ConfigurationError, match="publisher must be a Publisher, and is a str"):
        Worker("memory://", TOPOLOGY, with_resources(takes_pool), resources=POOL, publisher="memory://")  # type: ignore[arg-type]


def test_handler_of_a_queue_that_is_not_consumed_may_ask_in_vain() -> None:
    registry = with_resources(takes_pool)
    registry.add("other", takes_publisher, queue=OTHER)

    worker = Worker("memory://", TOPOLOGY, registry, queues=[JOBS], resources=POOL)

    assert [queue.name for queue in worker.queues] == ["jobs"]


def test_subclass_of_publisher_is_not_given_by_annotation() -> None:
    def handle(job: int, publisher: OwnPublisher) -> None: ...

    with pytest.raises(HandlerSignatureError, match="job, publisher remain"):
        with_resources(handle)


@pytest.mark.parametrize("mark", [Resource, "default"])
def test_mark_without_brackets_or_as_default_is_refused(mark: Any) -> None:
    def bare(pool: Annotated[Pool, Resource]) -> None: ...
    def default(pool: Pool = Resource()) -> None: ...  # type: ignore[assignment] # noqa: B008

    with pytest.raises(HandlerSignatureError, match=r"Resource\(...\)"):
        with_resources(bare if mark is Resource else default)


def test_handlers_and_providers_are_given_resources_and_the_publisher() -> None:
    given: list[object] = []

    async def handle(
        job: int,
        publisher: Publisher,
        pool: Annotated[Pool, Resource()],
        opened: Annotated[Pool, Depends(opens)],
        cache: Annotated[Cache | None, Resource()] = None,
    ) -> None:
        given.extend([publisher, pool, opened, cache])

    with Harness(TOPOLOGY, with_resources(handle), resources=POOL) as harness:
        harness.publish(1, "jobs", exchange="")
        harness.drain()

    assert given == [harness.publisher, POOL, POOL, None]


def test_parameter_with_a_default_keeps_it_without_a_publisher(taskroute_url: str) -> None:
    given: list[object] = []

    def handle(job: int, publisher: Publisher = None) -> None:  # type: ignore[assignment]
        given.append(publisher)

    with Worker(taskroute_url, TOPOLOGY, with_resources(handle)) as worker, Publisher(taskroute_url, TOPOLOGY) as other:
        other.publish(1, "jobs", exchange="")
        assert worker.wait_idle(DEADLINE)

    assert given == [None]
