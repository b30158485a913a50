"""`taskroute dead retry`: letters back to the queue that they failed in."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from taskroute.cli.consent import agrees
from taskroute.cli.dead.changing import add_changing, check_consent, consented, tell_settled
from taskroute.cli.dead.opening import add_opening, letters_of
from taskroute.cli.dead.progress import counted
from taskroute.cli.dead.telling import count, fields_of, line_of, queue_fields, tell_unseen
from taskroute.cli.dead.which import add_ids, add_which, which_of
from taskroute.cli.document import show_document
from taskroute.cli.exits import Exit
from taskroute.cli.terminal import show

if TYPE_CHECKING:
    from taskroute import DeadLetters

_MAX_REPLAYS = 3


def add_arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    add_opening(parser)
    add_ids(parser)
    add_which(parser)
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing; say of each letter what would become of it today"
    )
    add_changing(parser)


def run(arguments: Namespace) -> int:
    """Send letters again; 1 if not every letter that was meant went, or was seen."""
    if not arguments.dry_run:
        check_consent(arguments, ", or look first with --dry-run")
    letters = letters_of(arguments)
    if arguments.dry_run:
        return _rehearse(arguments, letters)
    consent = consented(arguments, letters, lambda how_many: f"send {how_many} back to the queue where each failed?")
    if consent is None:
        return Exit.FINDINGS
    which, looked_at = consent
    often = sum(letter.replays >= _MAX_REPLAYS for letter in looked_at)
    also_often = arguments.yes or (
        often > 0 and agrees(f"{count(often)} went back {_MAX_REPLAYS} times or more and failed again: also those?")
    )
    with counted() as progress:
        settled = letters.retry(
            limit=arguments.limit,
            rate=arguments.rate,
            max_replays=None if also_often else _MAX_REPLAYS,
            on_progress=progress,
            **which,
        )
    return tell_settled(arguments, settled, "sent again")


def _rehearse(arguments: Namespace, letters: DeadLetters) -> int:
    found = letters.find(**which_of(arguments))
    prospects = [(letter, letters.rehearse(letter)) for letter in found.letters[: arguments.limit]]
    if arguments.format == "json":
        show_document(
            letters=[
                {**fields_of(letter), "today": {"handler": prospect.handler, "problem": prospect.problem}}
                for letter, prospect in prospects
            ],
            queues=queue_fields(found.queues),
        )
    else:
        for letter, prospect in prospects:
            show(f"{letter.id}  {line_of(letter)}")
            show(str(prospect), indent=2)
        fine = sum(prospect.problem is None for _, prospect in prospects)
        show(f"{fine:,} of {count(len(prospects))} would be handled; nothing was done")
    code = tell_unseen(found.queues)
    return code if all(prospect.problem is None for _, prospect in prospects) else Exit.FINDINGS
