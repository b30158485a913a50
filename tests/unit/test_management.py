"""The management API: what is asked of it, and what its answers become."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from taskroute import BrokerUnavailableError, BrokerUrlError
from taskroute.operate.management import ManagementApi

QUEUE = b'{"name": "a b", "messages": 7}'


class Api(HTTPServer):
    """Answers as RabbitMQ does. `asked`: the path and the credentials of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str]] = []
        self.answer = (200, QUEUE)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        credentials = self.headers["Authorization"].removeprefix("Basic ")
        self.server.asked.append((self.path, base64.b64decode(credentials).decode()))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_queue_is_asked_for_by_virtual_host_and_name(api: Api) -> None:
    asker = ManagementApi(f"{api.url}/api/", user="shop", password="s:ecret")

    found = asker.queue("/", "a b")

    assert found == {"name": "a b", "messages": 7}
    assert api.asked == [("/api/queues/%2F/a%20b", "shop:s:ecret")]


def test_credentials_of_the_url_count_for_more(api: Api) -> None:
    url = api.url.replace("http://", "http://ops:p%40ss@")

    ManagementApi(url, user="shop", password="secret").queue("v", "q")

    assert api.asked == [("/api/queues/v/q", "ops:p@ss")]


def test_queue_that_is_not_there_is_none(api: Api) -> None:
    api.answer = (404, b'{"error":"Object Not Found"}')

    assert ManagementApi(api.url, user="shop", password="secret").queue("/", "q") is None


@pytest.mark.parametrize(("answer", "why"), [((401, b"{}"), "401 Unauthorized"), ((200, b"<html>"), "JSONDecodeError")])
def test_answer_that_is_none_is_an_error_without_the_password(api: Api, answer: tuple[int, bytes], why: str) -> None:
    api.answer = answer
    url = api.url.replace("http://", "http://ops:hidden@")

    with pytest.raises(BrokerUnavailableError, match=why) as raised:
        ManagementApi(url, user="shop", password="hidden").queue("/", "q")

    assert "hidden" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_management_api_that_is_away_is_an_error() -> None:
    with pytest.raises(BrokerUnavailableError, match="Connection refused"):
        ManagementApi("http://127.0.0.1:1", user="shop", password="secret").queue("/", "q")


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:15672",
        "amqp://a:hidden@b/",
        "file:///etc/passwd",
        "http://a:hidden@b:c",
        "http://a:b@c/hidden@d",
        "http://a:b@c?hidden@d",
        "http://a:b@c#hidden@d",
        "http://a:hidden@b,http://a:hidden@c",
        "http://a:b@hidden,x@c,d",
    ],
)
def test_url_that_is_none_of_an_api_is_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError, match="management API") as raised:
        ManagementApi(url, user="", password="")

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "is_safe"),
    [
        ("https://broker.example", True),
        ("http://127.0.0.1:15672", True),
        ("http://[::1]:15672", True),
        ("http://broker.example:15672", False),
    ],
)
def test_password_sent_to_the_api_in_the_clear_is_warned_of(url: str, is_safe: bool) -> None:
    api = ManagementApi(url, user="shop", password="hidden")

    assert (api.warning is None) == is_safe
