"""Broker: which one a command talks to. A password in a URL is shown nowhere."""

from __future__ import annotations

import logging
import os
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Final

from taskroute.cli.exits import UsageError
from taskroute.cli.target import Target
from taskroute.cli.terminal import complain

if TYPE_CHECKING:
    from taskroute.broker.url import BrokerUrl, UrlSource

VARIABLE: Final = "TASKROUTE_URL"


def add_url(parser: ArgumentParser) -> None:
    """Give a command the option --url."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help=f"of the broker; if left out, that of the target, or of the variable {VARIABLE}, which keeps a password "
        "out of the list of processes",
    )


def url_of(arguments: Namespace, target: Target) -> UrlSource:
    """Return where the broker is: as --url says, or the target, or the environment.

    Raises:
        UsageError: none of them says it, or --url or the environment cannot be used.
    """
    given: UrlSource | None = getattr(target.value, "url", None)
    if arguments.url is None and given is not None:
        return given
    where, urls = ("--url", arguments.url) if arguments.url is not None else (VARIABLE, os.environ.get(VARIABLE, ""))
    return _checked(where, urls.split())


def _checked(where: str, urls: list[str]) -> list[str]:
    from taskroute.broker.url import parse_urls
    from taskroute.errors import BrokerUrlError

    if not urls:
        raise UsageError(f"there is no URL of a broker: give --url, or set {VARIABLE}")
    try:
        parse_urls(urls)
    except BrokerUrlError as error:
        raise UsageError(f"{where}: {error}") from None
    return urls


def nodes_of(source: UrlSource) -> tuple[BrokerUrl, ...]:
    """Return the nodes, asked of the user's function if that knows them.

    Raises:
        BrokerUrlError: one cannot be used.
        BrokerUnavailableError: the function does not say.
    """
    from taskroute.broker.url import Nodes

    nodes = Nodes(source).ask()
    if any(node.scheme == "memory" for node in nodes):
        complain("", "memory:// is a broker inside of this process: no other one sees it")
    return nodes


def quieten_log() -> None:
    """Keep the library's log off stderr, unless the target has configured logging: an error says it all, once."""
    logging.getLogger("taskroute").addHandler(logging.NullHandler())
