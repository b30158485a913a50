"""Service: what belongs together, said once. Immutable; any thread may use it."""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

from taskroute.broker.declare import checked_mode
from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.graph.routes import Routes, check_parts
from taskroute.handlers.registry import HandlerRegistry
from taskroute.instrumentation.hooks import Instrumentation, Listeners
from taskroute.publisher.options import PublisherOptions
from taskroute.quoting import kind_with_article
from taskroute.service.lifespan import OpeningGivenUpError
from taskroute.service.open_service import OpenService
from taskroute.service.parts import Wiring, made
from taskroute.service.running import RunningService
from taskroute.service.url import url_of
from taskroute.suggestion import did_you_mean, suggests_options
from taskroute.topology.topology import Topology
from taskroute.worker.options import WorkerOptions, check_options
from taskroute.worker.signals import StopSignal
from taskroute.worker.worker import heed, run_until

Watch = Callable[[RunningService], AbstractContextManager[object]]
"""Is entered with the parts of a service before its worker starts, and left after it has stopped."""


@exported_by("taskroute")
@suggests_options()
@dataclass(frozen=True, eq=False)
class Service:
    """A topology, the handlers for it, and how they run: said once, for running, publishing, tests and tools.

    Nothing is opened when it is made.

    Args:
        topology: declared on the broker.
        registry: as it is when the service is run.
        url: as for `Worker`; left out, the environment variable ``TASKROUTE_URL`` says it: one URL, or several nodes
            of one cluster, separated by spaces. It is read when the service connects.
        lifespan: opens what handlers ask for by `Resource()`, before the worker starts, and closes it after the worker
            has stopped: a generator function that yields it, plain or async, or a function that returns a context
            manager. It may have a parameter that is annotated `Publisher`. What follows its ``yield`` always runs, and
            has 10 seconds. A plain one runs in a thread of its own, an async one in a task of the worker's event loop.
        instrumentation: what hears of events, of the worker and the publisher; see `taskroute.instrumentation`.
        worker: further arguments of `Worker`.
        publisher: further arguments of `Publisher`.

    Raises:
        ConfigurationError: an argument is of another type, there is no such option, or its value is wrong with any
            topology.

    Example:
        >>> from taskroute import HandlerRegistry, QueueSpec, Service, Topology
        >>> registry = HandlerRegistry()
        >>> @registry.handler("jobs", queue="jobs")
        ... def handle(job: dict) -> None: ...
        >>> service = Service(Topology(queues=[QueueSpec(name="jobs")]), registry, url="memory://")
        >>> with service.running() as running:
        ...     running.publisher.publish({"id": 1}, "jobs", exchange="").routing_key
        'jobs'
    """

    topology: Topology
    registry: HandlerRegistry
    _: KW_ONLY
    url: str | Sequence[str] | Callable[[], str | Sequence[str]] | None = field(default=None, repr=False)
    lifespan: Callable[..., Any] | None = None
    instrumentation: Iterable[Instrumentation] = ()
    worker: WorkerOptions | None = None
    publisher: PublisherOptions | None = None

    def __post_init__(self) -> None:
        check_parts(self.topology, self.registry)
        Listeners(self.instrumentation)  # refuses what is no list of them
        object.__setattr__(self, "instrumentation", tuple(self.instrumentation))
        lifespan: Any = self.lifespan
        if lifespan is not None and not callable(lifespan):
            raise ConfigurationError(
                f"lifespan must be a function, and is {kind_with_article(lifespan)}: leave out its brackets"
            )
        for name, options, of in (
            ("worker", self.worker, WorkerOptions),
            ("publisher", self.publisher, PublisherOptions),
        ):
            object.__setattr__(self, name, _checked(name, options, of))
        check_options(self.worker or {})
        checked_mode((self.publisher or {}).get("declare", "create"))

    @property
    def routes(self) -> Routes:
        """The topology and the registry, compiled as they are now.

        Raises:
            DefinitionError: as `Routes`.
        """
        return Routes(self.topology, self.registry)

    def replace(self, **changes: Any) -> "Service":
        """Return a service with other values for some of the arguments of this one.

        Raises:
            ConfigurationError: there is no such argument, or as for `Service`.
        """
        known = [each.name for each in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                hint = did_you_mean(name, known, f"there are {', '.join(known)}")
                raise ConfigurationError(f"a service has no {name!r}; {hint}")
        return dataclasses.replace(self, **changes)

    def run(self) -> None:
        """Run the worker until SIGTERM or SIGINT, and let it finish what it handles; see `Worker.run`.

        Raises:
            BrokerUrlError: no URL is said.
            DefinitionError, BrokerError, ShutdownTimeoutError: as `Worker` and `Worker.run`.
            ShutdownTimeoutError: the lifespan was not closed within 10 seconds.
            BaseException: what the lifespan raised.
        """
        with closing(StopSignal()) as stop_signal:
            run(self, stop_signal)

    def running(self, *, worker: bool = True) -> OpenService:
        """Return a context manager that opens the publisher and starts the worker, inside of another program.

        With ``async with`` the event loop goes on while it connects and while handlers come to their end.

        Args:
            worker: False leaves it out, and the lifespan as well, for a process that only publishes.

        Raises:
            BrokerUrlError: no URL is said.
            DefinitionError, BrokerError, ShutdownTimeoutError: as `Worker.start` and `stop`, and `Publisher`.
            BaseException: what the lifespan raised.
        """
        return OpenService(partial(_running, self, has_worker=worker))


@contextmanager
def _running(service: Service, *, has_worker: bool) -> Iterator[RunningService]:
    with made(_wiring(service), has_worker=has_worker) as parts:
        running = parts.running
        running.publisher.start()
        if not has_worker:
            yield running
            return
        with parts.alive(lambda future: wait([future])), running.worker:
            yield running


def run(service: Service, stop_signal: StopSignal, watch: Watch = nullcontext) -> None:
    """Do what `Service.run` does, until a signal that is the caller's, with somebody who watches."""
    with stop_signal.set_by_signals(), suppress(OpeningGivenUpError):

        def wait_or_stop(future: Future[Any]) -> None:
            future.add_done_callback(lambda _: stop_signal.wake())
            stop_signal.wait(until=future.done)

        with made(_wiring(service), has_worker=True) as parts:
            worker = parts.running.worker
            heed(worker, stop_signal)
            with watch(parts.running), parts.alive(wait_or_stop):
                if not stop_signal.is_set:
                    run_until(worker, stop_signal)


def _wiring(service: Service) -> Wiring:
    return Wiring(
        url=url_of(service.url),
        topology=service.topology,
        registry=service.registry,
        lifespan=service.lifespan,
        instrumentation=tuple(service.instrumentation),
        worker=service.worker or {},
        publisher=service.publisher or {},
    )


def _checked(name: str, options: Any, kind: Any) -> Any:
    """Return a copy of options whose names are all of a TypedDict."""
    if not isinstance(options, Mapping | None):
        raise ConfigurationError(f"{name} must be a dict of options, and is {kind_with_article(options)}")
    known = sorted(kind.__annotations__)
    for option in options or {}:
        if option not in known:
            hint = did_you_mean(option, known, f"there are {', '.join(known)}")
            raise ConfigurationError(f"{name}: there is no option {option!r}; {hint}")
    return dict(options or {})
