"""`taskroute schema`: the topology with its handlers in a form that other tools read."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.target import Target, add_target, load_target
from taskroute.cli.terminal import complain

if TYPE_CHECKING:
    from taskroute.graph.asyncapi.servers import Server


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="of which tools")
    parser.add_argument("--title", metavar="TEXT", help="asyncapi: of the application; its package if left out")
    parser.add_argument(
        "--api-version", metavar="TEXT", help="asyncapi: of the application; __version__ of its package if left out"
    )
    parser.add_argument(
        "--server",
        metavar="[amqps://]HOST[:PORT][/VHOST]",
        action="append",
        default=[],
        help="asyncapi: where the broker is, without user and password; may be repeated; none if left out",
    )
    parser.add_argument(
        "--vhost", metavar="NAME", help="definitions: the virtual host that they are for; / if left out"
    )


def run(arguments: Namespace) -> int:
    """Print the document."""
    _check_options(arguments)
    target = load_target(arguments)
    print(json.dumps(FORMATS[arguments.format](target, arguments), indent=2))
    return Exit.OK


def _check_options(arguments: Namespace) -> None:
    """Refuse what another format would have heeded."""
    given = {
        "--title": ("asyncapi", arguments.title),
        "--api-version": ("asyncapi", arguments.api_version),
        "--server": ("asyncapi", arguments.server or None),
        "--vhost": ("definitions", arguments.vhost),
    }
    for option, (form, value) in given.items():
        if value is not None and arguments.format != form:
            raise UsageError(f"{option} is for --format {form}: leave it out with --format {arguments.format}")


def _asyncapi(target: Target, arguments: Namespace) -> dict[str, object]:
    import sys

    from taskroute.graph.asyncapi.document import asyncapi_document

    package = target.text.partition(":")[0].partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", "0.0.0")
    routes = target.routes()  # what cannot run is not described
    return asyncapi_document(
        routes.topology,
        routes.handlers,
        title=package if arguments.title is None else arguments.title,
        version=str(version) if arguments.api_version is None else arguments.api_version,
        servers=[_server(text) for text in arguments.server],
    )


def _server(text: str) -> Server:
    from taskroute.graph.asyncapi.servers import server_of

    server = server_of(text)
    if server is None:  # not repeated: it may have a password
        raise UsageError("--server: write a host, such as rabbit.example.com:5671, without user, password or options")
    return server


def _definitions(target: Target, arguments: Namespace) -> dict[str, object]:
    from taskroute.topology.definitions import definitions_of, remarks_on

    for remark in remarks_on(target.topology):
        complain("schema", remark)
    return {**definitions_of(target.topology, "/" if arguments.vhost is None else arguments.vhost)}


FORMATS: Final[Mapping[str, Callable[[Target, Namespace], dict[str, object]]]] = {
    "asyncapi": _asyncapi,
    "definitions": _definitions,
}
"""What makes the document of each format. It loads what it needs when it is called, as help loads nothing of it."""
