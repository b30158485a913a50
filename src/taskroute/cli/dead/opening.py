"""Opening: from the arguments to the dead letters of a target."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from taskroute.cli.broker import add_url, nodes_of, note_memory, quieten_log, tls_of, url_of
from taskroute.cli.document import add_format
from taskroute.cli.target import add_target, load_target
from taskroute.cli.typed import seconds

if TYPE_CHECKING:
    from taskroute import DeadLetters


def add_opening(parser: ArgumentParser) -> None:
    """Give a verb the target, the broker and the format."""
    add_target(parser)
    add_url(parser)
    parser.add_argument(
        "--api",
        metavar="URL",
        help="of the management API, such as http://host:15672: says what policies make of the queues; "
        "user and password are those of the broker's URL if it names none",
    )
    parser.add_argument(
        "--consumer-timeout",
        metavar="SECONDS",
        type=seconds,
        default=1800.0,
        help="of the broker, 1800 if left out: a run ends within half of it",
    )
    add_format(parser)


def letters_of(arguments: Namespace) -> DeadLetters:
    """Return the dead letters of the target. Nobody is asked yet.

    Raises:
        UsageError, TargetError, DefinitionError: as for every command.
    """
    from taskroute import DeadLetters

    target = load_target(arguments)
    url, tls = url_of(arguments.url, target), tls_of(arguments.url, target)
    nodes = nodes_of(url, tls)
    quieten_log()
    note_memory(nodes)
    return DeadLetters(url, target.routes(), api=arguments.api, tls=tls, consumer_timeout=arguments.consumer_timeout)
