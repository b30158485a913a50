"""Message input: key, exchange, headers and body, as the options of a command give them."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskroute.cli.exits import UsageError
from taskroute.cli.suggestion import known_or_suggest

if TYPE_CHECKING:
    from taskroute import Topology

JSON: Final = "application/json"


def add_message(parser: ArgumentParser) -> None:
    """Give a command what names a message."""
    parser.add_argument("key", metavar="KEY", help="the routing key")
    parser.add_argument(
        "--exchange", metavar="NAME", help="may be left out if the topology has one; '' is the default exchange"
    )
    parser.add_argument(
        "--header", metavar="NAME=TEXT", action="append", default=[], help="NAME:=JSON for a number or true or false"
    )
    parser.add_argument(
        "--body", metavar="BODY", help="text, or a file: its name, @NAME to be sure of that, or - for stdin"
    )
    parser.add_argument("--content-type", metavar="TYPE", default=JSON, help=f"{JSON} if left out")


def exchange_of(arguments: Namespace, topology: Topology) -> str:
    """Return the exchange that is meant: the one that is named, that the events with the key have, or the only one.

    Raises:
        UsageError: there are several, or none of that name.
    """
    if arguments.exchange is not None:
        return known_or_suggest("--exchange", arguments.exchange, ["", *(each.name for each in topology.exchanges)])
    of_events = {str(event.exchange) for event in topology.events if event.pattern.matches(arguments.key)}
    known = sorted(of_events) or [exchange.name for exchange in topology.exchanges if not exchange.internal]
    if len(known) > 1:
        raise UsageError(f"--exchange is needed, as there are several: {', '.join(map(repr, known))}")
    return known[0] if known else ""


def headers_of(arguments: Namespace) -> Mapping[str, object]:
    """Return the headers.

    Raises:
        UsageError: one is not NAME=TEXT or NAME:=JSON.
    """
    return dict(map(_header, arguments.header))


def _header(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.rstrip(":"):
        raise UsageError(f"--header {text!r} is not NAME=TEXT, or NAME:=JSON for a number or true or false")
    if not name.endswith(":"):
        return name, value
    try:
        return name[:-1], json.loads(value)
    except (ValueError, RecursionError):
        raise UsageError(f"--header {text!r}: what follows := is not JSON; NAME=TEXT takes any text") from None


def body_of(arguments: Namespace, or_else: str = "") -> bytes:
    """Return the body; what claims to be JSON is.

    Raises:
        UsageError: a file cannot be read, or it is not JSON.
    """
    given: str = or_else if arguments.body is None else arguments.body
    body = _read(given)
    if arguments.content_type == JSON:
        try:
            json.loads(body)
        except (ValueError, RecursionError):
            file = "" if given == "-" or given.startswith("@") or _is_file(given) else "neither a file nor JSON"
            raise UsageError(f"--body is {file or 'not JSON'}: --content-type says what else it is") from None
    return body


def _read(given: str) -> bytes:
    if given == "-" and sys.stdin is None:
        raise UsageError("--body - reads stdin, and that is closed")
    try:
        if given == "-":
            return sys.stdin.buffer.read()
        if given.startswith("@"):
            return Path(given[1:]).read_bytes()
        return Path(given).read_bytes() if _is_file(given) else given.encode(errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"--body {given!r} cannot be read: {error.strerror}") from None


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except (OSError, ValueError):  # too long for a name, or with a NUL in it
        return False
