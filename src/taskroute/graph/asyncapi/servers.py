"""Servers: where a broker is, without anything that one would log in with. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

from taskroute.graph.asyncapi.identifiers import Naming, identifiers

_ADDRESS: Final = re.compile(
    r"(?:(?P<protocol>amqps?)://)?(?P<host>(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)(?:/(?P<vhost>[^/?#\s{}]*))?"
)


@dataclass(frozen=True, slots=True)
class Server:
    """A node of a broker.

    Attributes:
        protocol: `amqp` or `amqps`.
        host: with its port, if it is not the usual one.
        path: the virtual host as a URL has it, "" for the usual one.
    """

    protocol: str
    host: str
    path: str = ""


def server_of(text: str) -> Server | None:
    """Return the server that a text names, None if it names none or somebody who logs in.

    >>> server_of("amqps://rabbit.example.com/shop")
    Server(protocol='amqps', host='rabbit.example.com', path='shop')
    """
    found = _ADDRESS.fullmatch(text)
    return Server(found["protocol"] or "amqp", found["host"], found["vhost"] or "") if found else None


def servers_described(servers: Iterable[Server]) -> dict[str, Any]:
    """Return servers as AsyncAPI describes them."""
    given = tuple(dict.fromkeys(servers))
    names = identifiers({each: Naming((each.host, each.path), (each.protocol, each.host, each.path)) for each in given})
    return {name: _described(server) for server, name in sorted(names.items(), key=lambda each: each[1])}


def common_vhost(servers: Iterable[Server]) -> str | None:
    """Return the virtual host that all servers have, None for the usual one, or for several."""
    paths = {server.path for server in servers}
    return unquote(paths.pop()) or None if len(paths) == 1 else None


def _described(server: Server) -> dict[str, Any]:
    described = {"host": server.host, "protocol": server.protocol, "protocolVersion": "0-9-1"}
    return {**described, "pathname": f"/{server.path}"} if server.path else described
