"""The session's own promises, on the embedded broker."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
import uuid
from queue import SimpleQueue
from typing import Any

import pytest

from taskroute.broker.session import Session
from taskroute.broker.url import parse_urls

DEADLINE = 30.0


class LeavesWorkAtTheLastMoment:
    """A role that is left work, and whose session is stopped, right after it has written what there was."""

    session: Session
    left = 0
    written = 0

    def opened(self, connection: Any, generation: int) -> None: ...

    def flush(self) -> None:
        self.written, written_before = self.left, self.written
        if not written_before and not self.left:
            self.left = 1
            self.session.stop()

    def has_work(self) -> bool:
        return self.left > self.written

    def received(self) -> None: ...

    def probe(self) -> None: ...

    def leave(self) -> None: ...

    def lost(self, error: BaseException | None) -> None: ...

    def next_deadline(self) -> float | None:
        return None

    def expire(self, now: float) -> None: ...


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
        if self.session._waiting:
            self.could_wake.set()
        return None


def test_what_is_left_while_a_session_asks_how_long_to_wait_wakes_it() -> None:
    role = Watching()
    role.session = Session(parse_urls(f"memory://{uuid.uuid4().hex}"), role, name="test", heartbeat=30)
    role.session.start()
    assert role.could_wake.wait(DEADLINE)
    role.session.stop()
    assert role.session.join(DEADLINE)


class Failures(logging.Handler):
    """Attempts of a session to connect that have failed, as its log tells them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: SimpleQueue[str] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("connect_failed session=test "):
            self.lines.put(record.getMessage())


def test_waiting_for_the_next_attempt_takes_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    failures, role, log = Failures(), LeavesWorkAtTheLastMoment(), logging.getLogger("taskroute")
    monkeypatch.setattr(selectors, "DefaultSelector", none_left)
    log.addHandler(failures)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        urls = parse_urls(f"amqp://guest:guest@127.0.0.1:{taken.getsockname()[1]}")
        role.session = Session(urls, role, name="test", heartbeat=30)
        role.session.start()
        errors = [failures.lines.get(timeout=DEADLINE) for _ in range(2)]
        role.session.stop()
        assert role.session.join(DEADLINE)
    log.removeHandler(failures)
    assert all("ConnectionRefusedError" in error for error in errors)
