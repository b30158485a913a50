"""Wakeup: a file descriptor by which any thread wakes the thread that waits in a selector."""

from __future__ import annotations

import socket


class Wakeup:
    """`wake` from any thread makes `fileno` readable until `clear`. Close it from the waiting thread."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._reader.fileno()

    def writer_fileno(self) -> int:
        """Return the descriptor to which a byte is written to wake, for `signal.set_wakeup_fd`."""
        return self._writer.fileno()

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
