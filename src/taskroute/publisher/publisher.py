"""Publisher: messages out, each one routed and confirmed or an error that says what became of it."""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from functools import partial
from types import TracebackType
from typing import Any, Final, Required, Self, TypedDict, Unpack, overload

from taskroute.broker.declare import DeclareMode, checked_mode, declare
from taskroute.broker.properties import checked_flag, encode_properties, with_headers
from taskroute.broker.roles.confirms import Confirms, Receipt, Submission
from taskroute.broker.session import Session, closed
from taskroute.broker.url import parse_urls
from taskroute.errors import (
    BrokerUnavailableError,
    ClosedError,
    ConfigurationError,
    MessageInvalidError,
    MessageTooLargeError,
    PublishError,
    PublishTimeoutError,
    TaskrouteError,
    UnknownExchangeError,
    UnroutableError,
)
from taskroute.instrumentation.events import Published, PublishFailed, Returned
from taskroute.instrumentation.hooks import Instrumentation, Listeners
from taskroute.keys.short_string import key_problem
from taskroute.message.content import encode
from taskroute.publisher.window import Window
from taskroute.quoting import shorten
from taskroute.topology.event_spec import Event
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.topology import Topology

log = logging.getLogger(__name__)

DEFAULT_MAX_BODY_SIZE: Final = 16 * 1024 * 1024
"""Bytes; what RabbitMQ 4 takes by default. Earlier versions take 128 MiB."""

_IDS_SHOWN: Final = 10
_PAIR: Final = 2
_TAKES_MANY: Final = "publish_many takes events and tuples of two, (body, routing key)"

_GRACE: Final = 1.0
"""Seconds that a waiting caller gives the session's thread to report a deadline."""


class EventOptions(TypedDict, total=False):
    """Keyword arguments of `Publisher.publish`, `submit` and `publish_many` for an event."""

    headers: Mapping[str, object] | None
    """str, int, bool, bytes, datetime, None, and lists and dicts of them."""
    message_id: str | None
    """Left out, a new one."""
    correlation_id: str | None
    type: str | None
    reply_to: str | None
    content_type: str | None
    """Left out, by the kind of the body."""
    timestamp: datetime | None
    expiration: float | timedelta | None
    """Seconds until the message expires in its queue."""
    priority: int | None
    """0 to 255."""
    persistent: bool
    """Survives a restart of the broker, in durable queues. Left out, True."""
    mandatory: bool
    """False lets the broker drop a message that no queue takes. Left out, True."""
    timeout: float | None
    """Seconds until the message is given up. Left out, the publisher's."""


class PublishOptions(EventOptions, total=False):
    """Keyword arguments of `Publisher.publish`, `submit` and `publish_many` for a body and its routing key."""

    exchange: Required[ExchangeSpec | str]
    """Of the topology, or "" for the default exchange."""


class Publisher:
    """Publishes from any thread over one connection of its own.

    A message is confirmed by itself; many may be on their way at once. What is unconfirmed when the connection
    breaks is sent again, with the same `message_id`, until its deadline.

    Args:
        url: ``memory://NAME``, ``amqp://user:password@host/vhost`` or several nodes of one cluster.
        topology: the exchanges that can be published to; declared on the broker as `declare` says.
        max_in_flight: messages that are not confirmed yet, at most.
        timeout: seconds from the call until a message is given up.
        declare: ``create``, ``verify`` existence only, or ``skip``.
        name: of the thread and of the connection on the broker.
        tls: for ``amqps``.
        heartbeat: seconds.
        max_body_size: bytes.
        instrumentation: who listens; see `taskroute.instrumentation`.

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
        url: str | Sequence[str],
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
            raise ConfigurationError(f"max_in_flight={max_in_flight} has to be at least 1")
        if not isinstance(topology, Topology):
            raise ConfigurationError(f"topology has to be a Topology, and is a {type(topology).__name__}")
        self._topology = topology
        self._timeout = _checked_timeout(timeout)
        self._declare = checked_mode(declare)
        self._max_body_size = max_body_size
        self._window = Window(max_in_flight)
        self._open = threading.Lock()  # held while a message is handed in, and to close
        self._closed = False
        self._confirms = Confirms(
            prepare=self._prepare,
            unavailable=self._unavailable,
            is_blocked=self._is_blocked,
        )
        self._listeners = Listeners(instrumentation)
        self._tell = self._listeners.on_event
        self._session = Session(
            parse_urls(url, tls),
            self._confirms,
            name=name or "taskroute-publisher",
            heartbeat=heartbeat,
            tell=self._tell,
        )
        self._started = False
        # Of its own, as the process's numbers are its users'. Asking the system for each id would give the lock of the
        # interpreter away each time.
        self._ids = random.Random()  # noqa: S311

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
            TopologyMismatchError: never written: the broker has something else, and the publisher has ended over it.
        """
        return self._submit(body, routing_key, options).future

    def _submit(self, body: object, routing_key: str | None, options: Mapping[str, Any]) -> Submission:
        limit = self._limit(options)
        submission = self._submission(body, routing_key, limit, **options)
        self._check_process()
        self._enter(submission, limit)
        self._hand_in(submission)
        return submission

    @overload
    async def publish_async(self, body: Event[Any], /, **options: Unpack[EventOptions]) -> Receipt: ...

    @overload
    async def publish_async(self, body: object, routing_key: str, **options: Unpack[PublishOptions]) -> Receipt: ...

    async def publish_async(self, body: object, routing_key: str | None = None, **options: Any) -> Receipt:
        """Publish one message and await its confirm, on any event loop.

        Takes the arguments and raises the errors of `publish`. The loop goes on while `max_in_flight` messages are
        unconfirmed. A task that is cancelled meanwhile leaves the message to its fate.
        """
        limit = self._limit(options)
        submission = self._submission(body, routing_key, limit, **options)
        self._check_process()
        try:
            has_room = await self._window.enter_async(submission, limit)
        except asyncio.CancelledError:
            submission.future.cancel()  # for those who listen: it was never written
            raise
        if not has_room:
            raise self._no_room(submission, limit)
        self._hand_in(submission)
        try:
            async with asyncio.timeout(_wait_limit(submission)):
                return await asyncio.wrap_future(submission.future)
        except TimeoutError:
            raise self._confirms.give_up(submission) from None

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

    def _submission(
        self,
        body: object,
        routing_key: str | None,
        limit: float,
        /,
        *,
        exchange: ExchangeSpec | str | None = None,
        message_id: str | None = None,
        content_type: str | None = None,
        mandatory: bool = True,
        timeout: float | None = None,  # noqa: ARG002 - is `limit`
        **properties: Any,
    ) -> Submission:
        exchange, routing_key = _address(body, routing_key, exchange)
        encoded, kind = body.encode() if isinstance(body, Event) else encode(body)
        identity = message_id if message_id is not None else f"{self._ids.getrandbits(128):032x}"
        try:
            submission = Submission(
                exchange=self._checked_exchange(exchange),
                routing_key=_checked_key(routing_key),
                body=self._checked_size(encoded),
                properties=encode_properties(message_id=identity, content_type=content_type or kind, **properties),
                message_id=identity,
                mandatory=mandatory is True or checked_flag("mandatory", mandatory),
                deadline=time.monotonic() + limit,
            )
        except TypeError:
            _check_names(properties)
            raise
        self._announce(submission)
        return submission

    def _announce(self, submission: Submission) -> None:
        """Let those who listen add their headers, and tell them later what became of the message."""
        added_headers = self._listeners.publishing
        if added_headers is not None:
            added = added_headers(submission.exchange, submission.routing_key, submission.message_id)
            try:
                submission.properties = with_headers(submission.properties, added)
            except PublishError as error:  # the message counts for more than what was to be added
                self._listeners.report(added_headers, error)
        if self._tell is not None:
            submission.future.add_done_callback(partial(_tell_outcome, self._tell, submission, time.monotonic()))

    def _enter(self, submission: Submission, limit: float) -> None:
        if not self._window.enter(submission, limit):
            raise self._no_room(submission, limit)

    def _no_room(self, submission: Submission, limit: float) -> BrokerUnavailableError:
        error = BrokerUnavailableError(f"{submission}: no room within {limit} s, so it was never written")
        submission.future.set_exception(error)
        return error

    def _hand_in(self, submission: Submission) -> None:
        with self._open:
            if self._closed:
                error = closed("publisher")
                submission.future.set_exception(error)
                raise error
            self._start_thread()
            self._confirms.submit(submission)
        self._session.wake()

    def _result(self, submission: Submission) -> Receipt:
        try:
            return submission.future.result(_wait_limit(submission))
        except FutureTimeoutError:
            raise self._confirms.give_up(submission) from None

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

    def _limit(self, options: Mapping[str, Any]) -> float:
        timeout = options.get("timeout")
        return self._timeout if timeout is None else _checked_timeout(timeout)

    def _unavailable(self) -> TaskrouteError:
        """Why a message was never written."""
        if self._session.generation:
            return self._session.unavailable()
        # What has ended the session before it was open, if something has. A copy, as the frames of everyone who raises
        # it gather in an error.
        return copy(self._session.failure())

    def _is_blocked(self) -> bool:
        return self._session.is_blocked

    def _check_process(self) -> None:
        if self._session.is_of_another_process:
            raise ClosedError("this publisher belongs to the process that this one was forked from: make a new one")

    def _ensure_started(self) -> None:
        self._check_process()
        with self._open:
            if self._closed:
                raise closed("publisher")
            self._start_thread()

    def _start_thread(self) -> None:
        if not self._started:
            self._started = True
            atexit.register(self.close)  # what was submitted and not waited for
            self._session.post(self._window.exempt)  # callbacks of futures run on its thread, and may submit
            self._session.start()

    def _prepare(self, channel: Any) -> None:
        declare(channel, self._topology, self._declare)

    def _checked_exchange(self, exchange: ExchangeSpec | str) -> str:
        name = str(exchange)
        if name and self._topology.exchange(name).internal:
            raise UnknownExchangeError(f"exchange {name!r} is internal: nobody can publish to it")
        return name

    def _checked_size(self, body: bytes) -> bytes:
        if len(body) > self._max_body_size:
            raise MessageTooLargeError(f"the body has {len(body)} bytes, the limit is {self._max_body_size}")
        return body


def _give_up(unconfirmed: Iterable[Future[Receipt]]) -> None:
    for future in unconfirmed:
        if not future.done():  # the session's thread did not end: it may hang in connecting
            with suppress(InvalidStateError):
                future.set_exception(PublishTimeoutError("the publisher was closed before the broker answered"))


def _describe_unconfirmed(message_ids: Sequence[str]) -> str:
    shown = ", ".join(map(shorten, message_ids[:_IDS_SHOWN])) + (", ..." if len(message_ids) > _IDS_SHOWN else "")
    return f"closed with {len(message_ids)} messages unconfirmed, whose outcome is unknown; message_ids: {shown}"


def _address(
    body: object, routing_key: str | None, exchange: ExchangeSpec | str | None
) -> tuple[ExchangeSpec | str, str]:
    """Where a message goes: an event knows, anything else is told."""
    if isinstance(body, Event):
        if routing_key is not None or exchange is not None:
            given = "a routing key" if exchange is None else "an exchange"
            raise ConfigurationError(f"{body.spec} has its own exchange and routing key, and was given {given}")
        return body.exchange, body.routing_key
    if routing_key is None or exchange is None:
        missing = "a routing key" if routing_key is None else "exchange="
        kind = type(body).__name__
        raise ConfigurationError(
            f"a body ({kind}) needs {missing}; only an event, made by calling an EventSpec, brings its own"
        )
    return exchange, routing_key


def _checked_timeout(timeout: float) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < math.inf:
        raise ConfigurationError(f"timeout={timeout!r} has to be a number of seconds, more than 0")
    return timeout


def _check_names(options: Iterable[str]) -> None:
    """Raise TypeError for an option that there is not, with those that there are."""
    known = PublishOptions.__annotations__
    for name in options:
        if name not in known:
            raise TypeError(f"there is no option {name!r}; there are {', '.join(known)}") from None


def _checked_key(routing_key: str) -> str:
    if problem := key_problem(routing_key, "routing key"):
        raise MessageInvalidError(problem)
    return routing_key


def _tell_outcome(
    tell: Callable[[Published | Returned | PublishFailed], object],
    submission: Submission,
    began: float,
    future: Future[Receipt],
) -> None:
    error: BaseException | None = CancelledError() if future.cancelled() else future.exception()
    exchange, routing_key, message_id = submission.identity
    seconds = time.monotonic() - began
    if error is None:
        tell(Published(exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds))
    elif isinstance(error, UnroutableError):
        tell(Returned(exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds))
    else:
        name = type(error).__name__
        tell(
            PublishFailed(
                exchange=exchange, routing_key=routing_key, message_id=message_id, seconds=seconds, error=name
            )
        )


def _is_settled(attempt: Submission | PublishError) -> bool:
    return isinstance(attempt, PublishError) or attempt.future.done()


def _wait_limit(submission: Submission) -> float:
    """Seconds for which a caller waits for an outcome. The session's thread tells it by then unless it is held up."""
    return max(0.0, submission.deadline + _GRACE - time.monotonic())
