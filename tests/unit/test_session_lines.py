"""One exception at any line of a session's thread: it works again, or says that it has ended. Nothing hangs."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import pytest
from tests.kit.inside import SESSIONS_THREAD, THREADS_FIRST_CALL, close_descriptors, is_waiting
from tests.kit.waiting import DEADLINE, until

from taskroute.broker import session as sessions
from taskroute.broker.roles.role import Role
from taskroute.broker.session import Session
from taskroute.broker.url import Nodes
from taskroute.errors import BrokerUnavailableError, ClosedError, TaskrouteError

Line = tuple[CodeType, int]


@contextmanager
def raising_at(line: Line | None, error: type[BaseException], seen: set[Line]) -> Iterator[None]:
    """Have threads that start now raise an error when they first come to a line; note the lines that they come to."""
    is_due = [True]

    def trace(frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        if frame.f_code not in SESSIONS_THREAD:
            return None
        here = frame.f_code, frame.f_lineno
        if event == "line":
            seen.add(here)
            if here == line and is_due:
                is_due.clear()
                raise error("a test")
        return trace

    threading.settrace(trace)
    try:
        yield
    finally:
        threading.settrace(None)


def lead_a_life(line: Line | None, error: type[BaseException]) -> set[Line]:
    """Open a connection, ask it something, lose it, ask again, stop; return the lines that the thread came to."""
    seen, ended = set[Line](), threading.Event()
    nodes = Nodes(f"memory://{uuid.uuid4().hex}")
    session = Session(nodes, Role(), name="test", heartbeat=30, first_failure="retry", on_end=ended.set)

    with raising_at(line, error, seen):
        session.start()
    try:
        session.wait_open(DEADLINE)
        until(lambda: is_waiting(session) or not session.is_alive)  # else there may be work whenever it is about to
        session.post(lose_connection)
        until(lambda: session.generation > 1 or not session.is_alive)
        session.wait_open(DEADLINE)
        until(lambda: is_answered(session))
    except TaskrouteError:
        until(lambda: not session.is_alive)  # it has ended, and who asks is told
    session.stop()
    assert session.join(DEADLINE)
    assert not session.is_alive
    assert ended.is_set() or (line is not None and line[0] is THREADS_FIRST_CALL)  # before its first line, or its last
    close_descriptors(session)  # a thread that does not even come to its first line has not
    return seen


def lose_connection() -> None:
    raise ConnectionResetError("a test")


def is_answered(session: Session) -> bool:
    """Return whether a question is answered. It is not while the connection is made anew, or if it raises.

    Raises:
        ClosedError: the session has ended.
    """
    if not session.is_alive:
        raise ClosedError
    try:
        return session.ask(lambda: True, 0.1)
    except (BrokerUnavailableError, ValueError):
        return False


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "FIRST_DELAY", 0.0)
    monkeypatch.setattr(sessions, "LONGEST_DELAY", 0.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # what this test is about
@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_exception_at_any_line_is_survived_or_ends_the_session(error: type[BaseException]) -> None:
    lines = lead_a_life(None, error)
    assert {code for code, _ in lines} == SESSIONS_THREAD

    for line in sorted(lines, key=lambda line: (line[0].co_name, line[1])):
        lead_a_life(line, error)
