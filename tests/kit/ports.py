"""Ports of this machine behind which nobody speaks AMQP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


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
