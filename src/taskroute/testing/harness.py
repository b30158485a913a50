"""Harness: a real worker and publisher on an embedded broker of their own, with a clock that is moved by hand.

The test's thread makes every call.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import wait
from contextlib import ExitStack, nullcontext, suppress
from types import TracebackType
from typing import Any, Final, Self, Unpack, overload

from taskroute.broker.embedded import transport
from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.clock import ManualClock
from taskroute.broker.roles.submission import Receipt
from taskroute.broker.url import Version
from taskroute.errors import ClosedError, ConfigurationError, ShutdownTimeoutError, TopologyError
from taskroute.exported import exported_by
from taskroute.handlers.function import describe
from taskroute.handlers.marks import Provider
from taskroute.handlers.middleware import Middleware
from taskroute.handlers.registry import HandlerRegistry, derived
from taskroute.handling.health import Health
from taskroute.instrumentation.hooks import Instrumentation
from taskroute.message.delivery import Delivery
from taskroute.message.message import Message
from taskroute.operate.dead_letters.letter import Letter, letter_of
from taskroute.publisher.options import EventOptions, PublishOptions
from taskroute.publisher.publisher import Publisher
from taskroute.service.parts import Parts, publisher_of
from taskroute.service.service import Service
from taskroute.suggestion import suggests_options
from taskroute.testing.calls import Call
from taskroute.testing.recorder import Recorder, check_overrides
from taskroute.testing.wiring import middleware_of, service_of, wiring_of
from taskroute.topology.event_spec import Event
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec, wait_queues_of
from taskroute.topology.topology import Topology
from taskroute.worker.options import WorkerOptions
from taskroute.worker.worker import Worker

DEFAULT_TIMEOUT: Final = 10.0
SHUTDOWN_TIMEOUT: Final = 1.0
"""Seconds for handlers that still run when the test ends; a test that needs them has failed."""

_NO_OVERRIDES: Final[Mapping[Provider, Provider]] = {}


@exported_by("taskroute.testing")
@suggests_options(*WorkerOptions.__annotations__, "resources")
class Harness:
    """Runs a service for one test, or a topology and a registry, on an embedded broker of its own.

    Enter it with ``with``. An error of a handler is raised in the test, with its traceback, by the methods that wait:
    `drain`, `advance`, `handled`, `failed` (except errors of that handler), `dead_letters`, `messages` and the end of
    ``with``. Each error is raised once. An error that later attempts of a message repeat counts once. Several errors
    are an `ExceptionGroup`. `Reject` and `Retry` are verdicts, not errors.

    The broker's clock stands still, and the methods that wait advance it, so that retries do not take real time.

    The test's thread makes every call; handlers run in the worker's threads, or on its event loop, as in production.

    Args:
        topology: declared as it is, and `passive` exchanges and queues as well, as their owner would declare them. Or a
            `Service`: what it says counts, but for what belongs to its broker (`url`, `tls`, `declare`, `heartbeat`) or
            is said here. Its lifespan is opened and closed as in production.
        registry: copied; left out, nothing is consumed, for a service that only publishes. A `Service` has its own.
        queues: to consume; left out, those that a handler or fallback names.
        threads: for plain handlers; one keeps the order of the messages.
        middleware: as for `Worker`.
        instrumentation: as for `Worker`, of the publisher as well.
        overrides: what handlers are given instead: for a provider of `Depends(...)` another one,
            ``{open_session: FakeSession}``; for a type that is asked for, as by `Resource()`, a provider,
            ``{Pool: FakePool}``; for the lifespan of the service another one.
        timeout: seconds of real time that a method waits at most.
        rabbitmq: the version whose rules the broker follows; left out, the newest one that it knows.
        **options: further arguments of `Worker`.

    Raises:
        DefinitionError: as `Worker`; `overrides` names what nobody asks for.

    Example:
        >>> from unittest.mock import call
        >>> with Harness(topology, registry) as harness:
        ...     _ = harness.publish(Video(id="1"), "video.upload", exchange=media)
        ...     assert harness.handled(transcode) == [call(Video(id="1"), action="upload")]
    """

    def __init__(
        self,
        topology: Topology | Service,
        registry: HandlerRegistry | None = None,
        *,
        queues: Iterable[QueueSpec | str] | None = None,
        threads: int = 1,
        middleware: Iterable[Middleware] = (),
        instrumentation: Iterable[Instrumentation] = (),
        overrides: Mapping[Provider, Provider] = _NO_OVERRIDES,
        timeout: float = DEFAULT_TIMEOUT,
        rabbitmq: Version | None = None,
        **options: Any,
    ) -> None:
        service = service_of(topology, registry)
        has_worker = bool(service.registry.handlers or queues or options) or registry is not None
        registry = service.registry
        check_overrides(registry.handlers, overrides, service.lifespan)
        self._topology = _owned(service.topology)
        self._functions = [handler.function for handler in registry.handlers]
        self._timeout = timeout
        self._clock = ManualClock()
        self._rabbitmq = rabbitmq
        self._recorder = Recorder(self._clock.now)
        around = HandlerRegistry(middleware=middleware_of(service, middleware))
        around.include(registry)
        recorded = derived(around, lambda handler: self._recorder.recorded(handler, overrides))
        self._name = f"harness-{uuid.uuid4().hex}"
        own: dict[str, Any] = {"shutdown_timeout": SHUTDOWN_TIMEOUT, "threads": threads}
        wiring = wiring_of(
            service,
            url=self.url,
            topology=self._topology,
            registry=recorded,
            instrumentation=instrumentation,
            overrides=overrides,
            options=own | ({} if queues is None else {"queues": queues}) | options,
        )
        self._publisher = publisher_of(wiring)
        self._parts = Parts(wiring, self._publisher, has_worker=has_worker)
        self._worker = self._parts.running.worker if has_worker else None
        queues_consumed = self._worker.queues if self._worker else ()
        self._consumed = [queue.name for queue in queues_consumed]
        self._waiting = [name for queue in queues_consumed for name in wait_queues_of(queue)]
        self._resources: ExitStack | None = None
        self._has_given_up = False

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._broker = transport.create(self._name, self._clock, self._rabbitmq)
            stack.callback(transport.drop, self._name)
            stack.callback(self._publisher.close)
            if self._worker:
                stack.enter_context(self._parts.alive(lambda future: wait([future])))
                stack.enter_context(self._worker)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        resources = self._opened()
        try:
            if error is None and not self._has_given_up:
                self.drain()
        finally:
            self._resources = None
            has_failed = error is not None or self._has_given_up  # which says more than a handler that still runs
            with suppress(ShutdownTimeoutError) if has_failed else nullcontext():
                resources.close()

    @property
    def url(self) -> str:
        """The URL of the broker, for code that connects by itself."""
        return f"memory://{self._name}"

    @property
    def worker(self) -> Worker:
        """The worker, for its `stats` and `health`.

        Raises:
            ConfigurationError: the harness has no handlers.
        """
        if self._worker is None:
            raise ConfigurationError("this harness runs no worker: it has no handlers; Harness(topology, registry)")
        return self._worker

    @property
    def publisher(self) -> Publisher:
        """The publisher, which handlers are given that ask for `Publisher`."""
        return self._publisher

    @overload
    def publish(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Receipt: ...

    @overload
    def publish(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Receipt: ...

    def publish(self, *message: Any, **options: Any) -> Receipt:
        """Publish a message, or an event; see `Publisher.publish`. Does not wait for handlers."""
        self._opened()
        return self._publisher.publish(*message, **options)

    def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing is ready, in flight or waiting for a retry in the queues of the worker.

        Advances the clock to each retry in turn.

        Args:
            timeout: seconds of real time; left out, the harness's.

        Raises:
            TimeoutError: names what is not done, and queues that a circuit breaker pauses.
            BaseException: an error of a handler that the test has not looked at.
        """
        __tracebackhide__ = True
        self._settle(timeout)
        self._raise_errors()

    def advance(self, seconds: float) -> None:
        """Advance the broker's clock by `seconds`: messages expire, retries come.

        Waits until the worker has nothing to do before each of these moments, and at the end.

        Raises:
            TimeoutError, BaseException: as `drain`.
        """
        __tracebackhide__ = True
        until, deadline = self._clock.now() + seconds, time.monotonic() + self._timeout
        self._work_off(deadline)
        while (due := self._clock.next_call()) is not None and due <= until:
            self._clock.advance_to(due)
            self._work_off(deadline)
        self._clock.advance_to(until)
        self._raise_errors()

    def handled(self, handler: Callable[..., object]) -> list[Call]:
        """Drain, and return the calls of a handler that returned, in the order in which they began.

        Raises:
            ConfigurationError: the registry has no such handler.
            TimeoutError, BaseException: as `drain`.
        """
        __tracebackhide__ = True
        self._check_known(handler)
        self.drain()
        return self._recorder.handled(handler)

    def failed(self, handler: Callable[..., object]) -> list[Call]:
        """Drain, and return the attempts of a handler that raised, each with its `error`.

        Errors of its middleware and providers count as its own. They are not raised later, as the test has looked at
        them; those of other handlers are. A message that does not fit the handler is no attempt: see `dead_letters`.

        Raises:
            ConfigurationError: the registry has no such handler.
            TimeoutError, BaseException: as `drain`.
        """
        __tracebackhide__ = True
        self._check_known(handler)
        self._settle()
        failed = self._recorder.failed(handler)
        self._raise_errors()
        return failed

    def dead_letters(self, queue: QueueSpec | str) -> list[Letter]:
        """Drain, and return the messages of `queue` that are in its dead-letter queue, the first one first.

        Raises:
            UnknownQueueError: the topology has no such queue.
            TopologyError: the queue keeps no dead letters.
            TimeoutError, BaseException: as `drain`.
        """
        __tracebackhide__ = True
        spec = self._topology.queue(queue)
        if spec.dead_letter_queue is None:
            raise TopologyError(f"queue {spec.name!r} keeps no dead letters; messages() returns what is in it")
        self.drain()
        found = self._broker.peek(spec.dead_letter_queue)
        letters = (letter_of(_delivery(spec.dead_letter_queue, stored)) for stored in found)
        return [letter for letter in letters if letter.queue == spec.name]

    def messages(self, queue: QueueSpec | str) -> list[Message]:
        """Drain, and return the messages that are ready in a queue that the worker does not consume.

        Raises:
            UnknownQueueError: the topology has no such queue.
            TimeoutError, BaseException: as `drain`.
        """
        __tracebackhide__ = True
        name = self._topology.queue(queue).name
        self.drain()
        return [_delivery(name, stored).message() for stored in self._broker.peek(name)]

    def _opened(self) -> ExitStack:
        if self._resources is None:
            raise ClosedError("a harness is used inside of its with statement: with Harness(...) as harness")
        return self._resources

    def _check_known(self, handler: Callable[..., object]) -> None:
        if handler not in self._functions:
            known = ", ".join(map(describe, self._functions)) or "none"
            raise ConfigurationError(f"{describe(handler)} is no handler of this registry; its handlers: {known}")

    def _settle(self, timeout: float | None = None) -> None:
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        self._work_off(deadline)
        while any(depth.ready for depth in self._broker.depths(self._waiting).values()):
            due = self._clock.next_call()
            if due is None or time.monotonic() >= deadline:  # a wait queue cannot deliver what it keeps
                raise self._overdue()
            self._clock.advance_to(due)
            self._work_off(deadline)

    def _work_off(self, deadline: float) -> None:
        """Wait until the worker has nothing to do, and the messages that handlers published are in their queues."""
        self._opened()
        changes = None
        while changes != self._recorder.changes:  # a handler that ran meanwhile may have published
            changes = self._recorder.changes
            if not self._publisher.wait_idle(deadline - time.monotonic()):
                raise self._overdue()
            if not self._broker.wait_empty(self._consumed, deadline - time.monotonic()):
                raise self._overdue()
        self._has_given_up = False

    def _overdue(self) -> TimeoutError:
        self._has_given_up = True
        health = self._worker.health() if self._worker else None
        depths = self._broker.depths([*self._consumed, *self._waiting]).items()
        queues = [
            f"queue {name!r} has {depth.ready} messages ready and {depth.unsettled} not settled"
            + ("" if health is None else _pause(name, health))
            for name, depth in depths
            if depth.ready or depth.unsettled
        ]
        return TimeoutError(f"not done in time: {'; '.join([*self._recorder.running, *queues]) or 'publishing'}")

    def _raise_errors(self) -> None:
        __tracebackhide__ = True
        errors = self._recorder.unseen_errors()
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup(f"handlers raised {len(errors)} errors", errors)


def _owned(topology: Topology) -> Topology:
    """Return the topology with nothing passive, because no other service is there to declare it."""
    return Topology(
        exchanges=[
            exchange.model_copy(update={"passive": exchange.name.startswith("amq."), "bindings": _by_name(exchange)})
            for exchange in topology.exchanges
        ],
        queues=[queue.model_copy(update={"passive": False, "bindings": _by_name(queue)}) for queue in topology.queues],
    )


def _by_name(target: ExchangeSpec | QueueSpec) -> tuple[BindingSpec, ...]:
    return tuple(binding.by_name() for binding in target.bindings)


def _pause(queue: str, health: Health) -> str:
    if queue not in health.paused:
        return ""
    is_meant = any(warning.startswith(f"queue {queue!r} is paused by hand") for warning in health.warnings)
    return ", paused by hand" if is_meant else ", paused by its circuit breaker"


def _delivery(queue: str, stored: StoredMessage) -> Delivery:
    return Delivery(
        queue=queue,
        exchange=stored.exchange,
        routing_key=stored.routing_key,
        body=stored.body,
        properties=stored.properties,
    )
