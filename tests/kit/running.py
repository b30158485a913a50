"""A worker and a publisher that run as long as a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.kit.specs import video

from taskroute import EventSpec, HandlerRegistry, Publisher, QueueSpec, RoutingPattern, Topology, Worker
from taskroute.broker.url import UrlSource


@contextmanager
def running(
    url: UrlSource, topology: Topology, registry: HandlerRegistry, **options: Any
) -> Iterator[tuple[Worker, Publisher]]:
    """Run a worker with these options, and a publisher."""
    with Worker(url, topology, registry, **options) as worker, Publisher(url, topology) as publisher:
        yield worker, publisher


def registry_of(
    function: Callable[..., object],
    pattern: str | RoutingPattern | EventSpec[Any] = "video.{action}",
    *,
    queue: QueueSpec | str | None = video,
    middleware: Any = (),
    **options: Any,
) -> HandlerRegistry:
    """Make a registry with one handler, of the queue `video` unless another one is given."""
    registry = HandlerRegistry(middleware=middleware)
    registry.add(pattern, function, queue=queue, **options)
    return registry
