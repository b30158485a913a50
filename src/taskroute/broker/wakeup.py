"""Wakeup: a file descriptor by which any thread wakes the thread that waits in a selector."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

SignalHandler = Callable[[int, FrameType | None], object]


class Wakeup:
    """`wake` from any thread makes `fileno` readable until `clear`. Close it from the waiting thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._reader.fileno()

    @contextmanager
    def woken_by_signals(self, handlers: Mapping[signal.Signals, SignalHandler]) -> Iterator[None]:
        """Take signals in this block, each of which makes it readable as well. In the main thread only.

        The interpreter itself writes to the descriptor, whenever and to whichever thread a signal comes.
        """
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        descriptor = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in previous.items():
                signal.signal(number, handler)

    def wake(self) -> None:
        """Make the descriptor readable. Never blocks."""
        try:
            self._writer.send(b"\0")
        except (BlockingIOError, OSError):
            return  # full: it is readable anyway; closed: no thread waits

    def clear(self) -> None:
        """Take the wake-ups so far. Of thousands, the rest makes it readable once more."""
        try:
            self._reader.recv(4096)
        except (BlockingIOError, OSError):
            return

    def close(self) -> None:
        """Release both ends."""
        self._reader.close()
        self._writer.close()
