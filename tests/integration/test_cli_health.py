"""`taskroute health`: what it says of what answers, and of what does not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.kit.command_line import CommandLine
from tests.kit.web_server import serving

from taskroute.cli.probes.address import Address
from taskroute.cli.probes.server import ProbeServer

LONG = "queue 'jobs': " + "word " * 100 + "and the way out"
"""A warning with its way out at the end."""


class Probed:
    """Says what a test wants it to."""

    def __init__(self) -> None:
        self.said: dict[str, Any] = {"version": 1, "live": True, "ready": True, "reasons": [], "warnings": []}

    def health(self) -> dict[str, Any]:
        return self.said

    def metrics(self) -> str:
        return ""


@pytest.fixture
def probed() -> Probed:
    """What is asked."""
    return Probed()


@pytest.fixture
def address(probed: Probed) -> Iterator[str]:
    """Where it answers."""
    with closing(ProbeServer(Address("127.0.0.1", 0), probed)) as serving:
        yield str(serving.address)


@pytest.fixture
def command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # which is not asked
    return CommandLine(tmp_path, capsys, monkeypatch)


def test_health_of_what_is_ready_ends_with_zero(command_line: CommandLine, address: str) -> None:
    for url in (address, f"http://{address}", f"http://{address}/", f"{address}/live"):
        ended = command_line.run("health", url)

        assert (ended.code, ended.out, ended.err) == (0, "live\n" if url.endswith("live") else "ready\n", "")


def test_health_of_what_is_not_ready_ends_with_one_and_says_why(
    command_line: CommandLine, address: str, probed: Probed
) -> None:
    """What it says is another process's word, and cannot forge a line."""
    probed.said |= {"ready": False, "reasons": ["no broker", "a\nready"], "warnings": ["it rains", LONG]}

    ended = command_line.run("health", address)
    document = command_line.run("health", address, "--format", "json")

    assert (ended.code, document.code) == (1, 1)
    assert ended.out == f"not ready\nreason: no broker\nreason: a\\nready\nwarning: it rains\nwarning: {LONG}\n"
    assert json.loads(document.out) == probed.said


def test_health_of_nobody_ends_with_three(command_line: CommandLine) -> None:
    ended = command_line.run("health", "127.0.0.1:1")

    assert (ended.code, ended.out) == (3, "")
    assert ended.err == "taskroute health: no answer from 127.0.0.1:1: Connection refused\n"


def test_health_of_somebody_else_ends_with_three(command_line: CommandLine) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(200)
            self.end_headers()
            self.wfile.write(b"<html>welcome</html>")

    with serving(Page) as url:
        ended = command_line.run("health", url.removeprefix("http://"))

    assert (ended.code, ended.out) == (3, "")
    assert "somebody else answers there" in ended.err


@pytest.mark.parametrize("url", ["", "https://h:1", "http://u:canary@h:1", "h:1/x", "h:99999", "ftp://h"])
def test_url_that_cannot_be_asked_is_refused_and_not_repeated(command_line: CommandLine, url: str) -> None:
    ended = command_line.run("health", url)

    assert (ended.code, ended.out) == (2, "")
    assert "is not HOST:PORT" in ended.err
    assert "canary" not in ended.err


@pytest.mark.parametrize("url", ["38080", ":", "", "h:x", "https://h:1"])
def test_url_that_cannot_be_asked_is_told_with_an_example(command_line: CommandLine, url: str) -> None:
    ended = command_line.run("health", url)

    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"taskroute health: {url!r} is not HOST:PORT, for example 127.0.0.1:8080")


def test_port_alone_is_asked_on_this_machine(command_line: CommandLine, address: str) -> None:
    port = address.rpartition(":")[2]

    assert command_line.run("health", f":{port}").code == 0
    assert command_line.run("health", f":{port}/live").code == 0
