"""Session: one thread that owns one broker connection: wake-up, heartbeat, reconnect, generation.

Nobody else touches the connection, with one exception: past a shutdown deadline `sever` shuts its socket down.
What the connection is for is a `Role`: consuming (`consumer`) or publishing with confirms (`confirms`).
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import amqp

from taskroute.broker.connection import connect
from taskroute.broker.url import BrokerUrl
from taskroute.broker.wakeup import Wakeup
from taskroute.errors import BrokerUnavailableError, ClosedError, ConfigurationError, TaskrouteError
from taskroute.instrumentation.events import Connected, Disconnected, Event

log = logging.getLogger(__name__)

EVENTS_PER_PASS: Final = 256
"""Frames' worth of events read before they are handed over. More would delay acknowledgements and heartbeats."""

FIRST_DELAY: Final = 0.1
LONGEST_DELAY: Final = 5.0
"""Seconds before the first and before a late attempt to reconnect; jittered."""

MAX_HEARTBEAT: Final = 65_535

_HEARTBEAT_CHECKS: Final = 8
"""Checks in a heartbeat interval: missed heartbeats are noticed within two intervals and a bit."""


class Role(Protocol):
    """What a session's connection is for. Every method is called by the session's thread alone."""

    def opened(self, connection: Any, generation: int) -> None:
        """Set up a fresh connection: declare, consume. An error discards the connection."""

    def flush(self) -> None:
        """Write what other threads have left since."""

    def has_work(self) -> bool:
        """Whether there is something to flush now."""

    def received(self) -> None:
        """Hand over what the last drain has read."""

    def probe(self) -> None:
        """Look, once in a heartbeat interval, whether the connection is still of use. An error discards it."""

    def leave(self) -> None:
        """Finish with a connection that is closed next."""

    def lost(self, error: BaseException | None) -> None:
        """The connection is gone, and why, None if it was closed: forget all that belonged to it."""

    def next_deadline(self) -> float | None:
        """When `expire` has to be called, by the session's clock."""

    def expire(self, now: float) -> None:
        """Give up what is due. Called connected or not."""


class Session:
    """Runs a `Role` on a connection that it opens, keeps and reopens.

    Thread-safe: `start`, `post`, `call_later`, `wake`, `wait_open`, `stop`, `join`, `sever`, and the properties.

    Args:
        urls: nodes, tried in turn.
        role: what the connection is for.
        name: of the thread and, for people, of the connection on the broker.
        heartbeat: seconds, at least 1.
        gives_up: whether to end when the first connection cannot be set up for a reason that will not mend itself.
        on_end: called by the session's thread as its last act.
        tell: is told of connections that open and end, by the session's thread; None: nobody listens.
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
        gives_up: bool = True,
        on_end: Callable[[], object] = lambda: None,
        tell: Callable[[Event], object] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(heartbeat, bool) or not isinstance(heartbeat, int | float) or not 1 <= heartbeat <= MAX_HEARTBEAT:
            raise ConfigurationError(f"heartbeat={heartbeat!r} has to be between 1 and {MAX_HEARTBEAT} seconds")
        self._urls = tuple(urls)
        self._role = role
        self._name = name
        self._heartbeat = heartbeat
        self._gives_up = gives_up
        self._on_end = on_end
        self._tell = tell
        self._monotonic = monotonic
        self._nodes: Iterator[BrokerUrl] = itertools.cycle(self._urls)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._wakeup: Wakeup  # made with the thread that waits for it, so that a session never started holds nothing
        self._posted: deque[Callable[[], None]] = deque()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_numbers = itertools.count()
        self._changed = threading.Condition()
        self._waiting = False
        self._stopping = False
        self._finished = False
        self._blocked = False
        self._connection: Any = None
        self._opening: Any = None  # connected, and not set up yet
        self._generation = 0
        self._error: BaseException | None = None
        self._process = os.getpid()
        self._jitter = random.Random()  # noqa: S311 - of its own: the process's numbers are its users'
        self._attempts = 0  # since it was last open
        self._closed_since = monotonic()

    @property
    def generation(self) -> int:
        """How many connections this session has opened."""
        return self._generation

    @property
    def is_open(self) -> bool:
        """Whether its connection is open and set up."""
        return self._connection is not None

    @property
    def is_blocked(self) -> bool:
        """Whether the broker has said that it does not read from this connection (an alarm)."""
        return self._blocked

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs, and has not begun its last act."""
        return self._thread.is_alive() and not self._finished

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
            OSError, RuntimeError: no descriptor, no thread is to be had now; it may be started again.
        """
        for url in self._urls:
            if warning := url.warning:
                log.warning("insecure session=%s url=%s: %s", self._name, url, warning)
        self._wakeup = Wakeup()
        try:
            self._thread.start()
        except RuntimeError:
            self._wakeup.close()
            raise

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` run on the session's thread, soon, connected or not."""
        self._posted.append(call)
        self.wake()

    def call_later(self, delay: float, call: Callable[[], None]) -> None:
        """Have `call` run on the session's thread after `delay` seconds."""
        due = self._monotonic() + delay
        self.post(lambda: heapq.heappush(self._timers, (due, next(self._timer_numbers), call)))

    def wake(self) -> None:
        """Have the thread look for work. Costs a system call only if it waits, and has not been woken yet."""
        if self._waiting:
            self._waiting = False  # before the wake-up: whoever comes until the thread runs need not wake it again
            self._wakeup.wake()

    def wait_open(self, timeout: float | None) -> None:
        """Wait until the connection is open and set up.

        Raises:
            BrokerUnavailableError: not within `timeout` seconds; None waits for as long as it takes.
            TaskrouteError: what the role said is wrong and will not mend itself (a mismatch, say).
        """
        with self._changed:
            self._changed.wait_for(lambda: self.is_open or self._finished, timeout)
            if self.is_open:
                return
        raise self.failure()

    def failure(self) -> TaskrouteError:
        """Return why there is no connection: what the role said is wrong, or that the broker cannot be reached."""
        return self._error if isinstance(self._error, TaskrouteError) else self.unavailable()

    def unavailable(self) -> BrokerUnavailableError:
        """Return an error that says which nodes were tried, how often, for how long, and what the last one said."""
        nodes = ", ".join(str(url) for url in self._urls)
        if self.is_open:
            why = "the broker has blocked publishing" if self._blocked else "the broker does not keep up"
            return BrokerUnavailableError(f"{nodes}: {why}; the message was never written")
        elapsed = self._monotonic() - self._closed_since
        tried = f"{self._attempts} attempts in {elapsed:.1f} s"
        return BrokerUnavailableError(f"no connection to {nodes}: {tried}: {describe_error(self._error)}")

    def stop(self) -> None:
        """Have the thread flush, close the connection and end. Does not wait for it; see `join`."""
        self._stopping = True
        if self._thread.ident is not None:
            self._wakeup.wake()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended; whether it has."""
        if self._thread.ident is not None:
            self._thread.join(max(timeout, 0))
        return not self._thread.is_alive()

    def sever(self) -> None:
        """Shut the socket down under a thread that does not end: its next read or write fails."""
        # Not `connection.sock`: py-amqp connects anew when it is asked for one that it does not have.
        sock = getattr(getattr(self._connection or self._opening, "_transport", None), "sock", None)
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
                generation = self._generation
                try:
                    self._pause(delay * self._jitter.uniform(0.5, 1.0))
                    self._open()
                    self._serve()
                except Exception as error:  # noqa: BLE001 - whatever happened, the connection cannot be trusted
                    if not self._lose(error):
                        return
                failed_again = delay and self._generation == generation
                delay = min(delay * 2, LONGEST_DELAY) if failed_again else FIRST_DELAY
        finally:
            self._finish()

    def _open(self) -> None:
        url = next(self._nodes)
        self._blocked = False
        self._attempts += 1
        log.debug("connecting session=%s url=%s", self._name, url)
        connection = connect(
            url,
            name=self._name,
            heartbeat=self._heartbeat,
            on_blocked=self._on_blocked,
            on_unblocked=self._on_unblocked,
            on_created=self._on_created,
        )
        try:
            self._role.opened(connection, self._generation + 1)
        except BaseException:
            collect(connection)
            raise
        finally:
            self._opening = None
        with self._changed:
            self._connection = connection
            self._generation += 1
            self._attempts = 0
            self._changed.notify_all()
        log.info("connected session=%s url=%s generation=%d", self._name, url, self._generation)
        if self._tell is not None:
            self._tell(Connected(session=self._name, generation=self._generation))

    def _serve(self) -> None:
        connection = self._connection
        with selectors.DefaultSelector() as selector:
            selector.register(connection.sock, selectors.EVENT_READ)
            selector.register(self._wakeup.fileno(), selectors.EVENT_READ)
            interval = (connection.heartbeat or self._heartbeat) / _HEARTBEAT_CHECKS
            check_at = self._monotonic() + interval
            checks = 0
            more, drained = True, -1
            while True:
                stopping = self._stopping  # looked at before the work: what was left before `stop` is still written
                self._work()
                if stopping:
                    return
                # What waited for an answer may have read more than the answer: that is in no socket any more.
                more = more or connection.bytes_recv != drained or self._wait(selector, check_at)
                if more:
                    more = connection.drain_available(EVENTS_PER_PASS)
                    drained = connection.bytes_recv
                self._role.received()
                if self._monotonic() >= check_at:
                    connection.heartbeat_tick()
                    checks += 1
                    if checks % _HEARTBEAT_CHECKS == 0:
                        self._role.probe()
                    check_at = self._monotonic() + interval

    def _work(self) -> None:
        """Run what was posted and what is due, then let the role write."""
        while self._posted:
            self._posted.popleft()()
        now = self._monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()
        deadline = self._role.next_deadline()
        if deadline is not None and deadline <= now:
            self._role.expire(now)
        if self._connection is not None:
            self._connection.write_together(self._role.flush)

    def _wait(self, selector: selectors.BaseSelector, until: float | None) -> bool:
        """Wait for work, for the broker, or until a moment that matters; whether the broker has something to say."""
        self._waiting = True
        # Looked at after `_waiting` is set: a thread that left work before saw nobody to wake.
        moments = [moment for moment in (until, self._role.next_deadline(), self._next_timer()) if moment is not None]
        if self._posted or self._stopping or (self._connection is not None and self._role.has_work()):
            timeout: float | None = 0.0
        else:
            timeout = max(0.0, min(moments) - self._monotonic()) if moments else None
        ready = [key.fd for key, _ in selector.select(timeout)]
        self._waiting = False
        woken = self._wakeup.fileno() in ready
        if woken:
            self._wakeup.clear()
        return len(ready) > woken

    def _next_timer(self) -> float | None:
        return self._timers[0][0] if self._timers else None

    def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, still doing what is posted and due."""
        until = self._monotonic() + seconds
        with selectors.PollSelector() as selector:  # it takes no descriptor: there may be none left
            selector.register(self._wakeup.fileno(), selectors.EVENT_READ)
            while not self._stopping and self._monotonic() < until:
                self._work()
                self._wait(selector, until)

    def _lose(self, error: BaseException) -> bool:
        """Discard the connection; whether to go on."""
        was_open = self._connection is not None
        self._error = error
        self._discard(error)
        expected = isinstance(error, OSError | amqp.AMQPError | TaskrouteError)
        if not self._stopping:
            event = "connection_lost" if was_open else "connect_failed"
            # A defect shows where it is; what the network and the broker do is told in a line.
            trace = None if expected else error
            log.warning("%s session=%s error=%s", event, self._name, describe_error(error), exc_info=trace)
        if self._gives_up and self._generation == 0 and (not expected or isinstance(error, TaskrouteError)):
            return False  # reconnecting does not mend it
        self._error = error.with_traceback(None)  # whose frames hold the connection
        return True

    def _discard(self, error: BaseException | None = None) -> None:
        connection = self._connection
        with self._changed:
            self._connection = None
            self._changed.notify_all()
        if connection is not None:
            self._closed_since = self._monotonic()
            collect(connection)
            self._role.lost(error)
            if self._tell is not None:
                self._tell(Disconnected(session=self._name, error=None if error is None else describe_error(error)))

    def _finish(self) -> None:
        """Close in good order."""
        connection = self._connection
        if connection is not None:
            try:
                if not self._blocked:  # the broker would not read the farewell either
                    self._role.leave()
                    connection.close()
            except Exception as error:  # noqa: BLE001 - it is being left anyway
                log.debug("close_failed session=%s error=%s", self._name, describe_error(error))
            self._discard()
        with self._changed:
            self._finished = True
            self._changed.notify_all()
        while self._posted:
            self._posted.popleft()()
        self._role.expire(float("inf"))
        self._wakeup.close()
        log.info("session_closed session=%s", self._name)
        self._on_end()

    def _on_created(self, connection: Any) -> None:
        self._opening = connection

    def _on_blocked(self, reason: str) -> None:
        self._blocked = True
        log.warning("broker_blocked session=%s reason=%s", self._name, reason)

    def _on_unblocked(self) -> None:
        self._blocked = False
        log.info("broker_unblocked session=%s", self._name)


def collect(connection: Any) -> None:
    """Drop a connection without a word to the broker, who may not be there to answer."""
    try:
        connection.collect()
    except Exception as error:  # noqa: BLE001 - nothing more can be done for it
        log.debug("collect_failed error=%s", describe_error(error))


def describe_error(error: BaseException | None) -> str:
    """Type and first line of an error, on one line."""
    if error is None:
        return "nothing was tried yet"
    text = str(error).splitlines()[0][:200] if str(error) else ""
    return f"{type(error).__name__}({text!r})" if text else type(error).__name__


def closed(what: str) -> ClosedError:
    """Return the error of a use after closing."""
    return ClosedError(f"the {what} is closed: make a new one")
