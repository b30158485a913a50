"""Ports of this machine: kept for somebody who listens later, and such behind which nobody speaks AMQP."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class KeptPort:
    """A port that nobody is given who asks for any, such as a test beside this one. Who knows it may listen on it.

    Linux lets one listen where another is bound and does not, if both have said that an address may be used again. It
    gives nobody a port that is bound, as this one was before that was said.
    """

    def __init__(self) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.number: int = bound.getsockname()[1]
            self._descriptors = [bound.detach()]

    def let_go(self) -> None:
        """Keep it no longer. Once more does nothing. Any thread."""
        with suppress(IndexError):
            os.close(self._descriptors.pop())


@contextmanager
def kept_port() -> Iterator[int]:
    """A port that is kept for as long as the block takes."""
    port = KeptPort()
    try:
        yield port.number
    finally:
        port.let_go()


@contextmanager
def silent_port() -> Iterator[int]:
    """The port of a peer that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@contextmanager
def full_port() -> Iterator[int]:
    """The port of a peer whose queue of connections is full: a further one is not answered."""
    with socket.socket() as listener, socket.socket() as only:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        only.connect(listener.getsockname())
        yield listener.getsockname()[1]
