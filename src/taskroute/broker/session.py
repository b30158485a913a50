"""Session: one thread that owns one broker connection: wake-up, heartbeat, reconnect, generation.

Nobody else touches the connection, with one exception: past a shutdown deadline `sever` shuts its socket down.
What the connection is for is a `Role`: consuming (`roles.consumer`) or publishing with confirms (`roles.confirms`).
"""

from __future__ import annotations

import itertools
import logging
import os
import random
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Final, Literal, TypeVar

import amqp

from taskroute.broker.amqp import Connection
from taskroute.broker.connection import connect
from taskroute.broker.link import Link
from taskroute.broker.mailbox import Call, Mailbox
from taskroute.broker.roles.role import Role
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerUnavailableError, ClosedError, ConfigurationError, TaskrouteError
from taskroute.instrumentation.events import Connected, Disconnected, Event

log = logging.getLogger("taskroute.broker")

T = TypeVar("T")

EVENTS_PER_PASS: Final = 256
"""Methods (a message counts as one) that are read before they are handed on. More would delay acknowledgements."""

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
"""Seconds before the first and before a late attempt to reconnect; jittered."""

MAX_HEARTBEAT: Final = 65_535

_HEARTBEAT_CHECKS: Final = 8
"""Checks in a heartbeat interval: missed heartbeats are noticed within two intervals and a bit."""


class Session:
    """Runs a `Role` on a connection that it opens, keeps and reopens.

    Thread-safe: `start`, `post`, `ask`, `wake`, `wait_open`, `stop`, `join`, `sever`, and the properties.

    Args:
        urls: nodes, tried in turn.
        role: what the connection is for.
        name: of the thread and, for people, of the connection on the broker.
        heartbeat: seconds, at least 1.
        mailbox: calls for the session's thread; left out, one that nobody else has.
        first_failure: what to do when the first connection cannot be set up for a reason that another attempt does
            not mend (a mismatch, a defect): end, or retry as for any other reason.
        on_end: called by the session's thread as its last act.
        emit: takes the events of connections that open and end, on the session's thread; None: there is no
            instrumentation.
        monotonic: the clock, in seconds. One that a test moves needs a `wake` after each move.

    Raises:
        ConfigurationError: `heartbeat`; without one, a peer that falls silent would not be noticed.
    """

    def __init__(
        self,
        urls: Sequence[BrokerUrl],
        role: Role,
        *,
        name: str,
        heartbeat: float,
        mailbox: Mailbox | None = None,
        first_failure: Literal["end", "retry"] = "end",
        on_end: Callable[[], object] = lambda: None,
        emit: Callable[[Event], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(heartbeat, bool) or not isinstance(heartbeat, int | float) or not 1 <= heartbeat <= MAX_HEARTBEAT:
            raise ConfigurationError(f"heartbeat={heartbeat!r} must be between 1 and {MAX_HEARTBEAT} seconds")
        self._urls = tuple(urls)
        self._role = role
        self._name = name
        self._heartbeat = heartbeat
        self._mailbox = Mailbox(monotonic) if mailbox is None else mailbox
        self._first_failure = first_failure
        self._on_end = on_end
        self._emit = emit
        self._monotonic = monotonic
        self._nodes: Iterator[BrokerUrl] = itertools.cycle(self._urls)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._changed = threading.Condition()  # of the link
        self._link = Link()
        self._stopping = False
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._jitter = random.Random()  # noqa: S311 - of its own: the process's numbers are its users'
        self._attempts = 0  # since it was last open
        self._closed_since = monotonic()

    @property
    def generation(self) -> int:
        """How many connections this session has set up."""
        return self._link.generation

    @property
    def is_open(self) -> bool:
        """Whether its connection is open and set up."""
        return self._link.state == "open"

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it reads no publishes."""
        return self._link.is_blocked

    @property
    def was_started(self) -> bool:
        """Whether the thread was started, whatever became of it."""
        return self._thread.ident is not None

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, and has not begun its last act."""
        return self._thread.is_alive() and self._link.state != "ended"

    @property
    def is_current(self) -> bool:
        """Whether the caller runs in its thread."""
        return threading.current_thread() is self._thread

    @property
    def is_of_another_process(self) -> bool:
        """Whether this process is a fork of the one that made the session: thread and connection are over there."""
        return os.getpid() != self._process

    @property
    def last_error(self) -> BaseException | None:
        """Why the last connection, or attempt to connect, ended."""
        return self._error

    def start(self) -> None:
        """Start the thread, which connects at once.

        Raises:
            OSError, RuntimeError: no descriptor, no thread can be had now; it may be started again.
        """
        for url in self._urls:
            if warning := url.warning:
                log.warning("insecure session=%s url=%s: %s", self._name, url, warning)
        self._mailbox.open()
        try:
            self._thread.start()
        except RuntimeError:
            self._mailbox.release()
            raise

    def post(self, call: Call) -> bool:
        """Have `call` run on the session's thread, soon, connected or not. Return False if the session has ended."""
        return self._mailbox.post(call)

    def ask(self, question: Callable[[], T], timeout: float) -> T:
        """Have the session's thread answer a question on its open connection, and wait for the answer.

        What the broker has sent before its answer is handed on before the answer is returned. Not for the session's
        own thread, which would wait for itself.

        Args:
            question: called on the session's thread. What it raises is raised here, and discards the connection.
            timeout: seconds; a question that was not put by then never is.

        Raises:
            ClosedError: the session has ended.
            BrokerUnavailableError: not connected, or no answer in time.
        """
        answer: Future[T] = Future()

        def put() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            connection = self._link.connection
            if not self.is_open or connection is None:
                answer.set_exception(self.unavailable())
                return
            try:
                result = question()
                self._read_all(connection)
                answer.set_result(result)
            except Exception as error:
                answer.set_exception(error)
                raise  # the channel may be gone: the connection cannot be trusted

        if not self.post(put):
            raise ClosedError(f"session {self._name!r} has ended")
        try:
            return answer.result(timeout)
        except FutureTimeoutError:
            answer.cancel()
            raise BrokerUnavailableError(f"the broker has not answered within {timeout:g} s") from None

    def wake(self) -> bool:
        """Have the thread look for work; cheap, see `Mailbox.wake`. Return False if the session has ended."""
        return self._mailbox.wake()

    def wait_open(self, timeout: float | None) -> None:
        """Wait until the connection is open and set up.

        Raises:
            BrokerUnavailableError: not within `timeout` seconds; None waits for as long as it takes.
            TaskrouteError: what the role said is wrong and will not mend itself (a mismatch, for example).
        """
        with self._changed:
            self._changed.wait_for(lambda: self._link.state in ("open", "ended"), timeout)
            if self.is_open:
                return
        raise self.failure()

    def failure(self) -> TaskrouteError:
        """Return why there is no connection: what the role said is wrong, or that the broker cannot be reached."""
        return self._error if isinstance(self._error, TaskrouteError) else self.unavailable()

    def unavailable(self) -> BrokerUnavailableError:
        """Return an error that says which nodes were tried, how often, for how long, and what the last one said."""
        nodes = ", ".join(str(url) for url in self._urls)
        link = self._link
        if link.state == "open":
            why = "the broker has blocked publishing" if link.is_blocked else "the broker does not keep up"
            return BrokerUnavailableError(f"{nodes}: {why}; the message was never written")
        elapsed = self._monotonic() - self._closed_since
        tried = f"{self._attempts} attempts in {elapsed:.1f} s"
        return BrokerUnavailableError(f"no connection to {nodes}: {tried}: {describe_error(self._error)}")

    def stop(self) -> None:
        """Have the thread flush, close the connection and end. Does not wait for it; see `join`."""
        self._stopping = True
        self._mailbox.wake()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end, and return whether it did. A thread that never started has ended."""
        if self.was_started:
            self._thread.join(max(timeout, 0))
        return not self._thread.is_alive()

    def sever(self) -> None:
        """Shut the socket down under a thread that does not end: its next read or write fails."""
        # Not `connection.sock`: py-amqp connects anew when it is asked for one that it does not have.
        sock = getattr(getattr(self._link.connection, "_transport", None), "sock", None)
        if isinstance(sock, socket.socket):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    # The session's thread runs everything below.

    def _run(self) -> None:
        delay = 0.0
        try:
            while not self._stopping:
                generation = self.generation
                try:
                    self._pause(delay * self._jitter.uniform(0.5, 1.0))
                    self._serve(self._open())
                except Exception as error:  # noqa: BLE001 - whatever happened, the connection cannot be trusted
                    if not self._lose(error):
                        return
                failed_again = delay and self.generation == generation
                delay = min(delay * 2, LONGEST_DELAY) if failed_again else FIRST_DELAY
        finally:
            self._finish()

    def _open(self) -> Connection:
        url = next(self._nodes)
        self._attempts += 1
        self._link = self._link.connecting()
        log.debug("connecting session=%s url=%s", self._name, url)
        connection = connect(
            url,
            name=self._name,
            heartbeat=self._heartbeat,
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
            on_created=self._on_created,
        )
        self._on_created(connection)
        self._role.on_open(connection, self.generation + 1)
        with self._changed:
            self._link = self._link.set_up()
            self._attempts = 0
            self._changed.notify_all()
        log.info("connected session=%s url=%s generation=%d", self._name, url, self.generation)
        if self._emit is not None:
            self._emit(Connected(session=self._name, generation=self.generation))
        return connection

    def _serve(self, connection: Connection) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(connection.sock, selectors.EVENT_READ)
            selector.register(self._mailbox, selectors.EVENT_READ)
            interval = (connection.heartbeat or self._heartbeat) / _HEARTBEAT_CHECKS
            check_at = self._monotonic() + interval
            checks = 0
            more, drained = True, -1
            while True:
                stopping = self._stopping  # read before the work: what was left before `stop` is still written
                self._work()
                connection.write_together(self._role.flush)
                if stopping:
                    return
                # What waited for an answer may have read more than the answer, which no socket will show.
                more = more or connection.bytes_recv != drained or self._wait(selector, check_at)
                if more:
                    more = connection.drain_available(EVENTS_PER_PASS)
                    drained = connection.bytes_recv
                self._role.on_read()
                if self._monotonic() >= check_at:
                    connection.heartbeat_tick()
                    checks += 1
                    if checks % _HEARTBEAT_CHECKS == 0:
                        self._role.probe()
                    check_at = self._monotonic() + interval

    def _read_all(self, connection: Connection) -> None:
        while connection.drain_available(EVENTS_PER_PASS):
            pass
        self._role.on_read()

    def _work(self) -> None:
        """Make the calls that were posted or are due, and have the role give up what is due."""
        self._mailbox.make_calls()
        deadline = self._role.next_deadline()
        if deadline is not None and deadline <= (now := self._monotonic()):
            self._role.expire(now)

    def _wait(self, selector: selectors.BaseSelector, until: float) -> bool:
        """Wait for work, for the broker, or until a moment that matters. Return whether the broker has sent something.

        Everything that could be left for this thread is read after `begin_wait`: a thread that leaves something later
        sees that this one waits, and wakes it.
        """
        may_wait = self._mailbox.begin_wait()
        moments = (until, self._role.next_deadline(), self._mailbox.next_due())
        if not may_wait or self._stopping or (self.is_open and self._role.has_work()):
            timeout = 0.0
        else:
            timeout = max(0.0, min(moment for moment in moments if moment is not None) - self._monotonic())
        ready = [key.fd for key, _ in selector.select(timeout)]
        was_woken = self._mailbox.fileno() in ready
        self._mailbox.end_wait(was_woken=was_woken)
        return len(ready) > was_woken

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, still doing what is posted and due."""
        until = self._monotonic() + seconds
        with selectors.PollSelector() as selector:  # it takes no descriptor: there may be none left
            selector.register(self._mailbox, selectors.EVENT_READ)
            while not self._stopping and self._monotonic() < until:
                self._work()
                self._wait(selector, until)

    def _lose(self, error: BaseException) -> bool:
        """Discard the connection, and return whether to go on."""
        was_open = self.is_open
        self._error = error
        self._discard(error)
        expected = isinstance(error, OSError | amqp.AMQPError | TaskrouteError)
        if not self._stopping:
            event = "connection_lost" if was_open else "connect_failed"
            # A defect shows where it is; what the network and the broker do takes one line.
            trace = None if expected else error
            log.warning("%s session=%s error=%s", event, self._name, describe_error(error), exc_info=trace)
        if (
            self.generation == 0
            and self._first_failure == "end"
            and (not expected or isinstance(error, TaskrouteError))
        ):
            return False  # another attempt does not mend it
        self._error = error.with_traceback(None)  # whose frames hold the connection
        return True

    def _discard(self, error: BaseException | None = None) -> None:
        link = self._link
        if link.state == "down":
            return
        with self._changed:
            self._link = link.lost()
            self._changed.notify_all()
        if link.connection is not None:
            collect(link.connection)
        if link.state != "open":
            return
        self._closed_since = self._monotonic()
        self._role.on_lost(error)
        if self._emit is not None:
            self._emit(Disconnected(session=self._name, error=None if error is None else describe_error(error)))

    def _finish(self) -> None:
        """Close in good order, and resolve what is left."""
        self._close()
        self._discard()
        with self._changed:
            self._link = self._link.ended()
            self._changed.notify_all()
        self._mailbox.close()
        self._make_last_calls()
        self._role.on_end()
        self._mailbox.release()
        log.info("session_closed session=%s", self._name)
        self._on_end()

    def _make_last_calls(self) -> None:
        while True:
            try:
                return self._mailbox.make_calls()
            except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being made
                log.warning("call_failed session=%s error=%s", self._name, describe_error(error))

    def _close(self) -> None:
        link = self._link
        if link.state != "open" or link.connection is None or link.is_blocked:
            return  # a broker that blocks would not read the farewell either
        try:
            self._role.on_leave()
            link.connection.close()
        except Exception as error:  # noqa: BLE001 - the connection is being left anyway
            log.debug("close_failed session=%s error=%s", self._name, describe_error(error))

    def _on_created(self, connection: Connection) -> None:
        self._link = self._link.made(connection)

    def _on_blocked(self, reason: str) -> None:
        self._link = self._link.blocked(True)
        self._role.on_blocked(True)
        log.warning("broker_blocked session=%s reason=%s", self._name, reason)

    def _on_unblocked(self) -> None:
        self._link = self._link.blocked(False)
        self._role.on_blocked(False)
        log.info("broker_unblocked session=%s", self._name)


def collect(connection: Connection) -> None:
    """Drop a connection without a word to the broker, which may not be there to answer."""
    try:
        connection.collect()
    except Exception as error:  # noqa: BLE001 - nothing more can be done for it
        log.debug("collect_failed error=%s", describe_error(error))


def describe_error(error: BaseException | None) -> str:
    """Return the type and the first line of an error, on one line."""
    if error is None:
        return "nothing was tried yet"
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return f"{type(error).__name__}({text!r})" if text else type(error).__name__
