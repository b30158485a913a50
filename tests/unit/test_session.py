"""Session: when it wakes, what it writes before it ends, and what it opens, on the embedded broker."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
import uuid

import pytest
from tests.kit.calls import logged
from tests.kit.inside import is_waiting
from tests.kit.waiting import DEADLINE

from taskroute.broker.roles.role import Role
from taskroute.broker.session import Session
from taskroute.broker.url import parse_urls


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
    role.session = Session(parse_urls(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)

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
    role.session = Session(parse_urls(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)

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
        urls = parse_urls(f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}")
        role.session = Session(urls, role, name="test", heartbeat=30)
        role.session.start()
        errors = failures.wait(2)
        role.session.stop()
        assert role.session.join(DEADLINE)

    assert all("ConnectionRefusedError" in error for error in errors)
