"""The connections of this process cut at a frame, as the death of the process cuts them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from amqp.transport import TCPTransport

from taskroute.operate.dead_letters import sending


@contextmanager
def cut_at(nth: int) -> Iterator[Callable[[], bool]]:
    """Cut every connection of this process at something that is about to be sent, as the death of the process does.

    What is yielded says whether it has come to that.
    """
    original, sent, is_cut = TCPTransport.write, itertools.count(1), threading.Event()

    def write(transport: Any, data: Any) -> None:
        if is_cut.is_set() or next(sent) >= nth:
            is_cut.set()
            transport.sock.close()
            raise ConnectionResetError("cut by the test")
        original(transport, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TCPTransport, "write", write)
        patch.setattr(sending, "CONNECT_TIME", 0.1)
        yield is_cut.is_set
