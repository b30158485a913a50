"""`taskroute dead stats`: how many letters have something in common."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter

from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.telling import AUTHORS, count, queue_fields, tell_unseen
from taskroute.cli.dead.which import add_which, which_of
from taskroute.cli.document import show_document
from taskroute.cli.terminal import show


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    add_which(parser)
    parser.add_argument(
        "--by", choices=("queue", "reason", "handler", "error"), default="queue", help="queue if left out"
    )


def run(arguments: Namespace) -> int:
    """Print the counts; 1 if some letters were not looked at."""
    found = letters_of(arguments).find(**which_of(arguments))
    counts = Counter((letter.written_by, str(getattr(letter, arguments.by))) for letter in found.letters)
    if arguments.format == "json":
        show_document(
            by=arguments.by,
            counts=[
                {"value": value, "written_by": author, "letters": number}
                for (author, value), number in counts.most_common()
            ],
            queues=queue_fields(found.queues),
        )
    else:
        for author, heading in AUTHORS.items():
            own = [(value, number) for (by, value), number in counts.most_common() if by == author]
            if own:
                show(f"{heading}:", first_word="bold")
            for value, number in own:
                show(f"{number:>7,}  {value or '-'}", indent=2)
        show(count(len(found.letters)))
    return tell_unseen(found.queues)
