"""The server of `/live`, `/ready` and `/metrics`: what it answers, and that no client keeps it from answering."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from tests.kit import asking
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute.cli.exits import UsageError
from taskroute.cli.exposition import NoMetricsError
from taskroute.cli.probes import server
from taskroute.cli.probes.address import Address


class Ill:
    """Lives, is not ready, and has no metrics."""

    def health(self) -> dict[str, Any]:
        return {"version": 1, "live": True, "ready": False, "reasons": ["it rains"]}

    def metrics(self) -> str:
        raise NoMetricsError("pip install 'taskroute[prometheus]'")


@pytest.fixture
def address() -> Iterator[str]:
    """Where a server answers for what is ill."""
    with closing(server.ProbeServer(Address("127.0.0.1", 0), Ill())) as serving:
        yield str(serving.address)


def answer_to(address: str, request: bytes) -> bytes:
    """Send something, and return all that comes back until the server closes."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection, connection.makefile("rb") as got:
        connection.sendall(request)
        return got.read()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/live", 200, '"live": true'),
        ("/ready", 503, "it rains"),
        ("/ready?from=probe", 503, "it rains"),
        ("/metrics", 501, "pip install 'taskroute[prometheus]'"),
        ("/", 404, "there are /live, /ready and /metrics"),
    ],
)
def test_path_is_answered_with_its_status_and_text(address: str, path: str, status: int, text: str) -> None:
    answered, body = asking.get(address, path)

    assert answered == status
    assert text in body


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"HEAD /ready HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.0 503"),
        (b"GET /live HTTP/1.0\n\n", b"HTTP/1.0 200"),
        (b"POST /live HTTP/1.1\r\n\r\n", b"HTTP/1.0 501"),
        (b"\x16\x03\x01\r\n\r\n", b"HTTP/1.0 400"),
        (b"GET /" + b"a" * 9_000, b"HTTP/1.0 431"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1_600, b"HTTP/1.0 431"),
    ],
)
def test_odd_request_is_answered_in_one_answer(address: str, request_: bytes, status: bytes) -> None:
    answer = answer_to(address, request_)

    assert answer.startswith(status)
    assert answer.count(b"HTTP/1.0") == 1
    assert b"Python" not in answer


def test_more_slow_clients_than_connections_do_not_keep_a_probe_out(address: str) -> None:
    """Each has begun a request. The oldest ones give way."""
    host, port = address.rsplit(":", 1)
    with ExitStack() as open_:
        for _ in range(2 * server.MAX_CONNECTIONS):
            slow = open_.enter_context(socket.create_connection((host, int(port)), timeout=DEADLINE))
            slow.sendall(b"GET /live HT")

        assert asking.get(address, "/live")[0] == 200


def test_client_that_never_ends_its_request_is_left(monkeypatch: pytest.MonkeyPatch, logged_errors: Calls) -> None:
    monkeypatch.setattr(server, "REQUEST_SECONDS", 0.1)
    with closing(server.ProbeServer(Address("127.0.0.1", 0), Ill())) as serving:
        assert answer_to(str(serving.address), b"GET /live HT") == b""

    assert logged_errors.calls == []


@pytest.fixture
def logged_errors() -> Iterator[Calls]:
    """What is logged of requests that cannot be answered."""
    from tests.kit.calls import logged

    with logged("health_failed") as lines:
        yield lines


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        (":0", "", 0),
        ("[::1]:80", "::1", 80),
        ("probes.local:1", "probes.local", 1),
    ],
)
def test_address_is_read_and_shown_as_it_is_typed(text: str, host: str, port: int) -> None:
    address = Address.parse(text)

    assert (address.host, address.port) == (host, port)
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "8080", "host", "host:", "a:b:1", "::1:80", "h:65536", "http://h:1", "u:p@h:1"])
def test_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not HOST:PORT, for example"):
        Address.parse(text)
