"""Worker: consumes queues, has handlers run in threads, and settles every message.

Here is a worker's life and what can be asked of it; what happens to a delivery is in `processor`.
"""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Final, Literal, NoReturn, Self

from taskroute.broker.declare import Declaration, DeclareMode, checked_mode
from taskroute.broker.mailbox import Mailbox
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    ShutdownTimeoutError,
    TaskrouteError,
)
from taskroute.exported import exported_by
from taskroute.foreign import Log
from taskroute.graph.routes import Routes, check_parts
from taskroute.handlers.middleware import Middleware
from taskroute.handlers.registry import HandlerRegistry
from taskroute.handling.circuit_breaker import CircuitBreaker
from taskroute.handling.dispatch import DEFAULT_MAX_BODY_SIZE
from taskroute.handling.health import Health, diagnose
from taskroute.instrumentation.hooks import Instrumentation, Listeners
from taskroute.publisher.publisher import Publisher
from taskroute.raised import Disclosure, checked_detail
from taskroute.suggestion import suggests_options
from taskroute.topology.digest import topology_digest
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology
from taskroute.worker.drain import drain
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.given import give, loop_of
from taskroute.worker.idle import Idle
from taskroute.worker.life import Life
from taskroute.worker.notifications import Notifications
from taskroute.worker.options import DEFAULT_SHUTDOWN_TIMEOUT, DEFAULT_THREADS, MAX_TIMEOUT, seconds, whole
from taskroute.worker.prefetch_watch import PrefetchWatch
from taskroute.worker.processor import Processor
from taskroute.worker.queue_options import CONSUMER_TIMEOUT, ByQueue, read_queue_options
from taskroute.worker.queue_selection import select_queues
from taskroute.worker.republish import Republisher
from taskroute.worker.signals import StopSignal
from taskroute.worker.stats import Stats, StatsCounter

log = Log("taskroute.worker")

DEFAULT_NAME: Final = "taskroute-worker"

_OF_ANOTHER_PROCESS: Final = "this worker belongs to the process that this one was forked from"


@exported_by("taskroute")
@suggests_options()
class Worker:
    """Consumes the queues of a topology and calls the handlers of a registry.

    One thread owns the consuming connection, another one (from the first failure on) the connection that republishes
    failed messages; handlers run in `threads` threads of their own and touch neither, ``async def`` handlers on an
    event loop in one more thread. Each message is acknowledged after its handler has returned, or after its
    republishing to a wait or dead-letter queue has been confirmed.

    Args:
        url: ``memory://NAME``, ``amqp://user:password@host/vhost``, several nodes of one cluster, or a function that
            returns one of these: asked before each attempt to connect, on the thread of the session that connects.
        topology: declared on the broker as `declare` says.
        registry: as it is now; later registrations do not count.
        queues: to consume; left out, those that a handler or fallback names.
        threads: for plain handlers; 0 runs them on the session's thread, for tiny handlers. How many ``async def``
            handlers run at once is limited by `prefetch` and `concurrency`.
        prefetch: unacknowledged messages per queue, or by queue; left out, 16 for each that can be handled at once,
            and 256 at most.
        concurrency: by queue, how many of its messages may be handled at once.
        circuit_breaker: when to pause a queue whose handlers keep failing; one for every queue, or by queue.
        consumer_timeout: seconds after which the broker takes back what is not acknowledged, as it is configured there;
            for every queue, or by queue, None for never. A worker cannot ask for it.
        heartbeat: seconds, at least 1. A silent connection is given up after two of them.
        shutdown_timeout: seconds that `stop` gives running handlers.
        declare: ``create``; ``verify`` that it is there, and as declared; or ``skip``.
        name: of the threads and of the connections on the broker.
        tls: for ``amqps``.
        max_body_size: bytes; longer messages are dead-lettered unread.
        middleware: around every handler, outside of the registry's own; the first one outermost.
        instrumentation: what hears of events; see `taskroute.instrumentation`.
        resources: what handlers ask for by `Resource()`: one object, or a dataclass of several. Stays open for as long
            as the worker runs; closing it is up to the caller.
        publisher: for handlers with a parameter that is annotated `Publisher`; up to the caller as well.
        errors: what is told of an exception in the log and with a dead letter: ``text``, which is its class, text,
            place and traceback; or ``place``, its class and place alone, so that nothing a message says is told.

    Raises:
        UnknownQueueError: a handler or an argument names a queue that the topology does not have.
        AmbiguousHandlerError: two handlers share a key, and neither is more specific.
        TopologyError: a queue to consume has no handler, is a stream, or its dead-letter queue is missing.
        ConfigurationError, BrokerUrlError: another argument, or one that a handler asks for and that is missing.

    Example:
        >>> from taskroute import HandlerRegistry, QueueSpec, Topology, Worker
        >>> registry = HandlerRegistry()
        >>> @registry.handler("#", queue="jobs")
        ... def handle(job: dict) -> None: ...
        >>> with Worker("memory://", Topology(queues=[QueueSpec(name="jobs")]), registry) as worker:
        ...     worker.health().ready
        True
    """

    def __init__(
        self,
        url: str | Sequence[str] | Callable[[], str | Sequence[str]],
        topology: Topology,
        registry: HandlerRegistry,
        *,
        queues: Iterable[QueueSpec | str] | None = None,
        threads: int = DEFAULT_THREADS,
        prefetch: int | ByQueue[int] | None = None,
        concurrency: ByQueue[int] | None = None,
        circuit_breaker: CircuitBreaker | ByQueue[CircuitBreaker] | None = None,
        consumer_timeout: float | ByQueue[float | None] | None = CONSUMER_TIMEOUT,
        heartbeat: float = 30,
        shutdown_timeout: float = DEFAULT_SHUTDOWN_TIMEOUT,
        declare: DeclareMode = "create",
        name: str | None = None,
        tls: ssl.SSLContext | None = None,
        max_body_size: int = DEFAULT_MAX_BODY_SIZE,
        middleware: Iterable[Middleware] = (),
        instrumentation: Iterable[Instrumentation] = (),
        resources: object | None = None,
        publisher: Publisher | None = None,
        errors: Literal["text", "place"] = "text",
    ) -> None:
        nodes = Nodes(url, tls)
        disclosure = Disclosure(checked_detail(errors), nodes.passwords)
        check_parts(topology, registry)
        digest = topology_digest(topology)
        around = HandlerRegistry(middleware=middleware)
        around.include(registry)
        routes = Routes(topology, around)
        self._queues = select_queues(routes, queues)
        answered = give(around, self._queues, resources, publisher)
        self.routes: Routes = routes if answered is around else Routes(topology, answered)
        self._name = name or DEFAULT_NAME
        self._shutdown_timeout = seconds("shutdown_timeout", shutdown_timeout)
        self._life = Life(self._start_threads, self._drain)
        self._ended = threading.Event()
        self._stop_signal: StopSignal | None = None  # while `run` waits for it
        listeners = Listeners(instrumentation, disclosure)
        self._stats = StatsCounter()
        notifications = Notifications(self._stats, listeners.on_event, disclosure)
        mailbox = Mailbox(time.monotonic)
        self._loop = loop_of(resources) or EventLoop(f"{self._name}-loop")
        declaration = self._declaration(topology, declare)
        self._republisher = Republisher(
            nodes,
            topology_digest=digest,
            name=f"{self._name}-hand-over",  # as operators know it
            heartbeat=heartbeat,
            queues=self._queues,
            declaration=declaration,
            frame_max=lambda: self._session.frame_max,
            scheduler=mailbox,
            notifications=notifications,
            on_end=self._note_end,
            emit=listeners.on_event,
            disclosure=disclosure,
        )
        thread_count = whole("threads", threads)
        options = read_queue_options(
            self._queues,
            topology,
            threads=thread_count,
            awaited=[queue for queue in self._queues if self._has_async_handler(queue)],
            prefetch=prefetch,
            concurrency=concurrency,
            circuit_breaker=circuit_breaker,
            consumer_timeout=consumer_timeout,
        )
        self._consumer_timeouts = options.timeouts
        self._processor = Processor(
            routes=self.routes,
            queues=self._queues,
            options=options,
            declaration=declaration,
            mailbox=mailbox,
            republisher=self._republisher,
            loop=self._loop,
            notifications=notifications,
            handling=listeners.handling,
            threads=thread_count,
            thread_name=f"{self._name}-handler",
            max_body_size=whole("max_body_size", max_body_size),
            disclosure=disclosure,
        )
        self._session = Session(
            nodes,
            self._processor.consumer,
            name=self._name,
            heartbeat=heartbeat,
            mailbox=mailbox,
            topology_digest=digest,
            on_end=self._note_end,
            emit=listeners.on_event,
            disclosure=disclosure,
        )
        self._prefetch_watch = PrefetchWatch(
            options.timeouts,
            work=self._processor.work,
            consumer=self._processor.consumer,
            scheduler=mailbox,
            admissions=self._processor.admissions,
            notifications=notifications,
        )
        self._idle = Idle(
            self._queues.values(),
            work=self._processor.work,
            consumer=self._processor.consumer,
            session=self._session,
            republisher=self._republisher,
            admissions=self._processor.admissions,
            ended=self._ended,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a worker cannot be sent to another process: make it there, of the same topology and registry")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, timeout: float | None = 30) -> None:
        """Connect, declare, and return once consuming.

        Args:
            timeout: seconds; None keeps trying.

        Raises:
            BrokerUnavailableError: not connected in time, or no node lets this user in; the worker is stopped then.
            TopologyMismatchError: of what is consumed here the broker has something else, lacks it, or does not let us
                declare it.
            UnsupportedFeatureError: the broker cannot do what a spec asks for.
            ClosedError: started or stopped before.
            OSError, RuntimeError: no descriptor, no thread can be had now; it may be started again.
        """
        if not self._begin():
            raise ClosedError("the worker was stopped before it was started: make a new one")
        try:
            self._session.wait_open(None if timeout is None else min(timeout, MAX_TIMEOUT))
        except BaseException:
            with suppress(ShutdownTimeoutError):  # it follows from what is wrong, which says more
                self.stop()
            raise

    def stop(self) -> None:
        """Stop consuming, let running handlers finish, acknowledge, and disconnect.

        Messages that were delivered and not begun go back to their queues. Takes at most `shutdown_timeout`
        plus 2 seconds. Before a `start` or `run` it counts: the worker does not begin then. While another thread
        stops the worker, waits for that; after one that was interrupted, goes on with it. In a signal's handler that
        interrupts `start` or `stop` it returns at once, and the worker is stopped there. Does nothing in a fork of
        the process that made the worker.

        Raises:
            ConfigurationError: called in a handler, or elsewhere in one of the worker's own threads.
            ShutdownTimeoutError: a handler or the broker did not come to an end; names it. The messages return
                to their queues.
        """
        if self._session.is_of_another_process:
            return
        self._refuse_own_threads("stop")
        hung = self._life.end()
        if self._life.phase == "stopped":
            self._note_end()
        if hung:
            raise ShutdownTimeoutError(
                f"not finished within {self._shutdown_timeout} s: {'; '.join(hung)}; "
                f"the messages return to their queues"
            )

    def run(self) -> None:
        """Start, block until SIGTERM, SIGINT or `stop`, and stop; keeps trying while the broker is away.

        In the main thread the first signal drains and a second one ends the process at once. In another thread
        no signals are touched; call `stop` from elsewhere. If that came before, it returns at once.

        Raises:
            TopologyMismatchError, UnsupportedFeatureError: as `start`.
            ShutdownTimeoutError: as `stop`.
            BrokerUnavailableError: no node lets this user in, or the session ended by itself, which is a defect.
            ClosedError: started before.
        """
        with closing(StopSignal()) as stop_signal, stop_signal.set_by_signals():
            self._run_until(stop_signal)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is ready, waiting for a retry, or in flight in the queues of this worker.

        Messages of a queue that is paused count: nothing but `resume` brings an end then, and a log line says so. When
        it gives up, log lines say what is left, queue by queue.

        Args:
            timeout: seconds; where the broker does not answer, half of one more.

        Returns:
            Whether that came to pass in time.

        Raises:
            ConfigurationError: as `stop`.
            ClosedError: in a fork of the process that made the worker.
        """
        self._refuse_other_process()
        self._refuse_own_threads("wait_idle")
        return self._idle.wait(min(timeout, MAX_TIMEOUT))

    def pause(self, queue: QueueSpec | str) -> None:
        """Handle nothing of a queue until `resume`. Returns at once; handlers that run come to their end.

        Messages that this worker has and no handler has begun go back to the queue, so that other workers get them.
        On a quorum queue before RabbitMQ 4.3 that would count as a failed delivery: they wait here, for half of the
        `consumer_timeout` at most. Lasts through reconnects, and may be called before `start`, and in a handler. Other
        queues go on, and `health().ready` does not change. Once more does nothing.

        Raises:
            UnknownQueueError: the topology does not have it.
            ConfigurationError: this worker does not consume it.
            ClosedError: in a fork of the process that made the worker.

        Example:
            >>> worker.pause("video")
            >>> worker.health().paused
            ('video',)
            >>> worker.resume("video")
        """
        self._refuse_other_process()
        self._processor.admissions.hold(self._consumed("pause", queue))

    def resume(self, queue: QueueSpec | str) -> None:
        """End a `pause`. What a circuit breaker has paused stays paused. Does nothing for a queue that is not paused.

        Raises:
            UnknownQueueError, ConfigurationError, ClosedError: as `pause`.
        """
        self._refuse_other_process()
        self._processor.admissions.let_go(self._consumed("resume", queue))

    @property
    def queues(self) -> tuple[QueueSpec, ...]:
        """The queues that it consumes."""
        return tuple(self._queues.values())

    def stats(self) -> Stats:
        """Return counts of what became of the messages so far.

        Raises:
            ClosedError: in a fork of the process that made the worker.
        """
        self._refuse_other_process()
        consumer = self._processor.consumer
        return replace(
            self._stats.stats(),
            connections=self._session.generation,
            missed_consumers=consumer.missed,
            backlog=MappingProxyType(dict(consumer.backlogs)),
        )

    def depths(self, queues: Iterable[QueueSpec | str] | None = None, *, timeout: float = 5) -> Mapping[str, int]:
        """Ask the broker how many messages are ready in each of some queues. Those that it does not have are left out.

        Asked on the consuming connection, so not from a handler where `threads` is 0.

        Args:
            queues: of the topology; left out, the dead-letter queues of the queues that this worker consumes.
            timeout: seconds.

        Raises:
            UnknownQueueError: the topology does not have it.
            BrokerUnavailableError: not connected, or no answer in time.
            ClosedError: the worker is not started, or it is stopped.

        Example:
            >>> worker.depths()
            {'video.dead': 0}
        """
        self._refuse_other_process()
        if (ended := self._why_ended()) is not None:
            raise ClosedError(f"the worker cannot ask the broker for depths: {ended}")
        asked = self._dead_letter_queues() if queues is None else queues
        names = [self.routes.topology.queue(queue).name for queue in asked]
        try:
            return self._session.ask(partial(self._processor.consumer.count_each, names), min(timeout, MAX_TIMEOUT))
        except TaskrouteError:
            raise
        except Exception as error:
            raise BrokerUnavailableError(f"the broker cannot be asked for depths: {type(error).__name__}") from error

    def health(self) -> Health:
        """Return whether the worker lives and does its work, and why not.

        Cheap enough for a probe: it asks nothing of the broker, and waits for no handler.
        """
        if self._session.is_of_another_process:  # whose locks may be held here for ever
            return Health(live=False, ready=False, reasons=(_OF_ANOTHER_PROCESS,))
        ended, is_open = self._why_ended(), self._session.is_open
        consumer = self._processor.consumer
        at = consumer.active_at
        return diagnose(
            ended=ended,
            draining=self._life.phase == "draining",
            unavailable=None if ended or is_open else str(self._session.unavailable()),
            queues=self._queues,
            consuming=consumer.consuming,
            missing=consumer.missing,
            awaiting=consumer.awaiting,
            paused=self._processor.admissions.reasons(),
            held=self._processor.admissions.held,
            stuck=self._processor.stuck(),
            no_thread_left=self._processor.threads.is_none_left(),
            defects=self._processor.defects(),
            held_up=self._republisher.held_up(),
            capacities=consumer.capacities,
            last_activity=None if at is None else time.monotonic() - at,
            broker=consumer.broker,
            noticed=consumer.warnings,
        )

    # Its life, on a caller's thread:

    def _run_until(self, stop_signal: StopSignal) -> None:
        self._stop_signal = stop_signal
        if not self._begin():
            return
        stop_signal.wait()
        failed = self._ended_session() if self._life.phase == "running" else None
        self.stop()
        if failed is not None:
            raise failed.failure()

    def _begin(self) -> bool:
        """Start, and return whether it runs now: not if it was stopped before."""
        self._refuse_other_process()
        return self._life.begin()

    def _start_threads(self) -> None:
        self._warn_of_long_timeouts()
        with self._processor.threads.starting():
            self._session.start()
        self._prefetch_watch.start()

    def _drain(self) -> list[str]:
        return drain(
            self._processor,
            self._loop,
            consuming=self._session,
            republishing=self._republisher.session,
            timeout=self._shutdown_timeout,
        )

    def _note_end(self) -> None:
        """Take note that a session has ended, or the worker. On any thread."""
        self._ended.set()
        if self._stop_signal is not None:
            self._stop_signal.set()

    def _why_ended(self) -> str | None:
        """Return why it does not run, None if it does or lets handlers finish."""
        phase = self._life.phase
        if phase == "stopped":
            return "stopped"
        if phase == "new" and not self._session.is_alive:  # else it begins, and a handler may ask already
            return "not started"
        return "its session has ended" if phase == "running" and self._ended_session() is not None else None

    def _ended_session(self) -> Session | None:
        """Return a session that should run, and whose thread is gone."""
        if not self._session.is_alive:
            return self._session
        return self._republisher.session if self._republisher.has_ended else None

    def _refuse_other_process(self) -> None:
        if self._session.is_of_another_process:
            raise ClosedError(f"{_OF_ANOTHER_PROCESS}: make a new one")

    def _refuse_own_threads(self, method: str) -> None:
        if (
            self._processor.threads.include_current()
            or self._loop.is_current
            or self._session.is_current  # where handlers run if there are no threads for them
        ):
            raise ConfigurationError(
                f"{method}() of worker {self._name!r} in one of its own threads, as in a handler, waits for itself: "
                f"call it in another thread; Worker.run is also ended by a signal, SIGTERM to the own process"
            )

    def _warn_of_long_timeouts(self) -> None:
        for handler in self.routes.handlers:
            limits = [limit for queue, limit in self._consumer_timeouts.items() if handler.queue in (None, queue)]
            if handler.timeout is not None and handler.timeout >= min(limits, default=math.inf):
                log.warning(
                    "handler_timeout_long handler=%s timeout=%s: RabbitMQ takes a message back after %d s by default",
                    handler.name,
                    handler.timeout,
                    min(limits),
                )

    def _declaration(self, topology: Topology, mode: DeclareMode) -> Declaration:
        exclusive = frozenset(queue.name for queue in self._queues.values() if queue.exclusive)
        return Declaration(topology, checked_mode(mode), exclusive)

    def _has_async_handler(self, queue: str) -> bool:
        """Return whether messages of a queue are handled without a thread for each."""
        return any(handler.is_async and handler.queue in (None, queue) for handler in self.routes.handlers)

    def _consumed(self, method: str, queue: QueueSpec | str) -> str:
        name = self.routes.topology.queue(queue).name
        if name not in self._queues:
            known = ", ".join(map(repr, self._queues))
            raise ConfigurationError(f"{method}: this worker does not consume queue {name!r}; it consumes {known}")
        return name

    def _dead_letter_queues(self) -> set[str]:
        return {name for queue in self._queues.values() if (name := queue.dead_letter_queue) is not None}


def heed(worker: Worker, stop_signal: StopSignal) -> None:
    """Have the end of a worker set a signal, also before it is run: `Worker.stop` in another thread."""
    worker._stop_signal = stop_signal


def run_until(worker: Worker, stop_signal: StopSignal) -> None:
    """Do what `Worker.run` does, until a signal that is the caller's. Raises what it raises."""
    worker._run_until(stop_signal)  # not the API's: a service has more to open and close around it
