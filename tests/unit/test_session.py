"""The session's own promises, on the embedded broker."""

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


class LeavesWorkAtTheLastMoment(Role):
    """A role that is left work, and whose session is stopped, right after it has written what there was."""

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


def test_what_is_left_before_stop_is_written_before_the_connection_closes() -> None:
    role = LeavesWorkAtTheLastMoment()
    role.session = Session(parse_urls(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)
    role.session.start()
    assert role.session.join(DEADLINE)
    assert role.written == 1


class Watching(LeavesWorkAtTheLastMoment):
    """A role that notes whether its session can be woken while it is asked for its deadline."""

    def __init__(self) -> None:
        self.could_wake = threading.Event()

    def flush(self) -> None: ...

    def next_deadline(self) -> float | None:
        if is_waiting(self.session):
            self.could_wake.set()
        return None


def test_what_is_left_while_a_session_asks_how_long_to_wait_wakes_it() -> None:
    role = Watching()
    role.session = Session(parse_urls(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)
    role.session.start()
    assert role.could_wake.wait(DEADLINE)
    role.session.stop()
    assert role.session.join(DEADLINE)


def test_waiting_for_the_next_attempt_takes_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    role = LeavesWorkAtTheLastMoment()
    monkeypatch.setattr(selectors, "DefaultSelector", none_left)
    with socket.socket() as taken, logged("connect_failed session=test ") as failures:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        urls = parse_urls(f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}")
        role.session = Session(urls, role, name="test", heartbeat=30)
        role.session.start()
        errors = failures.wait(2)
        role.session.stop()
        assert role.session.join(DEADLINE)
    assert all("ConnectionRefusedError" in error for error in errors)
