"""Publisher: messages out, each one routed and confirmed or an error that says what became of it."""

from __future__ import annotations

import asyncio
import atexit
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from copy import copy
from types import TracebackType
from typing import Any, Final, NoReturn, Self, Unpack, overload

from taskroute.broker.declare import Declaration, DeclareMode, checked_mode
from taskroute.broker.link import describe_error
from taskroute.broker.roles.confirms import Confirms, not_confirmed
from taskroute.broker.roles.submission import Receipt, Submission
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    PublishError,
    TaskrouteError,
)
from taskroute.exported import exported_by
from taskroute.handlers.asked import part_of_worker
from taskroute.instrumentation.hooks import Instrumentation, Listeners
from taskroute.publisher.options import EventOptions, PublishOptions
from taskroute.publisher.submissions import DEFAULT_MAX_BODY_SIZE, Submissions
from taskroute.publisher.unconfirmed import Unconfirmed, unconfirmed
from taskroute.publisher.window import Window
from taskroute.quoting import kind_with_article
from taskroute.raised import Disclosure
from taskroute.suggestion import suggests_options
from taskroute.topology.digest import topology_digest
from taskroute.topology.event_spec import Event
from taskroute.topology.topology import Topology

_PAIR: Final = 2
_TAKES_MANY: Final = "publish_many takes events and tuples of two, (body, routing key)"

_GRACE: Final = 1.0
"""Seconds that a waiting caller gives the thread of an open connection to report a deadline."""


@exported_by("taskroute")
@part_of_worker
@suggests_options()
class Publisher:
    """Publishes from any thread over one connection of its own.

    A message is confirmed by itself; many may be on their way at once. What is unconfirmed when the connection
    breaks is sent again, with the same `message_id`, until its deadline.

    Args:
        url: ``memory://NAME``, ``amqp://user:password@host/vhost``, several nodes of one cluster, or a function that
            returns one of these: asked before each attempt to connect, on the session's thread.
        topology: the exchanges that can be published to; declared on the broker as `declare` says.
        max_in_flight: messages that are not confirmed yet, at most.
        timeout: seconds from the call until a message is given up.
        declare: ``create``; ``verify`` that it is there, and as declared; or ``skip``.
        name: of the thread and of the connection on the broker.
        tls: for ``amqps``.
        heartbeat: seconds.
        max_body_size: bytes.
        instrumentation: what hears of events; see `taskroute.instrumentation`.

    Raises:
        BrokerUrlError: the URL.
        ConfigurationError: another argument.

    Example:
        >>> from taskroute import Publisher, QueueSpec, Topology
        >>> topology = Topology(queues=[QueueSpec(name="jobs", retry=False, dead_letter=False)])
        >>> with Publisher("memory://example", topology) as publisher:
        ...     publisher.publish({"id": 1}, "jobs", exchange="").routing_key
        'jobs'
    """

    def __init__(
        self,
        url: str | Sequence[str] | Callable[[], str | Sequence[str]],
        topology: Topology,
        *,
        max_in_flight: int = 1000,
        timeout: float = 30,
        declare: DeclareMode = "create",
        name: str | None = None,
        tls: ssl.SSLContext | None = None,
        heartbeat: float = 30,
        max_body_size: int = DEFAULT_MAX_BODY_SIZE,
        instrumentation: Iterable[Instrumentation] = (),
    ) -> None:
        if max_in_flight < 1:
            raise ConfigurationError(f"max_in_flight={max_in_flight} must be at least 1")
        if not isinstance(topology, Topology):
            raise ConfigurationError(f"topology must be a Topology, and is {kind_with_article(topology)}")
        self._timeout = timeout
        self._max_in_flight = max_in_flight
        self._name = name or "taskroute-publisher"
        nodes = Nodes(url, tls)
        disclosure = Disclosure(passwords=nodes.passwords)
        listeners = Listeners(instrumentation, disclosure)
        self._submissions = Submissions(topology, listeners, timeout=timeout, max_body_size=max_body_size)
        self._window = Window(max_in_flight)
        self._starting = threading.Lock()  # of the one who starts the session; nobody waits for it
        self._confirms = Confirms(
            unavailable=self._unavailable, declaration=Declaration(topology, checked_mode(declare))
        )
        self._session = Session(
            nodes,
            self._confirms,
            name=self._name,
            heartbeat=heartbeat,
            topology_digest=topology_digest(topology),
            emit=listeners.on_event,
            disclosure=disclosure,
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError("a publisher cannot be sent to another process: make it there, of the same topology")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, timeout: float | None = None) -> None:
        """Connect and declare. Publishing starts by itself; starting first shows a mistake early.

        Raises:
            BrokerUnavailableError: not connected within `timeout` seconds (left out: the publisher's), or no node lets
                this user in. The publisher is closed then.
            UnsupportedFeatureError: the broker cannot do what a spec asks for. The publisher is closed then, too.
            ConfigurationError: as `close`.
        """
        self._check_process()
        self._refuse_own_thread("start")
        if self._window.is_closed:
            raise _closed()
        try:
            self._ensure_started()
            limit = self._timeout if timeout is None else timeout
            self._session.wait_open(min(limit, threading.TIMEOUT_MAX))
        except BaseException:
            with suppress(PublishError):  # names what was submitted meanwhile; why it failed counts for more
                self.close(0)
            raise

    def close(self, timeout: float | None = None) -> None:
        """Wait until what was submitted is confirmed, `timeout` seconds at most, and disconnect.

        Every future has its outcome then. Called by itself when the interpreter exits, which has a line in the log
        instead of an error; does nothing in a fork of the process that made it. Safe in a signal handler.

        Raises:
            PublishTimeoutError: names the messages whose outcome is unknown, and those that were never written.
            BrokerUnavailableError: names the messages that were not published: each of them was never written.
            ConfigurationError: called in a callback of a future or instrumentation, on the thread that it waits for.
        """
        if left := self._close(timeout):
            raise left.error

    def _close(self, timeout: float | None = None) -> Unconfirmed | None:
        if self._session.is_of_another_process:
            return None
        self._refuse_own_thread("close")
        submissions = self._window.close()
        self._window.wait_empty(self._timeout if timeout is None else timeout)
        self._session.stop()
        if not self._session.join(_GRACE):
            self._session.sever()
            self._session.join(_GRACE)
        for submission in self._window.unsettled():  # the session's thread is late: it may hang in connecting
            submission.resolve(_not_written(submission) if submission.take_back() else not_confirmed(submission))
        atexit.unregister(self._close_at_exit)
        return unconfirmed(submissions)

    def _close_at_exit(self) -> None:
        if left := self._close():
            left.tell_at_exit(self._name)

    @overload
    def publish(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Receipt: ...

    @overload
    def publish(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Receipt: ...

    def publish(self, body: object, routing_key: str | None = None, **options: Any) -> Receipt:
        """Publish one message and wait until the broker has routed and confirmed it.

        Takes the arguments and raises the errors of `submit`, those of the future at once, and ConfigurationError as
        `close` does.

        Example:
            >>> from taskroute import EventSpec, QueueSpec, Topology
            >>> created = EventSpec(pattern="jobs", exchange="", body=dict)
            >>> topology = Topology(queues=[QueueSpec(name="jobs")])
            >>> with Publisher("memory://publish", topology) as publisher:
            ...     publisher.publish({"id": 1}, "jobs", exchange="").routing_key
            ...     publisher.publish(created({"id": 2})).routing_key
            'jobs'
            'jobs'
        """
        self._refuse_own_thread("publish")
        return self._result(self._submit(body, routing_key, options))

    @overload
    def submit(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Future[Receipt]: ...

    @overload
    def submit(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Future[Receipt]: ...

    def submit(self, body: object, routing_key: str | None = None, **options: Any) -> Future[Receipt]:
        """Hand a message in and return at once; the future has its receipt or its error.

        Blocks, `timeout` seconds at most, while `max_in_flight` messages are unconfirmed. The future has its error by
        the message's deadline, or when an attempt to connect that goes on then has ended. Its callbacks run on the
        thread that confirms messages: there `submit` never blocks, and what would wait for itself is refused.

        Args:
            body: bytes are sent as they are, str as UTF-8 text, anything else as JSON by pydantic. Or an event, made
                by calling an `EventSpec`.
            routing_key: at most 255 bytes; an event has its own.
            **options: see `PublishOptions`; an event has its own exchange.

        Raises:
            ConfigurationError: an event with a routing key or an exchange, or a body without; `timeout`.
            TypeError: an option that `PublishOptions` does not have.
            UnknownExchangeError: the topology has no such exchange, or it is internal.
            MessageInvalidError: the body or a property cannot be encoded.
            MessageTooLargeError: more than `max_body_size` bytes.
            BrokerUnavailableError: no room in time, or no thread or descriptor to connect with; never written.
            ClosedError: the publisher is closed, or belongs to the process that this one was forked from.

        The future raises:
            UnroutableError: no queue takes it.
            PublishRejectedError: the broker refused it.
            PublishTimeoutError: written, and not confirmed in time: outcome unknown.
            BrokerUnavailableError: never written.
            MessageTooLargeError: never written: properties and headers do not fit into a frame of the broker.
            TopologyMismatchError: never written: the broker has this exchange otherwise than declared, or lacks it.
        """
        return self._submit(body, routing_key, options).future

    @overload
    async def publish_async(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Receipt: ...

    @overload
    async def publish_async(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Receipt: ...

    async def publish_async(self, body: object, routing_key: str | None = None, **options: Any) -> Receipt:
        """Publish one message and await its confirm, on any event loop.

        Takes the arguments and raises the errors of `publish`. The loop goes on while `max_in_flight` messages are
        unconfirmed. A task that is cancelled meanwhile leaves the message to its fate.
        """
        self._check_process()
        self._refuse_own_thread("publish_async")
        limit = self._submissions.timeout(options)
        submission = self._submissions.make(body, routing_key, limit, **options)
        try:
            if not await self._window.enter_async(submission, limit):
                raise self._no_room(submission, limit)
            self._hand_in(submission)
        except BaseException as error:
            _tell_failure(submission, error)
            raise
        try:
            async with asyncio.timeout(_time_left(submission) + (_GRACE if self._session.is_open else 0.0)):
                return await asyncio.wrap_future(submission.future)
        except TimeoutError:
            return self._overdue(submission)
        finally:
            del submission  # which would be in a circle: error, traceback, this frame, submission, future, error

    @overload
    def publish_many(
        self, messages: Iterable[Event[Any]], **options: Unpack[EventOptions]
    ) -> Iterator[Receipt | PublishError]: ...

    @overload
    def publish_many(
        self, messages: Iterable[tuple[object, str] | Event[Any]], **options: Unpack[PublishOptions]
    ) -> Iterator[Receipt | PublishError]: ...

    def publish_many(
        self, messages: Iterable[tuple[object, str] | Event[Any]], **options: Any
    ) -> Iterator[Receipt | PublishError]:
        """Publish events and (body, routing key) pairs, and yield what became of each, in order.

        Many are on their way at once, `max_in_flight` behind the oldest without an outcome. A receipt, or the
        `PublishError` that `publish` would raise. Takes the options of `submit`; `exchange` is for the pairs.

        Raises:
            ConfigurationError: something else than an event or a pair; and what else `publish` raises. It ends it.
        """
        self._check_process()
        self._refuse_own_thread("publish_many")
        pending: deque[Submission | PublishError] = deque()
        of_events = {name: option for name, option in options.items() if name != "exchange"}
        for message in messages:
            if isinstance(message, tuple) and len(message) == _PAIR:
                pending.append(self._attempt(*message, options))
            elif isinstance(message, Event):
                pending.append(self._attempt(message, None, of_events))
            else:
                raise ConfigurationError(f"{_TAKES_MANY}, and not {kind_with_article(message)}")
            while pending and (len(pending) >= self._max_in_flight or _is_settled(pending[0])):
                yield self._outcome(pending.popleft())
        while pending:
            yield self._outcome(pending.popleft())

    def wait_idle(self, timeout: float) -> bool:
        """Wait until every message that was submitted has its outcome.

        Args:
            timeout: seconds.

        Returns:
            Whether that came to pass in time.

        Raises:
            ConfigurationError: as `close`.
            ClosedError: the publisher belongs to the process that this one was forked from.
        """
        self._check_process()
        self._refuse_own_thread("wait_idle")
        return self._window.wait_empty(timeout)

    def _submit(self, body: object, routing_key: str | None, options: Mapping[str, Any]) -> Submission:
        self._check_process()
        limit = self._submissions.timeout(options)
        submission = self._submissions.make(body, routing_key, limit, **options)
        try:
            if not self._window.enter(submission, limit):
                raise self._no_room(submission, limit)
            self._hand_in(submission)
        except BaseException as error:
            _tell_failure(submission, error)
            raise
        return submission

    def _hand_in(self, submission: Submission) -> None:
        """Leave a message that has room for the session. It is in the window: `close` waits for it, or gives it up."""
        self._ensure_started()
        self._confirms.submit(submission)
        if not self._session.wake():
            submission.resolve(self._unavailable())

    def _result(self, submission: Submission) -> Receipt:
        try:
            try:
                return submission.future.result(_time_left(submission))
            except FutureTimeoutError:
                if self._session.is_open:  # else its thread may be held up in connecting
                    return submission.future.result(_GRACE)
                raise
        except FutureTimeoutError:
            return self._overdue(submission)
        finally:
            del submission  # which would be in a circle: error, traceback, this frame, submission, future, error

    def _overdue(self, submission: Submission) -> Receipt:
        """Give up a message whose outcome was not told in time: the session's thread is held up."""
        if submission.future.cancel():
            raise self._unavailable() from None
        if submission.future.done():  # just now
            return submission.future.result()
        raise not_confirmed(submission) from None

    def _attempt(self, body: object, routing_key: str | None, options: Mapping[str, Any]) -> Submission | PublishError:
        try:
            return self._submit(body, routing_key, options)
        except PublishError as error:
            return error

    def _outcome(self, attempt: Submission | PublishError) -> Receipt | PublishError:
        if isinstance(attempt, PublishError):
            return attempt
        try:
            return self._result(attempt)
        except PublishError as error:
            return error
        finally:
            del attempt  # as in `_result`

    def _unavailable(self) -> TaskrouteError:
        """Return why a message was never written."""
        if self._session.generation:
            return self._session.unavailable()
        # What has ended the session before it was open, if something has. A copy, as the frames of everyone who raises
        # it gather in an error.
        return copy(self._session.failure())

    def _check_process(self) -> None:
        if self._session.is_of_another_process:
            raise ClosedError("this publisher belongs to the process that this one was forked from: make a new one")

    def _refuse_own_thread(self, method: str) -> None:
        if self._session.is_current:
            raise ConfigurationError(
                f"{method}() of publisher {self._name!r} on its own thread, as in a callback of a future or "
                f"instrumentation, waits for itself: call it in another thread; submit() may be called there"
            )

    def _ensure_started(self) -> None:
        """Start the session's thread, unless it was started, or is just being started: perhaps by this thread.

        Raises:
            BrokerUnavailableError: there is no descriptor or thread to be had. The next message tries again.
        """
        if self._session.was_started or not self._starting.acquire(blocking=False):
            return None
        try:
            return self._start()
        except (OSError, RuntimeError) as error:
            atexit.unregister(self._close_at_exit)
            failure = BrokerUnavailableError(f"never written: nothing to connect with: {describe_error(error)}")
        finally:
            self._starting.release()
        for submission in self._window.unsettled():  # who came meanwhile has relied on this attempt
            if submission.take_back():
                submission.resolve(copy(failure))
        raise failure

    def _start(self) -> None:
        if not self._session.was_started:  # by another thread, in this moment
            self._session.post(self._window.exempt)  # callbacks of futures run on its thread, and may submit
            atexit.register(self._close_at_exit)  # what was submitted and not waited for
            self._session.start()

    def _no_room(self, submission: Submission, limit: float) -> TaskrouteError:
        if self._window.is_closed:
            return _closed()
        return BrokerUnavailableError(f"{submission}: no room within {limit} s, so it was never written")


def _tell_failure(submission: Submission, error: BaseException) -> None:
    """Tell those who listen that a message was not handed in."""
    if isinstance(error, TaskrouteError):
        submission.resolve(copy(error))  # a copy, as the other one's traceback leads to the submission
    else:  # an interrupt: what was handed in already may still be written
        submission.future.cancel()


def _not_written(submission: Submission) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"{submission}: the publisher was closed before it was written")


def _closed() -> ClosedError:
    return ClosedError("the publisher is closed: make a new one")


def _is_settled(attempt: Submission | PublishError) -> bool:
    return isinstance(attempt, PublishError) or attempt.future.done()


def _time_left(submission: Submission) -> float:
    return min(max(0.0, submission.deadline - time.monotonic()), threading.TIMEOUT_MAX - _GRACE)
