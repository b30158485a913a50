"""Wire: the messages between a parent and its child, a line of JSON each, over a pair of sockets.

To a child: ``{"do": "drain"}`` and ``{"do": "measure"}``. From it: ``{"report": {...}}``, ``{"metrics": "..."}`` or
``{"no_metrics": "why"}``, and ``{"done": true}`` when it ends because it has done its share. The end of the stream says
that the other process is gone, however it has ended.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import Any, Final

_CHUNK: Final = 65_536

Line = dict[str, Any]


class Wire:
    """One end. One thread reads, and any may write."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._unread = b""
        self._lock = threading.Lock()  # whoever writes finishes his line

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._socket.fileno()

    def write(self, line: Line) -> bool:
        """Send a message, and return whether the other end took it."""
        try:
            with self._lock:
                self._socket.sendall(json.dumps(line).encode() + b"\n")
        except OSError:  # gone, which the reader is told; or it does not read, and blocking helps nobody
            return False
        return True

    def read(self) -> list[Line] | None:
        """Return the messages that have come, after one call to the system; None: the other process is gone."""
        try:
            chunk = self._socket.recv(_CHUNK)
        except (BlockingIOError, TimeoutError):
            return []
        except OSError:
            return None
        if not chunk:
            return None
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        """Release the descriptor."""
        self._socket.close()
