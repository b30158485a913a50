"""Publisher: messages out, each one routed and confirmed or an error that says what became of it."""

from __future__ import annotations

import asyncio
import atexit
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from copy import copy
from types import TracebackType
from typing import Any, Final, Self, Unpack, overload

from taskroute.broker.declare import Declaration, DeclareMode, checked_mode
from taskroute.broker.roles.confirms import Confirms, not_confirmed
from taskroute.broker.roles.submission import Receipt, Submission
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    PublishError,
    PublishTimeoutError,
    TaskrouteError,
)
from taskroute.exported import exported_by
from taskroute.instrumentation.hooks import Instrumentation, Listeners
from taskroute.publisher.options import EventOptions, PublishOptions
from taskroute.publisher.submissions import DEFAULT_MAX_BODY_SIZE, Submissions
from taskroute.publisher.window import Window
from taskroute.quoting import shorten
from taskroute.topology.digest import topology_digest
from taskroute.topology.event_spec import Event
from taskroute.topology.topology import Topology

_IDS_SHOWN: Final = 10
_PAIR: Final = 2
_TAKES_MANY: Final = "publish_many takes events and tuples of two, (body, routing key)"

_GRACE: Final = 1.0
"""Seconds that a waiting caller gives the thread of an open connection to report a deadline."""


@exported_by("taskroute")
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
        declare: ``create``, ``verify`` existence only, or ``skip``.
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
            raise ConfigurationError(f"topology must be a Topology, and is a {type(topology).__name__}")
        self._timeout = timeout
        listeners = Listeners(instrumentation)
        self._submissions = Submissions(topology, listeners, timeout=timeout, max_body_size=max_body_size)
        self._window = Window(max_in_flight)
        self._open = threading.Lock()  # held while a message is handed in, and to close
        self._started = False
        self._closed = False
        self._confirms = Confirms(
            unavailable=self._unavailable, declaration=Declaration(topology, checked_mode(declare))
        )
        self._session = Session(
            Nodes(url, tls),
            self._confirms,
            name=name or "taskroute-publisher",
            heartbeat=heartbeat,
            topology_digest=topology_digest(topology),
            emit=listeners.on_event,
        )

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
            BrokerUnavailableError: not connected within `timeout` seconds (left out: the publisher's).
            TopologyMismatchError: the broker has something else. The publisher is closed then, as with the other.
        """
        self._ensure_started()
        try:
            self._session.wait_open(self._timeout if timeout is None else timeout)
        except BaseException:
            with suppress(PublishTimeoutError):  # names what was submitted meanwhile; why it failed counts for more
                self.close(0)
            raise

    def close(self, timeout: float | None = None) -> None:
        """Wait until what was submitted is confirmed, `timeout` seconds at most, and disconnect.

        Every future is resolved when it returns: with an error, if its outcome is unknown. Called by itself when the
        interpreter exits; does nothing in a fork of the process that made it.

        Raises:
            PublishTimeoutError: names the messages that were not confirmed in time. The publisher is closed.
        """
        if self._session.is_of_another_process:
            return
        with self._open:
            already, self._closed = self._closed, True
        if already or not self._started:
            return
        atexit.unregister(self.close)
        unconfirmed = self._window.wait_empty(self._timeout if timeout is None else timeout)
        self._session.stop()
        if not self._session.join(_GRACE):
            self._session.sever()
            self._session.join(_GRACE)
        if unconfirmed:
            _give_up(unconfirmed)
            raise PublishTimeoutError(_describe_unconfirmed(list(unconfirmed.values())))

    @overload
    def publish(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Receipt: ...

    @overload
    def publish(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Receipt: ...

    def publish(self, body: object, routing_key: str | None = None, **options: Any) -> Receipt:
        """Publish one message and wait until the broker has routed and confirmed it.

        Takes the arguments and raises the errors of `submit`, and those of the future at once.

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
        return self._result(self._submit(body, routing_key, options))

    @overload
    def submit(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Future[Receipt]: ...

    @overload
    def submit(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Future[Receipt]: ...

    def submit(self, body: object, routing_key: str | None = None, **options: Any) -> Future[Receipt]:
        """Hand a message in and return at once; the future has its receipt or its error.

        Blocks, `timeout` seconds at most, while `max_in_flight` messages are unconfirmed. The future has its error by
        the message's deadline, or when an attempt to connect that goes on then has ended. Its callbacks run on the
        thread that confirms messages: there `submit` never blocks, and `publish` would wait for itself.

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
            BrokerUnavailableError: no room in time; never written.
            ClosedError: the publisher is closed.

        The future raises:
            UnroutableError: no queue takes it.
            PublishRejectedError: the broker refused it.
            PublishTimeoutError: written, and not confirmed in time: outcome unknown.
            BrokerUnavailableError: never written.
            MessageTooLargeError: never written: properties and headers do not fit into a frame of the broker.
            TopologyMismatchError: never written: the broker has something else, and the publisher has ended over it.
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
        limit = self._submissions.timeout(options)
        submission = self._submissions.make(body, routing_key, limit, **options)
        self._check_process()
        try:
            has_room = await self._window.enter_async(submission, limit)
        except asyncio.CancelledError:
            submission.future.cancel()  # for those who listen: it was never written
            raise
        if not has_room:
            raise _no_room(submission, limit)
        self._hand_in(submission)
        try:
            async with asyncio.timeout(_time_left(submission) + (_GRACE if self._session.is_open else 0.0)):
                return await asyncio.wrap_future(submission.future)
        except TimeoutError:
            return self._overdue(submission)

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

        Many are on their way at once. A receipt, or the `PublishError` that `publish` would raise. Takes the options of
        `submit`; `exchange` is for the pairs.

        Raises:
            ConfigurationError: something else than an event or a pair; and what else `publish` raises. It ends it.
        """
        pending: deque[Submission | PublishError] = deque()
        of_events = {name: option for name, option in options.items() if name != "exchange"}
        for message in messages:
            if isinstance(message, tuple) and len(message) == _PAIR:
                pending.append(self._attempt(*message, options))
            elif isinstance(message, Event):
                pending.append(self._attempt(message, None, of_events))
            else:
                raise ConfigurationError(f"{_TAKES_MANY}, and not a {type(message).__name__}")
            while pending and _is_settled(pending[0]):
                yield self._outcome(pending.popleft())
        while pending:
            yield self._outcome(pending.popleft())

    def wait_idle(self, timeout: float) -> bool:
        """Wait until every message that was submitted has its outcome.

        Args:
            timeout: seconds.

        Returns:
            Whether that came to pass in time.
        """
        return not self._window.wait_empty(timeout)

    def _submit(self, body: object, routing_key: str | None, options: Mapping[str, Any]) -> Submission:
        limit = self._submissions.timeout(options)
        submission = self._submissions.make(body, routing_key, limit, **options)
        self._check_process()
        if not self._window.enter(submission, limit):
            raise _no_room(submission, limit)
        self._hand_in(submission)
        return submission

    def _hand_in(self, submission: Submission) -> None:
        with self._open:
            if self._closed:
                error = _closed()
                submission.future.set_exception(error)
                raise error
            self._start_thread()
            self._confirms.submit(submission)
        if not self._session.wake():
            submission.resolve(self._unavailable())

    def _result(self, submission: Submission) -> Receipt:
        try:
            return submission.future.result(_time_left(submission))
        except FutureTimeoutError:
            if not self._session.is_open:  # its thread may be held up in connecting
                return self._overdue(submission)
        try:
            return submission.future.result(_GRACE)
        except FutureTimeoutError:
            return self._overdue(submission)

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

    def _ensure_started(self) -> None:
        self._check_process()
        with self._open:
            if self._closed:
                raise _closed()
            self._start_thread()

    def _start_thread(self) -> None:
        if not self._started:
            self._started = True
            atexit.register(self.close)  # what was submitted and not waited for
            self._session.post(self._window.exempt)  # callbacks of futures run on its thread, and may submit
            self._session.start()


def _closed() -> ClosedError:
    return ClosedError("the publisher is closed: make a new one")


def _no_room(submission: Submission, limit: float) -> BrokerUnavailableError:
    error = BrokerUnavailableError(f"{submission}: no room within {limit} s, so it was never written")
    submission.future.set_exception(error)
    return error


def _give_up(unconfirmed: Iterable[Future[Receipt]]) -> None:
    for future in unconfirmed:
        if not future.done():  # the session's thread did not end: it may hang in connecting
            with suppress(InvalidStateError):
                future.set_exception(PublishTimeoutError("the publisher was closed before the broker answered"))


def _describe_unconfirmed(message_ids: Sequence[str]) -> str:
    shown = ", ".join(map(shorten, message_ids[:_IDS_SHOWN])) + (", ..." if len(message_ids) > _IDS_SHOWN else "")
    return f"closed with {len(message_ids)} messages unconfirmed, whose outcome is unknown; message_ids: {shown}"


def _is_settled(attempt: Submission | PublishError) -> bool:
    return isinstance(attempt, PublishError) or attempt.future.done()


def _time_left(submission: Submission) -> float:
    return max(0.0, submission.deadline - time.monotonic())
