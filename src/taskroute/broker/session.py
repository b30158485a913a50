"""Session: one thread that owns one broker connection: wake-up, heartbeat, reconnect, generation.

Nobody else touches the connection, with one exception: past a shutdown deadline `sever` shuts its socket down.
What the connection is for is a `Role`: consuming (`roles.consumer`) or publishing with confirms (`roles.confirms`).
"""

from __future__ import annotations

import os
import random
import selectors
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final, Literal, TypeVar

import amqp

from taskroute.broker.amqp import Connection
from taskroute.broker.connection import collect, sever
from taskroute.broker.connector import Connector
from taskroute.broker.link import CurrentLink, Link, describe_error
from taskroute.broker.mailbox import Call, Mailbox
from taskroute.broker.moving import Moving
from taskroute.broker.question import Question
from taskroute.broker.roles.role import Role
from taskroute.broker.url import Nodes
from taskroute.errors import BrokerUnavailableError, ClosedError, ConfigurationError, TaskrouteError
from taskroute.foreign import Log
from taskroute.instrumentation.events import Connected, Disconnected, Event
from taskroute.keys.short_string import key_problem
from taskroute.quoting import shown
from taskroute.raised import TELL_ALL, Disclosure

log = Log("taskroute.broker")

T = TypeVar("T")

EVENTS_PER_PASS: Final = 256
"""Methods (a message counts as one) that are read before they are handed on. More would delay acknowledgements."""

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
"""Seconds before the first and before a late attempt to reconnect; jittered."""

PROVED_AFTER: Final = 3.0
"""Seconds after which a connection has shown that it can be used, work or not: the next delay is the first again."""

MAX_HEARTBEAT: Final = 65_535

_OUT_OF_REACH_TIME: Final = 0.1
"""Seconds that a thread gets to end which is held up where nobody can end its wait."""

_HEARTBEAT_CHECKS: Final = 8
"""Checks in a heartbeat interval: missed heartbeats are noticed within two intervals and a bit."""


class Session:
    """Runs a `Role` on a connection that it opens, keeps and reopens.

    Thread-safe: `start`, `post`, `ask`, `wake`, `wait_open`, `stop`, `join`, `sever`, and the properties.

    Args:
        nodes: tried in an order of the session's own; see `NodeOrder` and `Moving`.
        role: what the connection is for.
        name: of the thread and, for people, of the connection on the broker.
        heartbeat: seconds, at least 1.
        mailbox: calls for the session's thread; left out, one that nobody else has.
        topology_digest: of what this process has declared; people see it among the properties of the connection.
        first_failure: what to do when the first connection cannot be set up for a reason that another attempt does
            not mend (a mismatch, a defect, a login that every node refuses): end, or retry as for any other reason.
        on_end: called by the session's thread as its last act.
        emit: takes the events of connections that open and end, on the session's thread; None: there is no
            instrumentation.
        disclosure: what is told of a defect.
        monotonic: the clock, in seconds. One that a test moves needs a `wake` after each move.

    Raises:
        ConfigurationError: `heartbeat`; without one, a peer that falls silent would not be noticed. `name`: too long.
    """

    def __init__(
        self,
        nodes: Nodes,
        role: Role,
        *,
        name: str,
        heartbeat: float,
        mailbox: Mailbox | None = None,
        topology_digest: str | None = None,
        first_failure: Literal["end", "retry"] = "end",
        on_end: Callable[[], object] = lambda: None,
        emit: Callable[[Event], object] | None = None,
        disclosure: Disclosure = TELL_ALL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(heartbeat, bool) or not isinstance(heartbeat, int | float) or not 1 <= heartbeat <= MAX_HEARTBEAT:
            raise ConfigurationError(f"heartbeat={shown(heartbeat)} must be between 1 and {MAX_HEARTBEAT} seconds")
        if problem := key_problem(name, "name"):  # it is one of the properties that open a connection
            raise ConfigurationError(problem)
        self._role = role
        self._name = name
        self._heartbeat = heartbeat
        self._mailbox = Mailbox(monotonic) if mailbox is None else mailbox
        self._first_failure = first_failure
        self._on_end = on_end
        self._emit = emit
        self._disclosure = disclosure
        self._monotonic = monotonic
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._current = CurrentLink(Link(nodes=nodes.fixed, since=monotonic()))
        self._connector = Connector(
            nodes,
            self._current,
            name=name,
            heartbeat=heartbeat,
            topology_digest=topology_digest,
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
        )
        self._process = os.getpid()
        self._jitter = random.Random()  # noqa: S311 - of its own: the process's numbers are its users'
        self._moving = Moving(role, self._look, monotonic, self._jitter)

    @property
    def _link(self) -> Link:
        return self._current.link

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
    def frame_max(self) -> int:
        """Bytes of a frame, as agreed for the last connection, 0 before the first."""
        return self._link.frame_max

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
        """Why the last connection, or attempt to connect, ended; None while it is open."""
        return self._link.error

    def start(self) -> None:
        """Start the thread, which connects at once.

        Raises:
            OSError, RuntimeError: no descriptor, no thread can be had now; it may be started again.
        """
        self._connector.warn_of_fixed_nodes()
        self._mailbox.open()
        try:
            self._thread.start()
        except BaseException:
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

        def read_answer() -> T:
            result = question()
            self._read_all()
            return result

        asked = Question(read_answer)
        if not self.post(partial(self._answer, asked)):
            raise ClosedError(f"session {self._name!r} has ended")
        return asked.wait(timeout)

    def wake(self) -> bool:
        """Have the thread look for work; cheap, see `Mailbox.wake`. Return False if the session has ended."""
        return self._mailbox.wake()

    def wait_open(self, timeout: float | None) -> None:
        """Wait until the connection is open and set up.

        Raises:
            BrokerUnavailableError: not within `timeout` seconds; None waits for as long as it takes.
            TaskrouteError: what the role said is wrong and will not mend itself (a mismatch, for example).
        """
        if self._current.wait(timeout, lambda: self.was_started and not self.is_alive).state != "open":
            raise self.failure()

    def failure(self) -> TaskrouteError:
        """Return why there is no connection: what the role said is wrong, or that the broker cannot be reached."""
        error = self._link.error
        return error if isinstance(error, TaskrouteError) and not _passes(error) else self.unavailable()

    def unavailable(self) -> BrokerUnavailableError:
        """Return an error that says which nodes were tried, how often, for how long, and what failed or hangs."""
        return BrokerUnavailableError(self._link.problem(self._monotonic()))

    def stop(self) -> None:
        """Have the thread flush, close the connection and end. Does not wait for it; see `join`.

        A connection that is not set up yet is cut: nothing was written on it.
        """
        if self._current.stop().state == "opening":
            self.sever()  # if there is no socket yet, `_raise_if_stopping` is told
        self._mailbox.wake()

    def join(self, timeout: float) -> bool:
        """Wait for the thread to end, and return whether it did. A thread that never started has ended.

        So has, after `stop`, one that is held up outside of this library before it connects (a lookup of a name, a
        function that returns the URL): nobody can cut that short. The thread has no connection, and ends after it.
        """
        if self.was_started:
            self._thread.join(min(_OUT_OF_REACH_TIME, max(timeout, 0)) if self._is_out_of_reach else max(timeout, 0))
        return not self._thread.is_alive() or self._is_out_of_reach

    def sever(self) -> None:
        """Shut the socket down under a thread that does not end: its next read or write fails."""
        sever(self._link.connection)

    @property
    def _is_out_of_reach(self) -> bool:
        step = self._link.step
        return self._current.is_stopping and step is not None and not step.can_be_cut

    # The session's thread runs everything below.

    def _run(self) -> None:
        try:
            self._keep_open()
        finally:
            try:
                self._finish()
            except BaseException:
                self._finish()  # the steps that it did not come to
                raise

    def _keep_open(self) -> None:
        delay = 0.0
        while not self._current.is_stopping:
            try:
                self._pause(delay * self._jitter.uniform(0.5, 1.0))
                if not self._current.is_stopping:
                    self._serve(self._open())
                    delay = 0.0
            except BaseException as error:
                # One that has lived for a moment only has shown nothing: what has ended it may end the next one too.
                if self._has_proved():
                    delay = FIRST_DELAY
                    self._connector.begin_anew()
                else:
                    delay = min(max(delay * 2, FIRST_DELAY), LONGEST_DELAY)
                may_go_on = self._lose(error)  # whatever happened, the connection cannot be trusted
                if not isinstance(error, Exception):
                    raise
                if not may_go_on:
                    return

    def _open(self) -> Connection:
        url, connection = self._connector.connect()
        self._role.on_open(connection, self.generation + 1)
        self._current.replace(self._link.set_up(connection.frame_max, self._monotonic()))
        self._moving.opened(is_first=self._connector.is_at_first_node)
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
                # Read before the work: what was left before `stop` is still written.
                stopping = self._current.is_stopping
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
                if self._moving.is_over():
                    self._leave()
                    return
                if self._monotonic() >= check_at:
                    connection.heartbeat_tick()
                    checks += 1
                    if checks % _HEARTBEAT_CHECKS == 0:
                        self._role.probe()
                    check_at = self._monotonic() + interval

    def _look(self) -> None:
        self._connector.look_at_first_node(
            lambda is_reachable: self.post(lambda: self._moving.looked(is_reachable=is_reachable))
        )

    def _leave(self) -> None:
        """Close a connection in good order, to open one to the first node."""
        self._connector.return_to_first_node()
        log.info("connection_left session=%s: another node is the first of its order", self._name)
        self._close()
        self._discard()

    def _answer(self, question: Question[T]) -> None:
        if not question.begin():
            return
        if self.is_open:
            question.put()
        else:
            question.refuse(self.unavailable())

    def _read_all(self) -> None:
        connection = self._link.connection
        assert connection is not None  # noqa: S101 - a question is put only while it is open
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
        moments = (until, self._role.next_deadline(), self._moving.next_deadline(), self._mailbox.next_due())
        if not may_wait or self._current.is_stopping or (self.is_open and self._role.has_work()):
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
            while not self._current.is_stopping and self._monotonic() < until:
                self._work()
                self._wait(selector, until)

    def _has_proved(self) -> bool:
        """Return whether the connection that is lost next has done work, or has lived for a while."""
        link = self._link
        return link.state == "open" and (self._role.has_worked() or self._monotonic() - link.since >= PROVED_AFTER)

    def _lose(self, error: BaseException) -> bool:
        """Discard the connection, and return whether to go on."""
        link = self._link
        if self._current.is_stopping and link.step is not None and isinstance(error, OSError):
            error = BrokerUnavailableError(f"stopped while {link.step.text}")  # which has cut it
        self._discard(error)
        ends = self.generation == 0 and self._first_failure == "end" and self._is_final(error)
        is_told = ends and isinstance(error, TaskrouteError)  # `wait_open` raises it, and the connection did open
        if not (self._current.is_stopping or is_told):
            event = "connection_lost" if link.state == "open" else "connect_failed"
            # A defect shows where it is; what the network and the broker do takes one line.
            raised = None if _is_expected(error) else self._disclosure.of(error)
            log.warning("%s session=%s error=%s", event, self._name, self._told(error), raised=raised)
        if ends:
            return False  # another attempt does not mend it
        error.with_traceback(None)  # whose frames hold the connection
        return True

    def _is_final(self, error: BaseException) -> bool:
        """Return whether a session that was never open ends over it."""
        return not _passes(error) or self._link.is_refused_everywhere

    def _discard(self, error: BaseException | None = None) -> None:
        link = self._link
        if link.state not in ("opening", "open"):
            if error is not None:
                self._current.replace(link.failed(error))
            return
        with ExitStack() as steps:  # each has its turn, whatever another one raises
            if link.state == "open":
                steps.callback(self._tell_lost, error)
            steps.callback(self._moving.lost)
            if link.connection is not None:
                steps.callback(collect, link.connection)
            self._current.replace(link.lost(error, self._monotonic()))

    def _tell_lost(self, error: BaseException | None) -> None:
        self._role.on_lost(error)
        if self._emit is not None:
            self._emit(Disconnected(session=self._name, error=None if error is None else self._told(error)))

    def _told(self, error: BaseException) -> str:
        is_telling = _is_expected(error) or self._disclosure.detail == "text"
        return describe_error(error) if is_telling else self._disclosure.of(error).error

    def _finish(self) -> None:
        """Close in good order, and resolve what is left."""
        with ExitStack() as steps:  # last in, first out; each has its turn, whatever another one raises
            steps.callback(self._on_end)
            steps.callback(log.info, "session_closed session=%s", self._name)
            steps.callback(self._mailbox.release)
            steps.callback(self._role.on_end)
            steps.callback(self._make_last_calls)
            steps.callback(self._mailbox.close)
            steps.callback(self._end_link)
            steps.callback(self._discard)
            self._close()

    def _end_link(self) -> None:
        if self._link.state != "ended":
            self._current.replace(self._link.ended())

    def _make_last_calls(self) -> None:
        while True:
            try:
                return self._mailbox.make_calls()
            except BaseException as error:  # noqa: BLE001 - one that fails must not keep the others from being made
                log.warning("call_failed session=%s error=%s", self._name, self._told(error))

    def _close(self) -> None:
        link = self._link
        if link.state != "open" or link.connection is None or link.is_blocked:
            return  # a broker that blocks would not read the farewell either
        try:
            self._role.on_leave()
            link.connection.close()
        except Exception as error:  # noqa: BLE001 - the connection is being left anyway
            log.debug("close_failed session=%s error=%s", self._name, describe_error(error))

    def _on_blocked(self, reason: str) -> None:
        self._current.replace(self._link.blocked(True))
        self._role.on_blocked(True)
        log.warning("broker_blocked session=%s reason=%s", self._name, reason)

    def _on_unblocked(self) -> None:
        self._current.replace(self._link.blocked(False))
        self._role.on_blocked(False)
        log.info("broker_unblocked session=%s", self._name)


def _is_expected(error: BaseException) -> bool:
    """Return whether an error is one of the broker or the network, and no defect."""
    return isinstance(error, OSError | amqp.AMQPError | TaskrouteError)


def _passes(error: BaseException) -> bool:
    """Return whether another attempt may end otherwise, by the broker, the network or who knows the URL."""
    if isinstance(error, TaskrouteError):
        return isinstance(error, BrokerUnavailableError)
    return isinstance(error, OSError | amqp.AMQPError)
