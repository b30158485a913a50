"""`taskroute plan`: what has to be done so that a broker has what topologies declare. It changes nothing."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.document import show_document
from taskroute.cli.exits import Exit
from taskroute.cli.planning import add_planning, add_was, planned
from taskroute.cli.terminal import show


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_planning(parser)
    add_was(parser)
    parser.epilog = f"{parser.epilog}; 10 something is to be done; 11 something has to be replaced"


def run(arguments: Namespace) -> int:
    """Print the plan; 10 if something is to be done, 11 if something has to be replaced."""
    from taskroute.operate.plan.render import plan_data, plan_lines

    found = planned(arguments)
    if arguments.format == "json":
        show_document(**plan_data(found.plan, found.observed))
    else:
        for line in plan_lines(found.plan, found.observed):
            show(line.lstrip(), indent=len(line) - len(line.lstrip()))
    if found.plan.has_to_replace:
        return Exit.REPLACE
    return Exit.CHANGES if found.plan.steps else Exit.OK
