"""The connections of this process cut at a frame, as the death of the process cuts them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from amqp.transport import TCPTransport
from tests.kit.waiting import until

from taskroute.broker.session import Session


@contextmanager
def cut_at(nth: int) -> Iterator[Callable[[], bool]]:
    """Cut every connection of this process at something that is about to be sent, as the death of the process does.

    What is yielded says whether it has come to that.
    """
    original, sent, is_cut = TCPTransport.write, itertools.count(1), threading.Event()
    original_wait = Session.wait_open

    def write(transport: Any, data: Any) -> None:
        if is_cut.is_set() or next(sent) >= nth:
            is_cut.set()
            transport.sock.close()
            raise ConnectionResetError("cut by the test")
        original(transport, data)

    def wait_open(session: Session, timeout: float | None) -> None:
        """Wait for as long as a slow machine needs; once they are cut there is nothing to wait for."""
        until(lambda: session.is_open or is_cut.is_set() or not session.is_alive)
        original_wait(session, 0.1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TCPTransport, "write", write)
        patch.setattr(Session, "wait_open", wait_open)
        yield is_cut.is_set
