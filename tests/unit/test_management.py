"""The management API: what is asked of it, and what its answers become."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from taskroute import BrokerUnavailableError, BrokerUrlError
from taskroute.operate.management import ManagementApi

QUEUE = b'{"name": "a b", "messages": 7}'


class Api(ThreadingHTTPServer):
    """Answers as RabbitMQ does. `asked`: the path and the credentials of each request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[tuple[str, str]] = []
        self.answer = (200, QUEUE)
        self.pages: list[bytes] = []
        self.content_type = "application/json"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        credentials = self.headers["Authorization"].removeprefix("Basic ")
        self.server.asked.append((self.path, base64.b64decode(credentials).decode()))
        status, body = (200, self.server.pages.pop(0)) if self.server.pages else self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", self.server.content_type)
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

    ManagementApi(url, user="shop", password="secret").queue("v", "a b")

    assert api.asked == [("/api/queues/v/a%20b", "ops:p@ss")]


def test_queue_that_is_not_there_is_none(api: Api) -> None:
    api.answer = (404, b'{"error":"Object Not Found"}')

    assert ManagementApi(api.url, user="shop", password="secret").queue("/", "q") is None


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            (401, b'{"error":"not_authorised","reason":"Login failed"}'),
            r"401 Unauthorized \('Login failed'\): check user",
        ),
        ((401, b"["), "401 Unauthorized: check user and password, the tag management"),
        ((403, b"{}"), "403 Forbidden: this user may not ask for that"),
        ((503, b"{}"), "503 Service Unavailable$"),
        ((200, b"<html>"), "its answer is no JSON; another program answers there, or a proxy"),
        ((200, b"[" * 100_000), "its answer is no JSON"),
        ((200, b'{"cluster_name": "search"}'), "'queues/v/q' is nothing that RabbitMQ says"),
        ((200, b"[]"), "'queues/v/q' is nothing that RabbitMQ says"),
    ],
)
def test_answer_that_is_none_is_an_error_without_the_password(api: Api, answer: tuple[int, bytes], why: str) -> None:
    api.answer = answer
    url = api.url.replace("http://", "http://ops:hidden@")

    with pytest.raises(BrokerUnavailableError, match=why) as raised:
        ManagementApi(url, user="shop", password="hidden").queue("v", "q")

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


def test_page_of_a_web_server_that_is_not_found_is_no_missing_queue(api: Api) -> None:
    api.answer, api.content_type = (404, b"<html>"), "text/html"

    with pytest.raises(BrokerUnavailableError, match="404 Not Found; another program answers there"):
        ManagementApi(api.url, user="shop", password="secret").queue("/", "q")


def test_port_that_speaks_no_http_is_an_error_that_names_the_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1024)
                peer.sendall(b"AMQP\x00\x00\x09\x01")

        thread = threading.Thread(target=answer)
        thread.start()
        api = ManagementApi(f"http://127.0.0.1:{server.getsockname()[1]}", user="shop", password="secret")
        with pytest.raises(BrokerUnavailableError, match="its own port is 15671 with https, 15672 with http"):
            api.get("overview")
        thread.join()


def test_list_is_read_page_by_page(api: Api) -> None:
    api.pages = [b'{"items": [1, 2], "page_count": 2}', b'{"items": [3], "page_count": 2}']

    assert list(ManagementApi(api.url, user="a", password="b").each("queues", "/", disable_stats="true")) == [1, 2, 3]
    assert [path for path, _ in api.asked] == [
        f"/api/queues/%2F?page={number}&page_size=500&disable_stats=true" for number in (1, 2)
    ]


def test_list_without_pages_is_read_once(api: Api) -> None:
    api.answer = (200, b"[1, 2]")

    assert list(ManagementApi(api.url, user="a", password="b").each("bindings")) == [1, 2]
    assert len(api.asked) == 1


@pytest.mark.parametrize("url", ["https://broker.example", "http://127.0.0.1:15672", "http://[::1]:15672"])
def test_password_may_be_sent_encrypted_or_to_this_machine(url: str) -> None:
    assert "hidden" not in repr(ManagementApi(url, user="shop", password="hidden"))


def test_password_in_the_clear_to_another_machine_is_refused() -> None:
    with pytest.raises(BrokerUrlError, match=r"at broker\.example: use https://") as raised:
        ManagementApi("http://shop:hidden@broker.example:15672", user="", password="")

    assert "hidden" not in str(raised.value)


def test_proxy_is_not_told_the_password_on_the_way_to_this_machine(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    assert ManagementApi(api.url, user="shop", password="secret").queue("v", "a b") is not None
