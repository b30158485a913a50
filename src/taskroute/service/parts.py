"""Parts: the publisher, the worker and the lifespan of one run of a service, opened and closed in their order.

The publisher is opened first, then the lifespan, then the worker is started; in reverse in the end. The thread that
runs the service makes every call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from taskroute.broker.url import UrlSource
from taskroute.handlers.function import describe
from taskroute.handlers.registry import HandlerRegistry
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.publisher.options import PublisherOptions
from taskroute.publisher.publisher import Publisher
from taskroute.service.lifespan import GRACE, Lifespan, TaskLife, ThreadLife
from taskroute.service.opening import opening_of
from taskroute.service.running import RunningService
from taskroute.topology.topology import Topology
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.given import Resources
from taskroute.worker.options import WorkerOptions
from taskroute.worker.worker import DEFAULT_NAME, Worker


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What the parts are made of; see `Service`."""

    url: UrlSource = field(repr=False)  # it may have a password
    topology: Topology
    registry: HandlerRegistry
    lifespan: Callable[..., Any] | None = None
    resources: object | None = None
    """Open already, where there is no lifespan."""
    instrumentation: Sequence[Instrumentation]
    worker: WorkerOptions
    publisher: PublisherOptions


class Parts:
    """The parts of one run. Made by `made`.

    Attributes:
        running: what others are given.
    """

    def __init__(self, wiring: Wiring, publisher: Publisher, *, has_worker: bool) -> None:
        self._lifespan = wiring.lifespan
        self._name = wiring.worker.get("name") or DEFAULT_NAME
        self._loop = EventLoop(f"{self._name}-loop")
        self._resources = Resources(self._loop)
        worker = None
        if has_worker:
            worker = Worker(
                wiring.url,
                wiring.topology,
                wiring.registry,
                instrumentation=wiring.instrumentation,
                resources=wiring.resources if wiring.lifespan is None else self._resources,
                publisher=publisher,
                **wiring.worker,
            )
        self.running = RunningService(publisher, worker)

    @contextmanager
    def alive(self, wait: Callable[[Future[Any]], object]) -> Iterator[None]:
        """Return a context manager in which the lifespan is open, and its resources are known to the worker.

        Args:
            wait: see `Lifespan.open`.

        Raises:
            ConfigurationError: a handler asks for something else than it yields.
            BaseException: as `Lifespan`.
        """
        if self._lifespan is None:
            yield
            return
        with ExitStack() as stack:
            stack.callback(self._end_loop)
            lifespan = self._made(self._lifespan)
            resources = lifespan.open(wait)
            stack.callback(lifespan.close)
            self._resources.open(resources)
            yield

    def _made(self, function: Callable[..., Any]) -> Lifespan:
        opening = opening_of(function, self.running.publisher)
        life = TaskLife(opening, self._loop) if opening.is_async else ThreadLife(opening, f"{self._name}-lifespan")
        return Lifespan(describe(function), life)

    def _end_loop(self) -> None:
        self._loop.stop()  # the worker has, if it was started
        self._loop.join(GRACE)


def publisher_of(wiring: Wiring) -> Publisher:
    """Make the publisher."""
    return Publisher(wiring.url, wiring.topology, instrumentation=wiring.instrumentation, **wiring.publisher)


@contextmanager
def made(wiring: Wiring, *, has_worker: bool) -> Iterator[Parts]:
    """Make the parts; close the publisher in the end. Nothing is opened yet.

    Raises:
        DefinitionError: as `Worker` and `Publisher`.
        PublishError: as `Publisher.close`.
    """
    publisher = publisher_of(wiring)
    with ExitStack() as stack:
        stack.callback(publisher.close)
        yield Parts(wiring, publisher, has_worker=has_worker)
