"""Broker: which one a command talks to. A password in a URL is shown nowhere."""

from __future__ import annotations

import logging
import os
import ssl
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping

from taskroute.broker.url import BrokerUrl, Nodes, UrlSource, parse_urls
from taskroute.cli.exits import UsageError
from taskroute.cli.target import Target
from taskroute.cli.terminal import complain
from taskroute.errors import BrokerUrlError
from taskroute.service.url import VARIABLE
from taskroute.service.url import url_of as url_of_service


def add_url(parser: ArgumentParser) -> None:
    """Give a command the option --url."""
    parser.add_argument(
        "--url",
        metavar="URL",
        help=f"of the broker; if left out, that of the target, or of the variable {VARIABLE}, which keeps a password "
        "out of the list of processes",
    )


def check_url(url: str | None) -> None:
    """Raise UsageError if --url is there and cannot be used."""
    if url is None:
        return
    try:
        parse_urls(url.split())
    except BrokerUrlError as error:
        raise UsageError(f"--url: {error}") from None


def url_of(url: str | None, target: Target) -> UrlSource:
    """Return where the broker is: as --url says, or the target, or the environment.

    Raises:
        UsageError: none of them says it, or --url cannot be used.
        BrokerUrlError: that of the environment cannot.
    """
    check_url(url)
    given: UrlSource | None = getattr(target.value, "url", None) if url is None else url.split()
    if given is None and not os.environ.get(VARIABLE, "").split():
        raise UsageError(f"there is no URL of a broker: give --url, or set {VARIABLE}")
    return url_of_service(given)


def refuse_memory(source: UrlSource | None) -> None:
    """Raise UsageError for the embedded broker, where several processes are to share one."""
    for url in source.split() if isinstance(source, str) else () if source is None or callable(source) else source:
        if url.lower().startswith("memory:"):
            raise UsageError(
                "--processes needs a broker that processes share, and of memory:// each would have one of its own: "
                "use amqp://, or one process"
            )


def has_use_for_tls(url: str | None) -> bool:
    """Return whether the context for TLS of a service counts for what --url says."""
    return url is None or "amqps://" in url


def tls_of(url: str | None, target: Target) -> ssl.SSLContext | None:
    """Return the context for TLS that a service has for its publisher or its worker, unless --url has no use for it."""
    if not has_use_for_tls(url):
        return None
    options = [getattr(target.value, name, None) for name in ("publisher", "worker")]
    found = [each["tls"] for each in options if isinstance(each, Mapping) and each.get("tls") is not None]
    return found[0] if found else None


def nodes_of(source: UrlSource, tls: ssl.SSLContext | None) -> tuple[BrokerUrl, ...]:
    """Return the nodes, asked of the user's function if that knows them. Say of each what makes it unsafe.

    Raises:
        BrokerUrlError: one cannot be used.
        BrokerUnavailableError: the function does not say.
    """
    nodes = Nodes(source, tls).ask()
    for node in nodes:
        if node.warning is not None:
            complain("", f"{node}: {node.warning}")
    return nodes


def note_memory(nodes: Iterable[BrokerUrl]) -> None:
    """Say that what was done is seen by nobody else, if that is so."""
    if any(node.scheme == "memory" for node in nodes):
        complain("", "memory:// is a broker inside of this process: no other one sees it")


def quieten_log() -> None:
    """Keep the library's log off stderr, unless the target has configured logging: an error says it all, once."""
    logging.getLogger("taskroute").addHandler(logging.NullHandler())
