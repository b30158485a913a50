"""`taskroute prune`: unbind and delete what is retired or stale, once it is empty."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.consent import add_yes
from taskroute.cli.exits import UsageError
from taskroute.cli.planning import add_planning, add_was, do_steps


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_planning(parser)
    add_was(parser)
    add_yes(parser)


def run(arguments: Namespace) -> int:
    """Do the steps that take away; 1 if one of them could not be done."""
    if arguments.api is None:
        raise UsageError(
            "--api is needed: without the management API nobody knows what is empty, so nothing is deleted"
        )
    return do_steps(arguments, "prune")
