"""Session: when it wakes, what it writes before it ends, and what it opens, on the embedded broker."""

from __future__ import annotations

import errno
import selectors
import socket
import sys
import threading
import uuid

import pytest
from tests.kit.calls import logged
from tests.kit.inside import is_waiting
from tests.kit.waiting import DEADLINE, until

from taskroute import BrokerUnavailableError, ClosedError, ConfigurationError, Publisher, Topology
from taskroute.broker import session as sessions
from taskroute.broker.roles.role import Role
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes


class GetsWorkAtStop(Role):
    """A role that gets work, and whose session is stopped, at the end of its first flush."""

    session: Session
    left = 0
    written = 0

    def flush(self) -> None:
        self.written, written_before = self.left, self.written
        if not written_before and not self.left:
            self.left = 1
            self.session.stop()

    def has_work(self) -> bool:
        return self.left > self.written


def test_work_left_before_stop_is_written_before_the_close() -> None:
    """A session that is stopped first writes what its role still has."""
    role = GetsWorkAtStop()
    role.session = Session(Nodes(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)

    role.session.start()

    assert role.session.join(DEADLINE)
    assert role.written == 1


class NotesWaiting(GetsWorkAtStop):
    """A role that notes whether its session can be woken while it is asked for its deadline."""

    def __init__(self) -> None:
        self.could_wake = threading.Event()

    def flush(self) -> None: ...

    def next_deadline(self) -> float | None:
        if is_waiting(self.session):
            self.could_wake.set()
        return None


def test_session_can_be_woken_while_it_computes_its_wait() -> None:
    """Work left while the session asks its role for a deadline must not wait for that deadline."""
    role = NotesWaiting()
    role.session = Session(Nodes(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)

    role.session.start()
    assert role.could_wake.wait(DEADLINE)

    role.session.stop()
    assert role.session.join(DEADLINE)


def test_session_between_connect_attempts_opens_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait must work in a process that has no descriptor left."""

    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    role = GetsWorkAtStop()
    monkeypatch.setattr(selectors, "DefaultSelector", none_left)

    with socket.socket() as taken, logged("connect_failed session=test ") as failures:
        taken.bind(("127.0.0.1", 0))  # no server listens
        urls = Nodes(f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}")
        role.session = Session(urls, role, name="test", heartbeat=30)
        role.session.start()
        errors = failures.wait(2)
        role.session.stop()
        assert role.session.join(DEADLINE)

    assert all("ConnectionRefusedError" in error for error in errors)


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class EndsConnections(Role):
    """A role whose connections end after some seconds, with or without work done, and that notes the pauses."""

    def __init__(self, clock: Clock, *, lifetime: float, works: bool) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._works = works
        self._opened_at = self._ended_at = 0.0
        self.pauses: list[float] = []

    def on_open(self, connection: object, generation: int) -> None:
        self._opened_at = self._clock.now
        self.pauses.append(self._opened_at - self._ended_at)

    def flush(self) -> None:
        if self._clock.now >= self._opened_at + self._lifetime:
            self._ended_at = self._clock.now
            raise ConnectionResetError("a test")

    def has_worked(self) -> bool:
        return self._works


@pytest.mark.parametrize(
    ("lifetime", "works", "grows"), [(0.0, False, True), (0.0, True, False), (sessions.PROVED_AFTER, False, False)]
)
def test_pauses_grow_unless_a_connection_works_or_lives_a_while(lifetime: float, works: bool, grows: bool) -> None:
    """What has ended a connection that lived for a moment may end the next one: a message, for example."""
    clock, step = Clock(), 0.25
    role = EndsConnections(clock, lifetime=lifetime, works=works)
    session = Session(Nodes(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30, monotonic=clock)
    session.start()

    while len(role.pauses) < 9:
        until(lambda: is_waiting(session))
        clock.now += step
        session.wake()
    session.stop()

    assert session.join(DEADLINE)
    assert (role.pauses[8] >= sessions.LONGEST_DELAY / 2) == grows
    assert grows or max(role.pauses) <= sessions.FIRST_DELAY + step


@pytest.mark.filterwarnings("ignore:Exception in thread test")  # it is what this test is about
@pytest.mark.parametrize("is_open", [True, False])
def test_exit_raised_in_a_call_ends_the_session_and_is_told(is_open: bool) -> None:
    """What ended the thread is in the error and the log, and nobody is left waiting."""
    url = f"memory://{uuid.uuid4().hex}"
    session = Session(Nodes(url if is_open else unready), Role(), name="test", heartbeat=30)
    event = "connection_lost" if is_open else "connect_failed"

    with logged(f"{event} session=test error=SystemExit") as lost:
        session.start()
        if is_open:
            session.wait_open(DEADLINE)
        session.post(sys.exit)
        with pytest.raises((BrokerUnavailableError, ClosedError)):
            session.ask(lambda: threading.Event().wait(DEADLINE), DEADLINE)
        assert session.join(DEADLINE)
        assert len(lost.calls) == 1

    assert not session.is_alive
    assert "SystemExit" in str(session.failure())
    with pytest.raises(ClosedError):
        session.ask(lambda: None, DEADLINE)


@pytest.mark.filterwarnings("ignore:Exception in thread test")  # it is what this test is about
def test_exit_raised_in_a_question_is_the_askers_error_and_no_exit() -> None:
    session = Session(Nodes(f"memory://{uuid.uuid4().hex}"), Role(), name="test", heartbeat=30)
    session.start()
    session.wait_open(DEADLINE)

    with pytest.raises(BrokerUnavailableError, match="the session has ended: SystemExit"):
        session.ask(sys.exit, DEADLINE)

    assert session.join(DEADLINE)


def unready() -> str:
    """Return no URL: as a function that does not know it yet."""
    raise LookupError


def test_name_that_outgrows_the_first_frame_is_refused() -> None:
    """It is sent before the broker has agreed to more than 4,096 bytes: it would never connect."""
    with pytest.raises(ConfigurationError, match=r"the name .* has 300 bytes"):
        Publisher("memory://", Topology(), name="w" * 300)
