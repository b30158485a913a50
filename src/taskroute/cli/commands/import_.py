"""`taskroute import`: the Python of a topology, from RabbitMQ definitions or from a live virtual host."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taskroute.broker.url import LOOPBACK, BrokerUrl
from taskroute.cli.broker import add_url, check_url, nodes_of
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.terminal import complain
from taskroute.service.url import VARIABLE

if TYPE_CHECKING:
    from taskroute.operate.importing.found import Found

_MOST_TOLD: Final = 20


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("file", metavar="FILE", nargs="?", help="definitions as RabbitMQ exports them; - for stdin")
    add_url(parser)
    parser.add_argument(
        "--api",
        metavar="URL",
        help="of the management API, such as https://host:15671; if left out, that of the broker's host",
    )
    parser.add_argument("--vhost", metavar="NAME", help="the virtual host; may be left out if there is one")


def run(arguments: Namespace) -> int:
    """Print a module with the topology. What is in no topology is a comment in it, and said."""
    from taskroute.operate.importing.adopt import adopt
    from taskroute.operate.importing.source import source_of

    adoption = adopt(_find(arguments))
    print(source_of(adoption), end="")
    notes = list(adoption.all_notes())
    for note in notes[:_MOST_TOLD]:
        complain("import", note)
    if len(notes) > _MOST_TOLD:
        complain("import", f"{len(notes) - _MOST_TOLD} more are in the comments")
    return Exit.OK


def _find(arguments: Namespace) -> Found:
    from taskroute.operate.importing.live import find_live
    from taskroute.operate.importing.reading import UnreadableError, read_definitions
    from taskroute.operate.management import ManagementApi

    if arguments.file is not None:
        if arguments.url is not None or arguments.api is not None:
            raise UsageError("FILE and --url: name one of them, what is read or where is asked")
        try:
            return read_definitions(_read(arguments.file), arguments.vhost)
        except UnreadableError as error:
            raise UsageError(f"FILE {arguments.file!r}: {error}") from None
    node = _node(arguments.url)
    api = ManagementApi(arguments.api or _api_of(node), user=node.user, password=node.password)
    return find_live(api, node.virtual_host if arguments.vhost is None else arguments.vhost)


def _read(file: str) -> bytes:
    if "://" in file or "@" in file:  # not repeated: it may have a password
        raise UsageError("FILE is a URL: that is --url")
    if file == "-":
        return b"" if sys.stdin is None else sys.stdin.buffer.read()  # None: it was closed before the start
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"FILE {file!r}: {error.strerror}") from None


def _node(url: str | None) -> BrokerUrl:
    check_url(url)
    source = url or os.environ.get(VARIABLE, "")
    if not source.split():
        raise UsageError(f"there is nothing to import: name a FILE, or give --url, or set {VARIABLE}")
    (node, *_) = nodes_of(source.split(), None)
    if node.scheme == "memory":
        raise UsageError("memory:// has no management API: --url is that of a RabbitMQ, amqp:// or amqps://")
    return node


def _api_of(node: BrokerUrl) -> str:
    """Return where the management API of a broker is, if nobody has moved it."""
    host = f"[{node.host}]" if ":" in node.host else node.host
    return f"http://{host}:15672" if node.host in LOOPBACK else f"https://{host}:15671"
