"""`taskroute dead move`: letters to another queue of the target."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from taskroute.cli.dead.changing import add_changing, check_consent, consented, tell_settled
from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.progress import counted
from taskroute.cli.dead.which import add_ids, add_which
from taskroute.cli.exits import Exit


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    add_ids(parser)
    add_which(parser)
    parser.add_argument("--to", metavar="QUEUE", required=True, help="a queue of the target")
    add_changing(parser)


def run(arguments: Namespace) -> int:
    """Move letters; 1 if not every letter that was meant went, or was seen."""
    check_consent(arguments)
    letters = letters_of(arguments)
    letters.check_target(arguments.to)
    consent = consented(arguments, letters, lambda how_many: f"move {how_many} to {arguments.to!r}?")
    if consent is None:
        return Exit.FINDINGS
    with counted() as progress:
        settled = letters.move(
            arguments.to, limit=arguments.limit, rate=arguments.rate, on_progress=progress, **consent[0]
        )
    return tell_settled(arguments, settled, f"moved to {arguments.to!r}")
