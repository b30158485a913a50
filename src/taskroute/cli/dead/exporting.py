"""`taskroute dead export`: letters as lines of JSON."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.telling import count, tell_unseen
from taskroute.cli.dead.which import add_ids, add_which, which_of
from taskroute.cli.exits import UsageError
from taskroute.cli.terminal import show


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    add_ids(parser)
    add_which(parser)
    parser.add_argument("--file", metavar="FILE", help="a new file; stdout if left out")


def run(arguments: Namespace) -> int:
    """Write the letters; 1 if some were not looked at."""
    from taskroute.operate.dead_letters.archive import line_of
    from taskroute.operate.dead_letters.safekeeping import write_safely

    if arguments.file is not None and Path(arguments.file).exists():
        raise UsageError(f"--file {arguments.file!r} is there already: name a new one")
    letters = letters_of(arguments)
    if arguments.file is None:
        found = letters.export(sys.stdout.write, **which_of(arguments))
    else:
        found = letters.find(**which_of(arguments))
        write_safely(Path(arguments.file), map(line_of, found.letters))
        show(f"{count(len(found.letters))} in {arguments.file}")
    return tell_unseen(found.queues)
