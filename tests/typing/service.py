"""A service as a user writes it: mypy strict finds nothing wrong with it."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel

from taskroute import (
    ExchangeSpec,
    Finding,
    HandlerRegistry,
    Header,
    Message,
    Publisher,
    QueueSpec,
    Receipt,
    Reject,
    Retry,
    RetryPolicy,
    Routes,
    RoutingPattern,
    Stats,
    TaskrouteError,
    Topology,
    Worker,
)


class Video(BaseModel):
    """A body."""

    id: str


media = ExchangeSpec(name="media", type="topic")
video = QueueSpec(
    name="video",
    bindings=[media.bind("video.#"), media.bind(RoutingPattern("clip.{id}"))],
    retry=RetryPolicy(delays=(1, timedelta(minutes=1))),
    message_ttl=60,
)
topology = Topology(exchanges=[media], queues=[video]) | Topology(queues=[QueueSpec(name="other")])
registry = HandlerRegistry()


@registry.handler("video.{action}", queue=video, timeout=5)
def transcode(task: Video, action: str, tenant: Annotated[str, Header("x-tenant")] = "") -> None:
    """Handles."""
    if not task.id:
        raise Reject("no id")
    raise Retry(f"{action} {tenant}", delay=1)


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


def serve(url: str) -> Stats:
    """Run."""
    with Worker(url, topology, registry, threads=2) as worker, Publisher(url, topology) as publisher:
        receipt: Receipt = publisher.publish(Video(id="1"), "video.upload", exchange=media, priority=1)
        future: Future[Receipt] = publisher.submit({"id": "2"}, "video.upload", exchange="media")
        for outcome in publisher.publish_many([(b"{}", "video.x")], exchange=media):
            if isinstance(outcome, TaskrouteError):
                print(outcome)
        print(receipt.message_id, future.result().message_id, worker.health().reasons)
        idle: bool = worker.wait_idle(timeout=10)
        print(idle)
        return worker.stats()


# A handler keeps its type when it is decorated.
transcode(Video(id="1"), "upload")
