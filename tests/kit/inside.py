"""The one module of the tests that reads private attributes of the library.

Each name says what a test asks or does, and not where the library keeps it: a rename there breaks this file alone.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from unittest.mock import patch

from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import Publisher, Worker
from taskroute.broker.connector import Connector
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.link import CurrentLink, Link
from taskroute.broker.mailbox import Mailbox
from taskroute.broker.rabbitmq_channel import RabbitMQChannel
from taskroute.broker.roles.confirms import Confirms
from taskroute.broker.roles.submission import Submission
from taskroute.broker.session import Session
from taskroute.keys.matcher import Matcher
from taskroute.publisher import publisher as publishers
from taskroute.worker import idle
from taskroute.worker.pending_retries import PendingRetries
from taskroute.worker.processor import Processor

if TYPE_CHECKING:
    from taskroute.instrumentation.opentelemetry import OpenTelemetryInstrumentation

T = TypeVar("T")

Answer = Callable[[str, int], object]
"""Takes the broker's answer to a question: a queue, and how many consumers it has."""


def channels_of(confirms: Confirms) -> list[Any]:
    """Return the channels that are open to publish, those that are being left first."""
    return [each.channel for each in confirms._channels()]


class _Inside:
    """A session, and what its thread can be made to do."""

    def __init__(self, session: Session) -> None:
        self.session: Final = session

    def post(self, call: Callable[[], object]) -> None:
        """Have something run on the session's thread."""
        self.session.post(call)

    def run_on_session(self, call: Callable[[], object] = lambda: None) -> None:
        """Have something run on the session's thread, after all that was posted before, and wait until it has."""
        done = threading.Event()

        def run() -> None:
            try:
                call()
            finally:
                done.set()

        self.post(run)
        assert done.wait(DEADLINE)

    def hold(self, until: threading.Event) -> None:
        """Have the session's thread do nothing more until an event; return once it waits for that."""
        is_held = threading.Event()

        def wait() -> None:
            is_held.set()
            until.wait(DEADLINE)

        self.post(wait)
        assert is_held.wait(DEADLINE)

    def fail_on_session(self, error: BaseException) -> None:
        """Have the session's thread raise an error: it loses its connection, and ends if the error is an exit."""

        def fail() -> None:
            raise error

        self.post(fail)

    def call_later(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something run on the session's thread after a while."""
        self.session._mailbox.call_later(seconds, call)


class InsideWorker(_Inside):
    """The inside of a worker; its session is the one that consumes."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker._session)
        self._worker = worker
        self._processor = worker._processor
        self._consumer = worker._processor.consumer

    @property
    def open_count(self) -> int:
        """Deliveries in the process that are neither settled nor given back."""
        return self._processor.work.open_count

    @property
    def is_stopping(self) -> bool:
        """Whether it takes no more deliveries."""
        return self._processor.work._closed

    @property
    def is_handling(self) -> bool:
        """Whether a handler thread is at work."""
        return any(self._processor.threads.current())

    @property
    def timer_count(self) -> int:
        """Calls that its session has been asked to make later."""
        return len(self.session._mailbox._timers)

    @property
    def posted_count(self) -> int:
        """Calls that wait for its session's thread."""
        return len(self.session._mailbox._calls)

    @property
    def moves_at(self) -> float | None:
        """When its session is to look whether it can go back to its first node, None for never."""
        return self.session._moving.next_deadline()

    @property
    def republish_generation(self) -> int:
        """How many connections the republishing session has had."""
        return self._worker._republisher.session.generation

    def unsettled(self, queue: str) -> int:
        """Return how many deliveries of a queue are unsettled, once what was settled is told."""
        self.run_on_session()
        unsettled: int = self._consuming.queues.by_name[queue].unsettled
        return unsettled

    def waiting(self, queue: str) -> int:
        """Return how many deliveries of a queue no handler has begun."""
        line = self._processor.work.line(queue)
        return line.length if line else 0

    def ask(self, question: Callable[[], T]) -> T:
        """Have the session's thread answer a question."""
        return self.session.ask(question, DEADLINE)

    def count_ready(self, queue: str) -> int:
        """Ask the broker how many messages a queue has ready, as `Worker.wait_idle` does."""
        return self.ask(partial(self._consumer.count_ready, [queue]))

    @contextmanager
    def counting(self, count: Callable[[], int]) -> Iterator[None]:
        """Have something else answer `Worker.wait_idle` how many messages its queues have ready."""
        with patch.object(self._consumer, "count_ready", lambda _: count()):
            yield

    @property
    def _consuming(self) -> Any:
        """What the consumer consumes on its connection."""
        return self._consumer._consuming

    def acknowledge(self, tag: int) -> None:
        """Acknowledge a delivery tag on the worker's channel, known there or not."""
        self.post(lambda: next(iter(self._consuming.channels.by_number.values())).channel.basic_ack(tag))

    def cancel_unnoticed(self, queue: str) -> None:
        """Cancel the consumer of a queue while the worker goes on believing that it consumes."""
        channel = self._consuming.channels.by_queue[queue].channel
        self.run_on_session(lambda: channel.basic_cancel(self._consuming.queues.by_name[queue].tag))

    def lose_deliveries(self, queue: str) -> Calls:
        """Have what comes by the consumer of a queue be lost on its way, and return it: the broker has delivered it."""
        lost = Calls()
        channel = self._consuming.channels.by_queue[queue].channel
        self.run_on_session(lambda: channel.callbacks.update({self._consuming.queues.by_name[queue].tag: lost}))
        return lost

    def probe(self) -> None:
        """Look for consumers that the broker has forgotten, as it is done once in a heartbeat interval."""
        self.run_on_session(self._consumer.probe)

    def open_channel(self) -> None:
        """Take another channel of the consuming connection, for as long as that lives."""
        self.run_on_session(self._consuming.connection.channel)

    def probe_for(self, queue: str) -> None:
        """Ask for the consumers of a queue that may not be there."""
        self.run_on_session(lambda: self._consuming.probe.channel.ask_consumers(queue, lambda *_: None))

    def probe_unanswered(self) -> list[tuple[str, Answer]]:
        """Do the same without the broker's answers: return each queue asked about, and what takes the answer."""
        asked: list[tuple[str, Answer]] = []

        def probe() -> None:
            with patch.object(self._consuming.probe.channel, "ask_consumers", lambda *question: asked.append(question)):
                self._consumer.probe()

        self.run_on_session(probe)
        return asked

    def end_pause(self, queue: str) -> None:
        """End the pause that a circuit breaker has made, as its timer does."""
        self.run_on_session(lambda: self._processor.admissions.let_one_through(queue))

    def run_on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have a coroutine run on the loop of its async handlers."""
        return self._worker._loop.submit(coroutine)

    def wait_loop_ended(self) -> None:
        """Wait until the thread of its loop has ended."""
        assert self._worker._loop.join(DEADLINE)

    def fail_republishing(self, error: BaseException) -> None:
        """Have the thread of the republishing session raise an error."""
        _Inside(self._worker._republisher.session).fail_on_session(error)

    def left_behind(self) -> dict[str, int]:
        """Return how much of each kind is kept, once everything is settled; where that is nothing, it is left out."""
        self.run_on_session()
        processor = self._processor
        kept = {
            "open": processor.work.open_count,
            "abandoned": len(processor.work.abandoned),
            "in hand": sum(len(line.gate.taken) for line in processor.work._waiting._lines.values() if line.gate),
            "timeouts": len(processor._timeouts._running),
            "async handlers": len(processor.async_handlers._running),
            "coroutines": len(self._worker._loop._tasks) + len(self._worker._loop._posted),
            "trials": sum(len(circuit._running) for circuit in processor.admissions._circuits.values()),
            "unsettled": sum(queue.unsettled for queue in self._consuming.queues),
            "retries": pending_count(self._worker._republisher._retries),
            "republished": self._worker._republisher._confirms.has_work(),
        }
        return {name: count for name, count in kept.items() if count}

    def note_end(self) -> None:
        """Do as one of its sessions does when it has ended."""
        self._worker._note_end()

    @contextmanager
    def locks_held(self) -> Iterator[None]:
        """Hold locks of its parts, as another thread may at any moment."""
        work, stats, mailbox = self._processor.work, self._worker._stats, self.session._mailbox
        with work._lock, stats._lock, mailbox._lock, self.session._current._changed:
            yield

    @contextmanager
    def noting_deliveries(self) -> Iterator[list[str]]:
        """Note in which order deliveries are lined up for handlers, and counted as retries that are back."""
        notes: list[str] = []
        work, republisher = self._processor.work, self._worker._republisher
        put, on_returned = work.put, republisher.on_returned

        def note(what: str, call: Callable[[Any], Any], given: Any) -> Any:
            notes.append(what)
            return call(given)

        with (
            patch.object(work, "put", partial(note, "lined up", put)),
            patch.object(republisher, "on_returned", partial(note, "returned", on_returned)),
        ):
            yield notes

    def count_to_republish(self) -> int:
        """Return how many failed messages wait for the republishing session."""
        confirms = self._worker._republisher._confirms
        return len(confirms._inbox) + len(confirms._waiting)

    @contextmanager
    def republishing_held(self) -> Iterator[None]:
        """Keep what is to be republished from its session until the block ends."""
        confirms, held = self._worker._republisher._confirms, list[Submission]()
        submit, has_ended, lock = confirms.submit, threading.Event(), threading.Lock()

        def hold(submission: Submission) -> None:
            with lock:  # a handler's thread may have begun this call before the end
                (submit if has_ended.is_set() else held.append)(submission)

        with patch.object(confirms, "submit", hold):
            yield
        with lock:
            has_ended.set()
        for submission in held:
            submit(submission)
        self._worker._republisher.session.wake()


class InsidePublisher(_Inside):
    """The inside of a publisher."""

    def __init__(self, publisher: Publisher) -> None:
        super().__init__(publisher._session)
        self._publisher = publisher
        self._window = publisher._window

    @property
    def generation(self) -> int:
        """How many connections it has had."""
        return self.session.generation

    @property
    def awaiting_room(self) -> int:
        """How many coroutines it keeps in mind that wait for room."""
        return len(self._window._awaiting_room)

    def left_behind(self) -> int:
        """Return how many messages it keeps in mind, once each has its outcome."""
        return len(self._window._open)

    def block(self) -> None:
        """Do as if the broker had sent connection.blocked."""
        self.session._on_blocked("a test")

    def unblock(self) -> None:
        """Do as if the broker had sent connection.unblocked."""
        self.session._on_unblocked()
        self.session.wake()

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more messages."""
        return self._window.is_closed

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Have another thread hold the lock that its callers wait for."""
        is_held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with self._window._changed:
                is_held.set()
                release.wait(DEADLINE)

        holding = in_thread(hold)
        assert is_held.wait(DEADLINE)
        try:
            yield
        finally:
            release.set()
            holding.result(DEADLINE)

    @contextmanager
    def handing_in(self, hand_in: Callable[[Callable[[Submission], None], Submission], None]) -> Iterator[None]:
        """Have a function called with what leaves a message for the session, and with each message."""
        confirms = self._publisher._confirms
        with patch.object(confirms, "submit", partial(hand_in, confirms.submit)):
            yield

    def wait_ended(self) -> None:
        """Wait until its session's thread has ended."""
        assert self.session.join(DEADLINE)


def is_waiting(session: Session) -> bool:
    """Whether a session's thread waits, so that it must be woken."""
    return session._mailbox._is_waiting


def close_descriptors(session: Session) -> None:
    """Give back the descriptors of a session whose thread was kept from it."""
    session._mailbox.release()
    if session._link.connection is not None:
        session._link.connection.collect()


SESSIONS_THREAD: Final = frozenset(
    function.__code__
    for function in (
        Session._run,
        Session._keep_open,
        Session._open,
        Session._serve,
        Session._work,
        Session._wait,
        Session._pause,
        Session._has_proved,
        Session._lose,
        Session._discard,
        Session._tell_lost,
        Session._answer,
        Session._read_all,
        Session._finish,
        Session._end_link,
        Session._make_last_calls,
        Session._close,
        Connector.connect,
        Connector._on_created,
        Mailbox.begin_wait,
        Mailbox.end_wait,
        Mailbox.make_calls,
        Mailbox.next_due,
        Mailbox._take,
        Mailbox.close,
        Mailbox.release,
    )
)
"""The code of a session's thread, up to what a role and a connection do."""


THREADS_FIRST_CALL: Final = Session._run.__code__


@contextmanager
def callers_waiting_longer(seconds: float) -> Iterator[None]:
    """Have callers of a publisher give a thread that is to report a deadline so many seconds."""
    with patch.object(publishers, "_GRACE", seconds):
        yield


@contextmanager
def asking_what_is_left_longer(seconds: float) -> Iterator[None]:
    """Give a worker that has not become idle so many seconds to say what is left."""
    with patch.object(idle, "_LAST_QUESTION", seconds):
        yield


@contextmanager
def counting_from(step: str) -> Iterator[None]:
    """Have the time of callers that wait for a connection begin once it is waited for what a pattern says."""
    wait = CurrentLink.wait

    def wait_then(current: CurrentLink, timeout: float | None, is_gone: Callable[[], bool]) -> Link:
        until(lambda: re.search(step, current.link.problem(0)))
        return wait(current, timeout, is_gone)

    with patch.object(CurrentLink, "wait", wait_then):
        yield


class Method(NamedTuple):
    """A method that a test replaces on its class."""

    owner: type
    name: str


ACKNOWLEDGE: Final = Method(RabbitMQChannel, RabbitMQChannel.acknowledge.__name__)
"""Acknowledgements are written."""

DELIVER: Final = Method(Processor, Processor.on_deliveries.__name__)
"""Deliveries are given to the worker."""

REPUBLISHED: Final = Method(Processor, Processor.on_republished.__name__)
"""The broker has confirmed what was republished; its arguments are a processor and a failure."""


def pending_count(retries: PendingRetries) -> int:
    """Return how many retries are remembered."""
    return sum(map(len, retries._until.values()))


def set_when_waiting(broker: Broker, begun: threading.Event) -> None:
    """Have an event set when a thread begins to wait for a change in an embedded broker."""

    class Condition(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            begun.set()
            return super().wait(timeout)

    broker._changed = Condition(broker._lock)


def trie_of(matcher: Matcher[Any]) -> object:
    """Return the trie of a matcher as plain data."""

    def plain(node: Any) -> object:
        wild = [None if child is None else plain(child) for child in (node.one_word, node.any_words)]
        return set(node.values), {word: plain(child) for word, child in node.literals.items()}, wild

    return plain(matcher._root)


def open_spans(instrumentation: OpenTelemetryInstrumentation) -> int:
    """Return how many messages it keeps spans of that have not ended."""
    return len(instrumentation._publishing._spans)


def spans_locked(instrumentation: OpenTelemetryInstrumentation) -> AbstractContextManager[object]:
    """Hold the lock of the spans that have not ended, as a thread may."""
    return instrumentation._publishing._lock
