"""What may stand between a command and the management API: it passes on what a test makes of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from tests.kit.web_server import serving


class Reply(NamedTuple):
    """An answer over HTTP."""

    status: int
    body: bytes
    content_type: str = "application/json"


Change = Callable[[str, Callable[[], Reply]], Reply]
"""Takes the method with the path, as in `GET /api/whoami`, and what asks RabbitMQ itself; returns what is answered."""


@contextmanager
def management_front(api: str, change: Change) -> Iterator[str]:
    """Answer in front of a management API for as long as the block takes; gives the URL."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_DELETE(self) -> None:
            self._answer()

        def _answer(self) -> None:
            reply = change(f"{self.command} {self.path}", lambda: _asked(api, self))
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None: ...

    with serving(Answering) as url:
        yield url


def _asked(api: str, request: BaseHTTPRequestHandler) -> Reply:
    headers = {"Authorization": request.headers["Authorization"]}
    try:
        with build_opener(ProxyHandler({})).open(
            Request(f"{api}{request.path}", method=request.command, headers=headers)
        ) as answer:
            return Reply(answer.status, answer.read(), answer.headers.get("Content-Type") or "")
    except HTTPError as error:
        with error:
            return Reply(error.code, error.read(), error.headers.get("Content-Type") or "")
