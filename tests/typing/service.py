"""A service as a user writes it: mypy and pyright, both strict, find nothing wrong with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any
from unittest.mock import call

from pydantic import BaseModel, Field

from taskroute import (
    CallNext,
    CircuitBreaker,
    Depends,
    Event,
    EventSpec,
    ExchangeSpec,
    Finding,
    HandlerRegistry,
    Header,
    Health,
    Letter,
    Message,
    Middleware,
    Publisher,
    QueueSpec,
    Receipt,
    Reject,
    Resource,
    Retry,
    RetryPolicy,
    Routes,
    RoutingPattern,
    RunningService,
    Service,
    Stats,
    TaskrouteError,
    Topology,
    Worker,
    WorkerOptions,
)
from taskroute.testing import Harness


class Video(BaseModel):
    """A body."""

    id: str


class Photo(BaseModel):
    """Another body."""

    size: int


media = ExchangeSpec(name="media", type="topic")
shown = EventSpec[Video | Photo](pattern="shown.{id}", exchange=media, body=Video | Photo)
tagged: Any = Annotated[Video | Photo, Field(union_mode="left_to_right")]  # pyright takes it for no type
told = EventSpec[Video | Photo](pattern="told.{id}", exchange=media, body=tagged)
video = QueueSpec(
    name="video",
    bindings=[media.bind("video.#"), media.bind(RoutingPattern("clip.{id}"))],
    retry=RetryPolicy(delays=(1, timedelta(minutes=1))),
    message_ttl=60,
)
deleted = EventSpec(pattern="video.{name}.deleted", exchange=media, body=Video)
numbers = EventSpec(pattern="numbers.{path:#}", exchange="media", body=list[int])
events: list[EventSpec[Any]] = [deleted, numbers]
other = QueueSpec(name="other", bindings=[numbers, deleted.bind(), media.bind("other")])
topology = Topology(exchanges=[media], queues=[video], events=events) | Topology(queues=[other])


def logged(message: Message, call_next: CallNext) -> Any:
    """Around a handler."""
    print(message.routing_key)
    return call_next(message)


async def awaited(message: Message, call_next: CallNext) -> Any:
    """Around an async one."""
    return await call_next(message)


around: list[Middleware] = [logged, awaited]
registry = HandlerRegistry(middleware=around)


class Session:
    """What a handler needs."""


def open_session(tenant: Annotated[str, Header("x-tenant")] = "") -> Iterator[Session]:
    """Provide."""
    print(tenant)
    yield Session()


@registry.handler("video.{action}", queue=video, timeout=5)
def transcode(task: Video, action: str, tenant: Annotated[str, Header("x-tenant")] = "") -> None:
    """Handles."""
    if not task.id:
        raise Reject("no id")
    raise Retry(f"{action} {tenant}", delay=1)


@registry.handler("video.archive", queue=video, retry=False)
async def archive(task: Video, session: Annotated[Session, Depends(open_session)]) -> None:
    """Handles on the event loop."""
    print(task, session)


@registry.handler(deleted, queue=video)
def forget(task: Video, name: str) -> None:
    """Handles an event."""


registry.add(numbers, print)


@registry.fallback(queue="video")
def rest(message: Message) -> None:
    """Takes the rest."""
    body: bytes = message.body
    attempt: int = message.attempt
    print(body, attempt)


def check() -> tuple[Finding, ...]:
    """Check the graph."""
    routes = Routes(topology, registry)
    queues: frozenset[str] = routes.route("video.upload", exchange=media)
    match = routes.resolve(video, "video.upload")
    text = str(routes.explain("video.upload", exchange="media"))
    print(queues, match.captures if match else None, text)
    return routes.check()


async def announce(publisher: Publisher) -> Receipt:
    """Publish from a coroutine."""
    await publisher.publish_async({"id": "1"}, "video.upload", exchange=media)
    return await publisher.publish_async(deleted(Video(id="1"), name="1"), priority=1)


def serve(url: str) -> Stats:
    """Run."""
    with (
        Worker(url, topology, registry, threads=2, middleware=[logged]) as worker,
        Publisher(url, topology) as publisher,
    ):
        receipt: Receipt = publisher.publish(Video(id="1"), "video.upload", exchange=media, priority=1)
        future: Future[Receipt] = publisher.submit({"id": "2"}, "video.upload", exchange="media")
        event: Event[Video] = deleted(Video(id="1"), name="1")
        receipt = publisher.publish(event, timeout=5, headers={"a": 1})
        future = publisher.submit(numbers([1, 2], path=("a", "b")))
        print([receipt.routing_key, *publisher.publish_many([event]), *publisher.publish_many([event], priority=1)])
        print([*publisher.publish_many([numbers([1], path=["a"]), (b"", "video.x")], exchange=media)])
        for outcome in publisher.publish_many([(b"{}", "video.x")], exchange=media):
            if isinstance(outcome, TaskrouteError):
                print(outcome)
        health: Health = worker.health()
        print(receipt.message_id, future.result().message_id, health.ready, health.reasons)
        idle: bool = worker.wait_idle(timeout=10)
        print(idle)
        return worker.stats()


def limit(url: str) -> None:
    """Queues by spec, by name, or both."""
    by_name: dict[str, int] = {"video": 2}
    by_spec: dict[QueueSpec, int] = {video: 20}
    Worker(url, topology, registry, concurrency=by_name, prefetch=by_spec)
    Worker(url, topology, registry, concurrency={video: 2}, prefetch={video: 20, "other": 5})
    Worker(url, topology, registry, circuit_breaker=CircuitBreaker(failures=3, pause=10))
    Worker(url, topology, registry, circuit_breaker={video: CircuitBreaker()})
    Worker(url, topology, registry, consumer_timeout=60)
    Worker(url, topology, registry, consumer_timeout={video: None, "audit": 90.5})


class Pool:
    """What handlers share."""


def pools(publisher: Publisher) -> Iterator[Pool]:
    """Is open while the worker runs."""
    print(publisher)
    yield Pool()


async def async_pools() -> AsyncIterator[Pool]:
    """Is open on the worker's event loop."""
    yield Pool()


@contextmanager
def managed_pools() -> Generator[Pool, None, None]:
    """Is a context manager."""
    yield Pool()


@registry.handler("pool", queue=video)
def share(task: Video, pool: Annotated[Pool, Resource()], publisher: Publisher) -> None:
    """Asks for what no message has."""
    print(task, pool)
    publisher.publish(deleted(task, name="a"))


wired = Service(
    topology,
    registry,
    url=lambda: ["amqp://guest:guest@a/", "amqp://guest:guest@b/"],
    lifespan=pools,
    worker={"threads": 2, "prefetch": {video: 5}, "middleware": [logged]},
    publisher={"timeout": 5},
)
options: WorkerOptions = {**(wired.worker or {}), "threads": 3}
others: list[Service] = [
    Service(topology, registry, lifespan=async_pools),
    Service(topology, registry, lifespan=managed_pools, url="memory://"),
    wired.replace(worker=options, url=None),
]


def embed() -> RunningService:
    """Run inside of a program."""
    wired.run()
    with wired.running() as running:
        health: Health = running.worker.health()
        receipt: Receipt = running.publisher.publish(deleted(Video(id="1"), name="a"))
        print(health, receipt, wired.routes.check())
    return running


async def embed_async() -> None:
    """Run inside of a coroutine."""
    async with wired.running(worker=False) as running:
        await announce(running.publisher)


def test_share(taskroute_harness: Callable[..., Harness]) -> None:
    """Test a service."""
    with Harness(wired, overrides={pools: managed_pools, Pool: Pool}) as harness:
        harness.drain()
    taskroute_harness(wired).drain()
    Harness(wired, resources=Pool())
    Worker("memory://", topology, registry, resources=Pool(), publisher=harness.publisher)


# An event keeps its body's type.
key: str = deleted(Video(id="1"), name=7).body.id


def test_upload() -> None:
    """Test a handler."""
    with Harness(topology, registry, overrides={}, max_body_size=100) as harness:
        receipt: Receipt = harness.publish(Video(id="1"), "video.upload", exchange=media, priority=1)
        receipt = harness.publish(deleted(Video(id="1"), name=7), priority=1)
        assert harness.handled(transcode) == [call(Video(id="1"), "upload")]
        assert [each.message.attempt for each in harness.failed(rest)] == []
        letters: list[Letter] = harness.dead_letters(video)
        left: list[Message] = harness.messages("other")
        print(receipt.message_id, letters[0].reason, left[0].body, harness.handled(transcode)[0].arguments["task"])


# A handler keeps its type when it is decorated.
transcode(Video(id="1"), "upload")


@HandlerRegistry().handler([shown, "show.{id}"], queue="video")
def show(body: Video | Photo, id: str) -> None:  # noqa: A002 - as the pattern has it
    """A handler of a union and of a list of patterns."""
    again: Event[Video | Photo] = shown(body, id=id)
    another: Event[Video | Photo] = told(body, id=id)
    print(again.body, another.body)
