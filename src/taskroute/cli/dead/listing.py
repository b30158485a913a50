"""`taskroute dead list`: letters, a line each."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.telling import AUTHORS, age_of, count, fields_of, line_of, queue_fields, tell_unseen
from taskroute.cli.dead.which import add_which, which_of
from taskroute.cli.document import show_document
from taskroute.cli.terminal import show
from taskroute.cli.typed import whole_number

if TYPE_CHECKING:
    from taskroute import Letter


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    add_which(parser)
    parser.add_argument("--limit", metavar="N", type=whole_number, default=50, help="lines at most; 50 if left out")


def run(arguments: Namespace) -> int:
    """Print the letters; 1 if some were not looked at."""
    found = letters_of(arguments).find(**which_of(arguments))
    shown = found.letters[: max(arguments.limit, 0)]
    if arguments.format == "json":
        show_document(
            letters=[fields_of(letter) for letter in shown],
            matching=len(found.letters),
            queues=queue_fields(found.queues),
        )
    else:
        _show_text(shown, len(found.letters))
    return tell_unseen(found.queues)


def _show_text(letters: Sequence[Letter], of: int) -> None:
    for author, heading in AUTHORS.items():
        written = [letter for letter in letters if letter.written_by == author]
        if written:
            show(f"{heading}:", first_word="bold")
        for letter in written:
            show(f"{letter.id}  {age_of(letter):>4}  {line_of(letter)}", indent=2)
    show(f"{count(of)}, the first {len(letters)} shown" if len(letters) < of else count(of))
