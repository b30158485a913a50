"""`taskroute dead import`: letters of a file back where they lay."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from taskroute.cli.consent import add_yes, agrees, check_can_ask
from taskroute.cli.dead.changing import add_rate, tell_settled
from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.progress import counted
from taskroute.cli.dead.telling import count
from taskroute.cli.exits import Exit, UsageError
from taskroute.cli.terminal import complain


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    parser.add_argument("file", metavar="FILE", help="as export and remove write it; - for stdin")
    add_rate(parser)
    add_yes(parser)


def run(arguments: Namespace) -> int:
    """Put letters back; 1 if not all of them went."""
    check_can_ask(arguments.yes)
    if arguments.file == "-" and not arguments.yes:
        raise UsageError("the letters come by stdin, so that nobody can be asked there: give --yes")
    letters = letters_of(arguments)
    try:
        lines = (
            sys.stdin.buffer.readlines() if arguments.file == "-" else Path(arguments.file).read_bytes().splitlines()
        )
    except OSError as error:
        raise UsageError(f"FILE {arguments.file!r}: {error.strerror}") from None
    if not arguments.yes and not agrees(f"put {count(sum(bool(line.strip()) for line in lines))} back?"):
        complain("dead", "nothing was done")
        return Exit.FINDINGS
    with counted() as progress:
        settled = letters.import_from(lines, rate=arguments.rate, on_progress=progress)
    return tell_settled(arguments, settled, "put back")
