"""Worker: consumes queues, has handlers run in threads, and settles every message."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from taskroute.broker.declare import DeclareMode, checked_mode, declare
from taskroute.broker.roles.consumer import Consumer
from taskroute.broker.session import Session
from taskroute.broker.url import parse_urls
from taskroute.errors import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    ShutdownTimeoutError,
    TopologyError,
)
from taskroute.graph.routes import Routes, check_parts
from taskroute.handlers.handler import Handler
from taskroute.handlers.middleware import Middleware
from taskroute.handlers.registry import HandlerRegistry
from taskroute.handling.circuit_breaker import CircuitBreaker
from taskroute.handling.dispatch import DEFAULT_MAX_BODY_SIZE, Dispatcher
from taskroute.handling.fair_queue import Lines
from taskroute.handling.health import Health, diagnose
from taskroute.handling.settle import Ack, HandOver, settle
from taskroute.instrumentation.events import Event, Paused, Resumed
from taskroute.instrumentation.hooks import Instrumentation, Listeners
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Outcome
from taskroute.quoting import shorten
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology
from taskroute.worker import notifications as telling
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.paused_queues import Pauses
from taskroute.worker.queue_options import ByQueue, read_breakers, read_concurrency, read_prefetch
from taskroute.worker.republish import HandOvers
from taskroute.worker.signals import Ending
from taskroute.worker.stats import Stats, Tally
from taskroute.worker.thread_pool import HandlerThreads, describe
from taskroute.worker.timeouts import Deadlines
from taskroute.worker.work_queue import Ready

log = logging.getLogger(__name__)

ACKNOWLEDGE_TIMEOUT: Final = 1800
"""Seconds after which RabbitMQ, as it is delivered, closes the channel of a consumer that has not acknowledged."""

MAX_TIMEOUT: Final = threading.TIMEOUT_MAX - 2
"""Seconds that Python can wait at most, less what `Worker.stop` may take longer."""

_GRACE: Final = 1.0
_DEPTH_INTERVAL: Final = 0.05
"""Seconds between questions for the depth of queues: a broker does not tell by itself."""


class Worker:
    """Consumes the queues of a topology and calls the handlers of a registry.

    One thread owns the consuming connection, another one (from the first failure on) the connection that hands
    failed messages over; handlers run in `threads` threads of their own and touch neither, ``async def`` handlers on
    an event loop in one more thread. Each message is acknowledged after its handler has returned, or after its
    hand-over to a wait or dead-letter queue has been confirmed.

    Args:
        url: ``memory://NAME``, ``amqp://user:password@host/vhost`` or several nodes of one cluster.
        topology: declared on the broker as `declare` says.
        registry: as it is now; later registrations do not count.
        queues: to consume; left out, those that a handler or fallback names.
        threads: for plain handlers; 0 runs them on the session's thread, for tiny handlers. How many ``async def``
            handlers run at once is limited by `prefetch` and `concurrency`.
        prefetch: unacknowledged messages per queue, or by queue; left out, 16 for each that can be handled at once,
            and 256 at most.
        concurrency: by queue, how many of its messages may be handled at once.
        circuit_breaker: when to pause a queue whose handlers keep failing; one for every queue, or by queue.
        heartbeat: seconds, at least 1. A silent connection is given up after two of them.
        shutdown_timeout: seconds that `stop` gives running handlers.
        declare: ``create``, ``verify`` existence only, or ``skip``.
        name: of the threads and of the connections on the broker.
        tls: for ``amqps``.
        max_body_size: bytes; longer messages are dead-lettered unread.
        middleware: around every handler, outside of the registry's own; the first one outermost.
        instrumentation: who listens; see `taskroute.instrumentation`.

    Raises:
        UnknownQueueError: a handler or an argument names a queue that the topology does not have.
        AmbiguousHandlerError: two handlers share a key, and neither is more specific.
        TopologyError: a queue to consume has no handler, is a stream, or its dead-letter queue is missing.
        ConfigurationError, BrokerUrlError: another argument.

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
        url: str | Sequence[str],
        topology: Topology,
        registry: HandlerRegistry,
        *,
        queues: Iterable[QueueSpec | str] | None = None,
        threads: int = 8,
        prefetch: int | ByQueue[int] | None = None,
        concurrency: ByQueue[int] | None = None,
        circuit_breaker: CircuitBreaker | ByQueue[CircuitBreaker] | None = None,
        heartbeat: float = 30,
        shutdown_timeout: float = 30,
        declare: DeclareMode = "create",
        name: str | None = None,
        tls: ssl.SSLContext | None = None,
        max_body_size: int = DEFAULT_MAX_BODY_SIZE,
        middleware: Iterable[Middleware] = (),
        instrumentation: Iterable[Instrumentation] = (),
    ) -> None:
        urls = parse_urls(url, tls)
        check_parts(topology, registry)
        around = HandlerRegistry(middleware=middleware)
        around.include(registry)
        self.routes: Routes = Routes(topology, around)
        self._queues = _queues_to_consume(self.routes, queues)
        self._shutdown_timeout = _seconds("shutdown_timeout", shutdown_timeout)
        self._declare = checked_mode(declare)
        self._name = name or "taskroute-worker"
        self._loop = EventLoop(f"{self._name}-loop")
        self._awaited: dict[Delivery, _Awaited] = {}  # whose async handlers run, or wait for the loop
        listeners = Listeners(instrumentation)
        self._tell = listeners.on_event  # None when nobody listens, and then nothing is made to be told
        self._dispatcher = Dispatcher(
            self.routes.resolve,
            _whole("max_body_size", max_body_size),
            self._watch,
            self._loop.submit,
            listeners.handling,
        )
        self._thread_count = _whole("threads", threads)
        limits = read_concurrency(concurrency, self._queues, topology)
        counts = read_prefetch(prefetch, self._queues, topology, self._thread_count, limits)
        # Async handlers outlive a connection, and the next one brings its messages on top of theirs.
        limits = {name: counts[name] for name in self._queues if self._is_awaited(name)} | limits
        breakers = read_breakers(circuit_breaker, self._queues, topology)
        self._gated = frozenset((*limits, *breakers))
        self._ready = Ready(Lines({queue: limits.get(queue) for queue in self._gated}))
        self._pauses = Pauses(
            breakers,
            permit=self._permit,
            consume=lambda queue: self._session.post(partial(self._consumer.adjust, queue)),
            later=lambda seconds, call: self._session.call_later(seconds, call),  # noqa: PLW0108 - made below
            tell=self._tell_of_pause,
        )
        self._tally = Tally()
        self._ended = threading.Event()
        self._ending: Ending | None = None  # while `run` waits for it
        self._state = threading.RLock()  # held to start and to stop; a signal's handler may stop what is just starting
        self._started = self._stopped = False
        self._consumer = Consumer(
            list(self._queues.values()),
            prefetch=counts,
            prepare=self._prepare,
            deliver=self._deliver if threads else self._handle_here,
            on_lost=self._on_lost,
            pausable=breakers,
            admits=self._pauses.admits,
        )
        self._session = Session(
            urls, self._consumer, name=self._name, heartbeat=heartbeat, on_end=self._note_end, tell=self._tell
        )
        self._deadlines = Deadlines(self._session.call_later, self._report_overdue)
        self._hand_overs = HandOvers(
            urls,
            name=f"{self._name}-hand-over",
            heartbeat=heartbeat,
            is_lost=lambda delivery: delivery.generation != self._session.generation,
            later=self._session.call_later,
            on_end=self._note_end,
            tell=self._tell,
        )
        self._threads = HandlerThreads(self._thread_count, self._ready, self._handle, f"{self._name}-handler")

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
            BrokerUnavailableError: not connected in time; the worker is stopped then.
            TopologyMismatchError: the broker has something else, lacks it, or does not let us declare it.
            UnsupportedFeatureError: the broker cannot do what a spec asks for.
            ClosedError: started or stopped before.
        """
        if not self._begin():
            raise ClosedError("the worker was stopped before it was started: make a new one")
        try:
            self._session.wait_open(timeout)
        except BaseException:
            with suppress(ShutdownTimeoutError):  # it follows from what is wrong, which says more
                self.stop()
            raise

    def stop(self) -> None:
        """Stop consuming, let running handlers finish, acknowledge, and disconnect.

        Messages that were delivered and not begun go back to their queues. Takes at most `shutdown_timeout`
        plus 2 seconds. Before a `start` or `run` it counts: that one does not begin any more. Does nothing in a fork
        of the process that made the worker.

        Raises:
            ConfigurationError: called in a handler, or elsewhere in one of the worker's own threads.
            ShutdownTimeoutError: a handler or the broker did not come to an end; names it. The messages return
                to their queues.
        """
        if self._session.is_of_another_process:
            return
        self._refuse_own_threads("stop")
        with self._state:
            if self._stopped:
                return
            self._stopped = True
            if not self._started:
                return
        deadline = time.monotonic() + self._shutdown_timeout
        self._session.post(self._consumer.cancel)
        self._ready.close()
        finished = self._ready.wait_idle(self._shutdown_timeout)
        hung = [] if finished else list(self._describe_running())
        self._loop.stop()
        self._hand_overs.session.stop()
        self._session.stop()
        hung += [name for session, name in self._sessions() if not _end(session, deadline)]
        self._threads.end(deadline)
        self._loop.join(deadline - time.monotonic())
        self._note_end()
        if hung or not finished:
            what = "; ".join(hung) or f"{self._ready.open_count} messages on their way to another queue"
            raise ShutdownTimeoutError(
                f"not finished within {self._shutdown_timeout} s: {what}; the messages return to their queues"
            )

    def run(self) -> None:
        """Start, block until SIGTERM, SIGINT or `stop`, and stop; keeps trying while the broker is away.

        In the main thread the first signal drains and a second one ends the process at once. In another thread
        no signals are touched; call `stop` from elsewhere. If that came before, it returns at once.

        Raises:
            TopologyMismatchError, UnsupportedFeatureError: as `start`.
            ShutdownTimeoutError: as `stop`.
            BrokerUnavailableError: the session ended by itself, which is a defect.
            ClosedError: started before.
        """
        with closing(Ending()) as self._ending, self._ending.told_by_signals():
            if not self._begin():
                return
            self._ending.wait()
            failed = None if self._stopped else self._ended_session()
            self.stop()
            if failed is not None:
                raise failed.failure()

    def wait_idle(self, timeout: float) -> bool:
        """Wait until nothing is ready, waiting for a retry, or in flight in the queues of this worker.

        Args:
            timeout: seconds.

        Returns:
            Whether that came to pass in time.

        Raises:
            ConfigurationError: as `stop`.
        """
        self._refuse_own_threads("wait_idle")
        deadline = time.monotonic() + timeout
        names = [name for queue in self._queues.values() for name in _with_wait_queues(queue)]
        while (remaining := deadline - time.monotonic()) > 0:
            idle = self._ready.wait_idle(remaining) and not self._hand_overs.are_waiting
            if idle and self._count_ready(names, remaining) == 0:
                if self._ready.open_count == 0 and not self._hand_overs.are_waiting:
                    return True
                continue
            self._ended.wait(min(_DEPTH_INTERVAL, max(0.0, deadline - time.monotonic())))
        return False

    @property
    def queues(self) -> tuple[QueueSpec, ...]:
        """The queues that it consumes."""
        return tuple(self._queues.values())

    def stats(self) -> Stats:
        """Counts of what became of the messages so far."""
        generation = self._session.generation
        return replace(self._tally.stats(), connections=generation, missed_consumers=self._consumer.missed)

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
            {'jobs.dead': 0}
        """
        if (ended := self._why_ended()) is not None:
            raise ClosedError(f"the worker cannot ask the broker for depths: {ended}")
        asked = self._dead_letter_queues() if queues is None else queues
        names = [self.routes.topology.queue(str(queue)).name for queue in asked]
        answer: Future[dict[str, int]] = Future()
        self._session.post(partial(self._consumer.count_each, names, answer))
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            raise BrokerUnavailableError(f"the broker has not told depths within {timeout} s") from None
        except Exception as error:
            raise BrokerUnavailableError(f"the broker cannot be asked for depths: {type(error).__name__}") from error

    def health(self) -> Health:
        """Whether the worker lives and does its work, and why not.

        Cheap enough for a probe: it waits for no lock and asks nothing of the broker.
        """
        ended, is_open = self._why_ended(), self._session.is_open
        at = self._consumer.active_at
        return diagnose(
            ended=ended,
            unavailable=None if ended or is_open else str(self._session.unavailable()),
            queues=self._queues,
            consuming=self._consumer.consuming,
            paused=self._pauses.reasons(),
            stuck=list(self._describe_stuck()),
            no_thread_left=self._threads.are_all_stuck(),
            last_activity=None if at is None else time.monotonic() - at,
        )

    def _describe_stuck(self) -> Iterator[str]:
        yield from self._threads.stuck()
        for delivery, awaited in self._awaited.copy().items():
            if awaited.is_overdue:
                yield f"{self._loop.name} is handling {describe(delivery)}"

    def _why_ended(self) -> str | None:
        if self._stopped:
            return "stopped"
        if not self._started:
            return "not started"
        return None if self._ended_session() is None else "its session has ended"

    def _ended_session(self) -> Session | None:
        """One that should run, and whose thread is gone."""
        if not self._session.is_alive:
            return self._session
        return self._hand_overs.session if self._hand_overs.have_ended else None

    # On the consuming session's thread:

    def _prepare(self, channel: Any) -> None:
        exclusive = [queue.name for queue in self._queues.values() if queue.exclusive]
        declare(channel, self.routes.topology, self._declare, exclusive=exclusive)

    def _deliver(self, deliveries: Sequence[Delivery]) -> None:
        if self._tell is not None:  # before a handler's thread can have anything to tell of them
            for delivery in deliveries:
                self._tell(telling.received(delivery))
        self._ready.put(deliveries)
        for delivery in deliveries:
            if delivery.is_retry:
                self._hand_overs.returned(delivery)

    def _handle_here(self, deliveries: Sequence[Delivery]) -> None:
        self._deliver(deliveries)
        self._handle_waiting()

    def _handle_waiting(self) -> None:
        while (delivery := self._ready.take_now()) is not None:
            self._handle(delivery)

    def _on_lost(self) -> None:
        self._ready.forget_waiting()
        now = time.monotonic()
        running = dict(self._threads.current())
        running |= {delivery: awaited.since for delivery, awaited in self._awaited.copy().items()}
        for delivery, since in running.items():
            log.warning(
                "delivery_lost queue=%s key=%s message_id=%s elapsed=%.1f",
                delivery.queue,
                shorten(delivery.routing_key),
                shorten(str(delivery.message_id)),
                now - since,
            )

    def _report_overdue(self, delivery: Delivery, handler: Handler) -> None:
        awaited = self._awaited.get(delivery)
        if awaited is not None:
            awaited.is_overdue = True
        elif not self._threads.give_up(delivery):
            return
        self._pauses.give_up(delivery)
        self._tally.happened(delivery.queue, "overdue")
        if self._tell is not None:
            self._tell(telling.overdue(delivery, handler.name, handler.timeout or 0))
        log.warning(
            "handler_overdue queue=%s key=%s message_id=%s handler=%s timeout=%s",
            delivery.queue,
            shorten(delivery.routing_key),
            shorten(str(delivery.message_id)),
            handler.name,
            handler.timeout,
        )

    # On a handler's thread:

    def _watch(self, delivery: Delivery, handler: Handler, timeout: float) -> None:
        seconds = timeout + _GRACE if handler.is_async else timeout  # one that is cancelled and does not end, or blocks
        self._deadlines.begin(delivery, handler, seconds)

    def _handle(self, delivery: Delivery) -> None:
        """Raises nothing: who calls it has other messages to handle."""
        try:
            began = 0.0 if self._tell is None else time.monotonic()
            if self._gated and delivery.queue in self._gated:
                self._pauses.begin(delivery)
            outcome = self._dispatcher.dispatch(delivery)
            if isinstance(outcome, Handled | Failed):
                self._conclude(delivery, outcome, began)
            else:
                self._awaited[delivery] = _Awaited(time.monotonic())
                self._loop.run(self._await(delivery, outcome, began))
        except Exception:
            # A defect of ours. The message stays unacknowledged and open: neither lost nor overlooked.
            log.exception("settling_failed queue=%s", delivery.queue)

    # On the event loop's thread:

    async def _await(self, delivery: Delivery, outcome: Coroutine[Any, Any, Outcome], began: float) -> None:
        try:
            self._conclude(delivery, await outcome, began)
        except Exception:
            log.exception("settling_failed queue=%s", delivery.queue)
        finally:
            del self._awaited[delivery]

    # On a handler's thread or the event loop's:

    def _conclude(self, delivery: Delivery, outcome: Outcome, began: float) -> None:
        self._deadlines.end(delivery)
        if self._loop.is_stopping and isinstance(outcome, Failed):
            return  # past the deadline of `stop`, which may be why it has failed: the message returns to its queue
        if self._gated and delivery.queue in self._gated:
            self._pauses.end(delivery, outcome)  # first: the next one may not be wanted any more
            self._ready.release(delivery.queue)
            self._call_handlers()
        if isinstance(outcome, Handled):
            self._tally.handled(delivery.queue, outcome.handler)
            if self._tell is not None:
                self._tell(telling.handled(delivery, outcome.handler, time.monotonic() - began))
            self._acknowledge(delivery)
            return
        action = settle(delivery, outcome, self._queues[delivery.queue], datetime.now(UTC))
        _log_failure(delivery, outcome, action)
        event = telling.failed(delivery, outcome, action, time.monotonic() - began)
        if isinstance(action, HandOver):
            self._hand_overs.hand_over(
                delivery,
                action,
                confirmed=partial(self._handed_over, delivery, action, event),
                lost=self._ready.done,  # it is handled again
            )
            return
        self._tally.happened(delivery.queue, "dropped")
        if self._tell is not None:
            self._tell(event)
        self._acknowledge(delivery)

    def _permit(self, queue: str, count: int | None) -> None:
        self._ready.permit(queue, count)
        self._call_handlers()

    def _call_handlers(self) -> None:
        if not self._thread_count:  # threads are called by `Ready`
            self._session.post(self._handle_waiting)

    def _tell_of_pause(self, event: Paused | Resumed) -> None:
        if isinstance(event, Paused):
            self._tally.happened(event.queue, "paused")
        if self._tell is not None:
            self._tell(event)

    # On the thread of the hand-overs' session:

    def _handed_over(self, delivery: Delivery, action: HandOver, event: Event) -> None:
        self._tally.happened(delivery.queue, action.kind)
        if self._tell is not None:
            self._tell(event)
        self._acknowledge(delivery)

    # On any of these:

    def _acknowledge(self, delivery: Delivery) -> None:
        self._consumer.settle(delivery)
        self._session.wake()
        self._ready.done()

    def _note_end(self) -> None:
        self._ended.set()
        if self._ending is not None:
            self._ending.tell()

    # On a caller's thread:

    def _begin(self) -> bool:
        """Whether it runs now: not if it was stopped before."""
        if self._session.is_of_another_process:
            raise ClosedError("this worker belongs to the process that this one was forked from: make a new one")
        with self._state:
            if self._started:
                raise ClosedError("a worker is started once: make a new one")
            self._started = True
            if self._stopped:
                return False
            self._warn_of_long_timeouts()
            self._threads.start()
            self._session.start()
            return True

    def _refuse_own_threads(self, method: str) -> None:
        if (
            self._threads.include_current()
            or self._loop.is_current
            or self._session.is_current  # where handlers run if there are no threads for them
        ):
            raise ConfigurationError(
                f"{method}() of worker {self._name!r} in one of its own threads, as in a handler, waits for itself: "
                f"call it in another thread; Worker.run is also ended by a signal, SIGTERM to the own process"
            )

    def _warn_of_long_timeouts(self) -> None:
        for handler in self.routes.handlers:
            if handler.timeout is not None and handler.timeout >= ACKNOWLEDGE_TIMEOUT:
                log.warning(
                    "handler_timeout_long handler=%s timeout=%s: RabbitMQ takes a message back after %d s by default",
                    handler.name,
                    handler.timeout,
                    ACKNOWLEDGE_TIMEOUT,
                )

    def _count_ready(self, names: Sequence[str], timeout: float) -> int | None:
        answer: Future[int] = Future()
        self._session.post(partial(self._consumer.count_ready, names, answer))
        try:
            return answer.result(timeout)
        except (FutureTimeoutError, OSError):
            return None
        except Exception as error:  # noqa: BLE001 - the session sees it as well, and reconnects
            log.debug("count_failed error=%s", type(error).__name__)
            return None

    def _describe_running(self) -> Iterator[str]:
        yield from self._threads.describe_current()
        yield from (f"{self._loop.name} is handling {describe(delivery)}" for delivery in self._awaited.copy())

    def _is_awaited(self, queue: str) -> bool:
        """Whether messages of a queue are handled without a thread for each."""
        return any(handler.is_async and handler.queue in (None, queue) for handler in self.routes.handlers)

    def _dead_letter_queues(self) -> set[str]:
        return {name for queue in self._queues.values() if (name := queue.dead_letter_queue) is not None}

    def _sessions(self) -> Iterator[tuple[Session, str]]:
        yield self._session, "the consuming connection does not close"
        yield self._hand_overs.session, "the hand-over connection does not close"


@dataclass(slots=True)
class _Awaited:
    """An async handler that runs: since when, and whether it has not ended when it was cancelled."""

    since: float
    is_overdue: bool = False


def _end(session: Session, deadline: float) -> bool:
    """Wait for a session, past the deadline without mercy; whether it closed in good order."""
    if session.join(deadline - time.monotonic() + _GRACE / 2):
        return True
    session.sever()
    session.join(_GRACE / 2)
    return False


def _with_wait_queues(queue: QueueSpec) -> Iterator[str]:
    yield queue.name
    policy = queue.retry_policy
    for delay in policy.delays if policy else ():
        yield queue.wait_queue(delay)


def _queues_to_consume(routes: Routes, queues: Iterable[QueueSpec | str] | None) -> dict[str, QueueSpec]:
    topology = routes.topology
    names = routes.handled_queues if queues is None else tuple(dict.fromkeys(str(queue) for queue in queues))
    if not names:
        raise TopologyError("no queue to consume: name a queue in a handler, or pass queues=")
    handled = {handler.queue for handler in routes.handlers}
    for name in names:
        queue = topology.queue(name)
        if not handled & {None, name}:
            raise TopologyError(f"queue {name!r} has no handler: every message of it would be a dead letter; add one")
        if queue.queue_type == "stream":
            raise TopologyError(f"queue {name!r} is a stream, which a worker does not consume yet")
        target = queue.dead_letter_queue
        if target is not None and target not in {known.name for known in topology.all_queues}:
            raise TopologyError(f"queue {name!r}: dead_letter: the topology has no queue {target!r}; add its spec")
    return {name: topology.queue(name) for name in names}


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigurationError(f"{name}={value!r} has to be a whole number, 0 or more")
    return value


def _seconds(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIMEOUT:
        raise ConfigurationError(f"{name}={value!r} has to be a number of seconds between 0 and {MAX_TIMEOUT:.0f}")
    return value


def _log_failure(delivery: Delivery, failed: Failed, action: Ack | HandOver) -> None:
    log.warning(
        "message_failed queue=%s key=%s message_id=%s attempt=%d reason=%s error=%s to=%s",
        delivery.queue,
        shorten(delivery.routing_key),
        shorten(str(delivery.message_id)),
        delivery.attempt,
        action.reason if isinstance(action, HandOver) else failed.reason,
        failed.error,
        action.queue if isinstance(action, HandOver) else "nowhere",
    )
