"""Server: answers `/live`, `/ready` and `/metrics` from threads of its own, and lets nobody keep it from that.

A request is read whole before it is looked at: within a time, and up to a size. Where too many connections are open the
oldest one is cut, so that many slow clients do not keep a probe out.
"""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final

from taskroute.cli.exposition import NoMetricsError
from taskroute.cli.probes.address import Address
from taskroute.cli.probes.answers import Answering
from taskroute.foreign import Log
from taskroute.raised import TELL_ALL

log = Log("taskroute.cli")

REQUEST_SECONDS: Final = 5.0
MAX_REQUEST: Final = 8_192
MAX_CONNECTIONS: Final = 32

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"


class ProbeServer:
    """Listens from when it is made until `close`.

    Args:
        address: where.
        answering: is asked, on threads of the server.

    Raises:
        OSError: it cannot listen there.
    """

    def __init__(self, address: Address, answering: Answering) -> None:
        self._server = _Server(address, answering)
        host, port = self._server.server_address[:2]
        self.address: Final = Address(str(host), port)
        log.info("health_served address=%s", self.address)
        self._thread = threading.Thread(target=self._server.serve_forever, name="taskroute-probes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it. Answers that are being given may be cut."""
        self._server.shutdown()
        self._server.server_close()


class _Server(HTTPServer):
    """A thread for each connection, and so many of them at most."""

    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: Address, answering: Answering) -> None:
        self.answering = answering
        found = socket.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, _, _, _, where = found[0]
        self._lock = threading.Lock()
        self._open: dict[socket.socket, None] = {}  # the oldest first
        super().__init__((str(where[0]), int(where[1])), _Handler)

    def server_bind(self) -> None:
        """Listen, without asking for the name of this machine, which may take long."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, at the cost of the connection that is open for longest if there are too many."""
        with self._lock:
            oldest = next(iter(self._open)) if len(self._open) >= MAX_CONNECTIONS else None
            if oldest is not None:
                del self._open[oldest]
            self._open[request] = None
        if oldest is not None:
            _cut(oldest)
        threading.Thread(
            target=self._answer, args=(request, client_address), name="taskroute-probe", daemon=True
        ).start()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as socketserver calls it
        """Say that a connection could not be served, for example as no thread can be had."""
        error = sys.exception()
        if error is not None:
            log.error("health_failed error=%s", type(error).__name__, raised=TELL_ALL.of(error))

    def _answer(self, request: socket.socket, client_address: Any) -> None:
        try:
            self.finish_request(request, client_address)
        except OSError:
            pass  # the client has gone, or was cut
        except Exception:  # noqa: BLE001 - what a handler of it does in another server too
            self.handle_error(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)
            self.shutdown_request(request)


def _cut(connection: socket.socket) -> None:
    with suppress(OSError):  # it has ended meanwhile
        connection.shutdown(socket.SHUT_RDWR)  # its thread closes it


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, and says nothing of this machine or its versions."""

    server: _Server
    server_version, sys_version = "taskroute", ""
    default_request_version = "HTTP/1.0"  # so that whatever was sent is answered with a status
    command, request_version = "", default_request_version
    error_content_type, error_message_format = _TEXT, "%(code)d %(message)s\n"

    def setup(self) -> None:
        """Prepare to read the request whole."""
        self.connection = self.request
        self.rfile = io.BufferedReader(io.BytesIO())
        self.wfile = self.request.makefile("wb")

    def handle(self) -> None:
        """Answer, if there is a request."""
        head = _read_head(self.request)
        self.request.settimeout(REQUEST_SECONDS)
        if len(head) > MAX_REQUEST:
            self._send(431, _TEXT, f"a request has {MAX_REQUEST} bytes at most\n")
        elif head:
            self.rfile = io.BufferedReader(io.BytesIO(head))
            self.handle_one_request()

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path in ("/live", "/ready"):
            health = self.server.answering.health()
            self._send(200 if health[path[1:]] else 503, _JSON, json.dumps(health))
        elif path == "/metrics":
            try:
                self._send(200, _PROMETHEUS, self.server.answering.metrics())
            except NoMetricsError as error:
                self._send(501, _TEXT, f"{error}\n")
        else:
            self._send(404, _TEXT, "there are /live, /ready and /metrics\n")

    do_HEAD = do_GET  # noqa: N815

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as http.server calls it
        """Write no line for a request: a probe makes one every few seconds, and what it says is the sender's."""


def _read_head(connection: socket.socket) -> bytes:
    """Return a request up to its empty line; nothing if that does not come in time, and of a long one too much."""
    until, read = time.monotonic() + REQUEST_SECONDS, b""
    while len(read) <= MAX_REQUEST and b"\r\n\r\n" not in read and b"\n\n" not in read:
        if (left := until - time.monotonic()) <= 0:
            return b""
        connection.settimeout(left)
        if not (chunk := connection.recv(4_096)):
            return b""
        read += chunk
    return read
