"""`taskroute dead remove`: letters to a file, and then away."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path

from taskroute.cli.dead.changing import add_changing, check_consent, consented, tell_settled
from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.progress import counted
from taskroute.cli.dead.which import add_ids, add_which
from taskroute.cli.exits import Exit, UsageError


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    add_ids(parser)
    add_which(parser)
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="a new file that gets what is removed; removed-letters-<time>.jsonl in the current folder if left out",
    )
    add_changing(parser, has_rate=False)


def run(arguments: Namespace) -> int:
    """Remove letters; 1 if not every letter that was meant is gone, or was seen."""
    check_consent(arguments)
    file = Path(arguments.file or f"removed-letters-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.jsonl")
    if file.exists():
        raise UsageError(f"--file {str(file)!r} is there already: name a new one")
    letters = letters_of(arguments)
    consent = consented(
        arguments, letters, lambda how_many: f"write {how_many} to {str(file)!r}, and then remove them?"
    )
    if consent is None:
        return Exit.FINDINGS
    with counted(lambda: f"; {file} has all of them" if file.exists() else "") as progress:
        settled = letters.remove(file, limit=arguments.limit, on_progress=progress, **consent[0])
    written = str(file) if settled.done else None
    what = f"removed, and kept in {written}" if written else "removed"
    return tell_settled(arguments, settled, what, file=written)
