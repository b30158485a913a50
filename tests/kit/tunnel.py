"""A way from a port of this machine to a server elsewhere, as `ssh -L` makes one."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer


class _Tunnel(ThreadingTCPServer):
    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target


class _Passing(BaseRequestHandler):
    server: _Tunnel

    def handle(self) -> None:
        with socket.create_connection(self.server.target) as target:
            sending = threading.Thread(target=_pass, args=(self.request, target))
            sending.start()
            _pass(target, self.request)
            sending.join()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    """Pass on what comes until there is no more, and say so."""
    with source.makefile("rb", buffering=0) as reading, sink.makefile("wb", buffering=0) as writing:
        shutil.copyfileobj(reading, writing)
    sink.shutdown(socket.SHUT_WR)


@contextmanager
def tunnel(host: str, port: int) -> Iterator[int]:
    """Open one for as long as the block takes; gives its port."""
    with _Tunnel((host, port)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
