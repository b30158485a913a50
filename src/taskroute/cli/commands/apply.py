"""`taskroute apply`: create and bind what topologies declare and a broker lacks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.consent import add_yes
from taskroute.cli.planning import add_planning, do_steps


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_planning(parser)
    add_yes(parser)


def run(arguments: Namespace) -> int:
    """Do the steps that create and bind; 1 if one of them could not be done."""
    return do_steps(arguments, "apply")
