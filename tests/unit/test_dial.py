"""Dial: every address of a name is tried, and the error names each of them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kit.ports import full_port

from taskroute.broker.connection import connect
from taskroute.broker.dial import dial
from taskroute.broker.url import parse_urls

LOOPBACK = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.fixture
def port_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Return a function that opens a port of this machine, listening or not, and returns it."""
    opened: list[socket.socket] = []

    def open_port(family: socket.AddressFamily = socket.AF_INET, *, listening: bool) -> int:
        sock = socket.socket(family)
        opened.append(sock)
        try:
            sock.bind((LOOPBACK[family], 0))
        except OSError as error:
            pytest.skip(f"this machine has no {LOOPBACK[family]}: {error}")
        if listening:
            sock.listen()
        port: int = sock.getsockname()[1]
        return port

    yield open_port
    for sock in opened:
        sock.close()


def resolve_to(monkeypatch: pytest.MonkeyPatch, *ports: int) -> list[str]:
    """Have each name be that of this machine at these ports, and return the names that are looked up from now on."""
    names: list[str] = []

    def getaddrinfo(host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        names.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in ports]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return names


def test_second_address_is_tried_when_the_first_refuses(
    monkeypatch: pytest.MonkeyPatch, port_of: Callable[..., int]
) -> None:
    listening, steps, sockets = port_of(listening=True), list[str](), list[socket.socket]()
    resolve_to(monkeypatch, port_of(listening=False), listening)

    dial("broker", 5672, 10, on_step=lambda step, **_: steps.append(step), on_socket=sockets.append)

    with sockets[-1] as connected:
        assert connected.getpeername() == ("127.0.0.1", listening)
    assert steps[0] == "waiting for a lookup of broker"


def test_error_of_a_name_names_each_of_its_addresses(
    monkeypatch: pytest.MonkeyPatch, port_of: Callable[..., int]
) -> None:
    ports = [port_of(listening=False) for _ in range(2)]
    resolve_to(monkeypatch, *ports)

    with pytest.raises(ConnectionRefusedError) as caught:
        dial("broker", 5672, 10, on_step=lambda *_, **__: None, on_socket=lambda _: None)

    assert all(f"127.0.0.1:{port}: Connection refused" in str(caught.value) for port in ports)


def test_localhost_is_looked_up_like_any_name(monkeypatch: pytest.MonkeyPatch, port_of: Callable[..., int]) -> None:
    """A broker may listen on an address of version 6 alone."""
    names = resolve_to(monkeypatch, port_of(listening=False))

    with pytest.raises(ConnectionRefusedError):
        connect(parse_urls("amqp://u:p@localhost/")[0], name="test", heartbeat=5)

    assert names == ["localhost"]


@pytest.mark.parametrize("family", LOOPBACK)
def test_address_of_either_version_is_connected(family: socket.AddressFamily, port_of: Callable[..., int]) -> None:
    port, sockets = port_of(family, listening=True), list[socket.socket]()
    host = LOOPBACK[family]
    (url,) = parse_urls(f"amqp://u:p@[{host}]:{port}/" if ":" in host else f"amqp://u:p@{host}:{port}/")

    dial(url.host, url.port, 10, on_step=lambda *_, **__: None, on_socket=sockets.append)

    with sockets[-1] as connected:
        assert connected.getpeername()[:2] == (host, port)


def test_third_address_is_reached_when_two_are_down(
    monkeypatch: pytest.MonkeyPatch, port_of: Callable[..., int]
) -> None:
    """One refuses, and one does not answer: together they take no longer than one that is alone."""
    listening, sockets = port_of(listening=True), list[socket.socket]()
    with full_port() as silent:
        resolve_to(monkeypatch, silent, port_of(listening=False), listening)

        dial("broker", 5672, 1.5, on_step=lambda *_, **__: None, on_socket=sockets.append)

    with sockets[-1] as connected:
        assert connected.getpeername() == ("127.0.0.1", listening)


def test_addresses_of_a_name_come_in_random_order(monkeypatch: pytest.MonkeyPatch, port_of: Callable[..., int]) -> None:
    ports, chosen = [port_of(listening=True) for _ in range(3)], set[int]()
    resolve_to(monkeypatch, *ports)

    for _ in range(60):
        sockets = list[socket.socket]()
        dial("broker", 5672, 10, on_step=lambda *_, **__: None, on_socket=sockets.append)
        with sockets[-1] as connected:
            chosen.add(connected.getpeername()[1])

    assert chosen == set(ports)
