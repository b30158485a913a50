"""Dial: a TCP connection to a name, whichever of its addresses takes it. Called on a session's thread."""

from __future__ import annotations

import errno
import os
import random
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import groupby
from typing import Any, Final, Protocol

_LOOK_TIME: Final = 0.5
"""Seconds for a look whether an address takes connections."""


class Progress(Protocol):
    """What is told each step of connecting before the thread waits for it."""

    def __call__(self, step: str, *, can_be_cut: bool = True) -> None:
        """Take note of a step, or raise what ends the attempt.

        Args:
            step: for people, such as ``waiting for the broker's connection.start``.
            can_be_cut: whether shutting the socket down ends it.
        """


def tell_nobody(step: str, *, can_be_cut: bool = True) -> None:
    """Take no note of a step."""


def dial(host: str, port: int, timeout: float, *, on_step: Progress, on_socket: Callable[[Any], None]) -> None:
    """Try every address of a host in turn, until one takes the connection.

    Those of one family come in random order, as a name may stand for the nodes of a cluster.

    Args:
        host: a name, which is looked up, or an address.
        port: of each of them.
        timeout: seconds for all of them; each may take its equal share of what is left.
        on_step: is told each address; asked again after each wait.
        on_socket: is given each socket before it is used, the one that is connected last.

    Raises:
        OSError: no address took it; its text names each one.
        socket.gaierror: the name has none.
    """
    on_step(f"waiting for a lookup of {host}", can_be_cut=False)
    failures: list[tuple[str, OSError]] = []
    found = _shuffled(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    end = time.monotonic() + timeout
    for position, (family, kind, protocol, _, address) in enumerate(found):
        number, its_port = str(address[0]), int(address[1])
        shown = f"[{number}]:{its_port}" if family == socket.AF_INET6 else f"{number}:{its_port}"
        try:
            sock = socket.socket(family, kind, protocol)
            on_socket(sock)
            share = max(end - time.monotonic(), 0) / (len(found) - position)
            _connect(sock, address, share, f"waiting for {shown} to take a connection", on_step)
        except OSError as error:
            failures.append((shown, error))
        else:
            return
    raise OSError(failures[-1][1].errno, "; ".join(f"{shown}: {error.strerror}" for shown, error in failures))


def is_reachable(host: str, port: int) -> bool:
    """Return whether a host takes connections. Takes half a second for each address at most, and a lookup."""
    with suppress(OSError), socket.create_connection((host, port), _LOOK_TIME):
        return True
    return False


def _shuffled(found: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return addresses in random order, but each family at its place: the system knows which one works here."""
    shuffled: list[tuple[Any, ...]] = []
    for _, addresses in groupby(found, key=lambda one: one[0]):
        among = list(addresses)
        random.SystemRandom().shuffle(among)
        shuffled += among
    return shuffled


def _connect(sock: socket.socket, address: Any, timeout: float, step: str, on_step: Progress) -> None:
    """Connect a socket. Who shuts it down after `on_step` was told ends the wait: before, there is nothing to end."""
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        on_step(step)
        if code == errno.EINPROGRESS:
            with selectors.PollSelector() as selector:
                selector.register(sock, selectors.EVENT_WRITE)
                was_answered = selector.select(timeout)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if was_answered else errno.ETIMEDOUT
            on_step(step)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
