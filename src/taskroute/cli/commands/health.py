"""`taskroute health`: how a running service is, asked of what `taskroute run --health` serves."""

from __future__ import annotations

import http.client
import json
import re
from argparse import ArgumentParser, Namespace
from typing import Any, Final

from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.terminal import complain, show
from taskroute.cli.typed import seconds, typed

_MAX_ANSWER: Final = 1_048_576


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("url", metavar="URL", help="HOST:PORT or :PORT, or http://HOST:PORT/live; /ready if left out")
    parser.add_argument("--timeout", type=seconds, default=5.0, metavar="SECONDS", help="to wait for the answer; 5")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="text for people by default")


def run(arguments: Namespace) -> int:
    """Ask; 0 if it is ready, 1 if it is not, 3 if nothing that can be asked is there."""
    host, port, path = _parse(arguments.url)
    try:
        status, answer = _ask(host, port, path, arguments.timeout)
    except OSError as error:
        return _unanswered(host, port, error.strerror or type(error).__name__)
    except (http.client.HTTPException, ValueError, RecursionError):
        return _unanswered(host, port, "somebody else answers there")
    fine = status == http.client.OK
    if arguments.format == "json":
        print(json.dumps(answer, indent=2))
    else:
        name = path.partition("?")[0].rpartition("/")[2]
        for line in (name if fine else f"not {name}", *_lines(answer)):
            show(line)
    return Exit.OK if fine else Exit.FINDINGS


def _unanswered(host: str, port: int, why: str) -> Exit:
    complain("health", f"no answer from {host}:{port}: {why}")
    return Exit.BROKER


def _parse(text: str) -> tuple[str, int, str]:
    """Return host, port and path. Without a host it is this machine."""
    found = re.fullmatch(
        r"(?:http://)?(\[[0-9A-Fa-f:.]+\]|[^\s:/@?#\[\]]+)?(?::([0-9]{1,5}))?(/live|/ready)?/?", text, re.ASCII
    )
    is_number = found is not None and (found[1] or "0").isdigit()  # a port, or nothing
    if found is None or int(found[2] or 0) > 65_535 or (is_number and (found[1] or not found[2])):
        raise UsageError(
            f"{typed(text)} is not HOST:PORT, for example 127.0.0.1:8080, or http://HOST:PORT, with /live or /ready "
            "behind it or nothing: no user, no https"
        )
    return (found[1] or "127.0.0.1").strip("[]"), int(found[2] or 80), found[3] or "/ready"


def _ask(host: str, port: int, path: str, timeout: float) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(host, port, timeout=timeout)  # asks no proxy, and follows nobody elsewhere
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        answer = json.loads(response.read(_MAX_ANSWER))
    finally:
        connection.close()
    if not isinstance(answer, dict) or path[1:] not in answer:
        raise http.client.HTTPException
    return response.status, answer


def _lines(answer: dict[str, Any]) -> list[str]:
    return [
        f"{kind}: {text}"
        for kind, texts in (("reason", answer.get("reasons")), ("warning", answer.get("warnings")))
        if isinstance(texts, list)
        for text in texts
    ]
