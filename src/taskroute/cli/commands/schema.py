"""`taskroute schema`: the topology with its handlers in a form that other tools read."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Final

from taskroute.cli.exits import Exit
from taskroute.cli.target import Target, add_target, load_target


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_target(parser)
    parser.add_argument("--format", choices=tuple(FORMATS), required=True, help="of which tools")
    parser.add_argument("--title", metavar="TEXT", help="asyncapi: of the application; its package if left out")
    parser.add_argument(
        "--api-version", metavar="TEXT", help="asyncapi: of the application; __version__ of its package if left out"
    )


def run(arguments: Namespace) -> int:
    """Print the document."""
    target = load_target(arguments)
    print(json.dumps(FORMATS[arguments.format](target, arguments), indent=2))
    return Exit.OK


def _asyncapi(target: Target, arguments: Namespace) -> dict[str, object]:
    import sys

    from taskroute.graph.asyncapi.document import asyncapi_document

    package = target.text.partition(":")[0].partition(".")[0]
    version = getattr(sys.modules.get(package), "__version__", "0.0.0")
    return asyncapi_document(
        target.topology,
        target.handlers,
        title=package if arguments.title is None else arguments.title,
        version=str(version) if arguments.api_version is None else arguments.api_version,
    )


FORMATS: Final[Mapping[str, Callable[[Target, Namespace], dict[str, object]]]] = {"asyncapi": _asyncapi}
"""What makes the document of each format. It loads what it needs when it is called, as help loads nothing of it."""
