"""Changing: what the verbs have in common that change something: the options, the question before, the word after."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from taskroute.cli.consent import add_yes, agrees, check_can_ask
from taskroute.cli.dead.telling import count, settled_fields, tell_left, tell_unseen
from taskroute.cli.dead.which import which_of
from taskroute.cli.document import show_document
from taskroute.cli.exits import Exit
from taskroute.cli.terminal import complain, show
from taskroute.cli.typed import above_zero, typed, whole_number

if TYPE_CHECKING:
    from taskroute import DeadLetters, Letter, SettledLetters, WhichLetters


def add_changing(parser: ArgumentParser, *, has_rate: bool = True) -> None:
    """Give a verb what each that changes something has."""
    parser.add_argument("--limit", metavar="N", type=_at_least_one, help="letters at most; all if left out")
    if has_rate:
        add_rate(parser)
    add_yes(parser)


def add_rate(parser: ArgumentParser) -> None:
    """Give a verb the option --rate."""
    parser.add_argument("--rate", metavar="N", type=_rate, help="letters a second at most")


def consented(
    arguments: Namespace, letters: DeadLetters, question: Callable[[str], str]
) -> tuple[WhichLetters, tuple[Letter, ...]] | None:
    """Return which letters are meant, and those that were looked at for the question; None if the answer is no.

    With --yes nobody is asked, and nothing looked at before.
    """
    which = which_of(arguments)
    if arguments.yes:
        return which, ()
    found = letters.find(**which)
    meant = found.letters[: arguments.limit]
    if not meant:
        tell_unseen(found.queues)
        show("no letter is meant")
        return None
    if not agrees(question(count(len(meant)))):
        complain("dead", "nothing was done")
        return None
    these: WhichLetters = {"ids": [letter.id for letter in meant]}
    if "queue" in which:  # no other one is looked into for them
        these["queue"] = which["queue"]
    return these, meant


def check_consent(arguments: Namespace, way_out: str = "") -> None:
    """Raise UsageError, before anybody is asked anything, if nobody can consent."""
    check_can_ask(arguments.yes, way_out)


def tell_settled(arguments: Namespace, settled: SettledLetters, what: str, **more: object) -> Exit:
    """Print what became of letters; 1 if not everything was done."""
    if arguments.format == "json":
        show_document(**settled_fields(settled), **more)
    else:
        show(f"{count(len(settled.done))} {what}")
    tell_left(settled.left)
    if settled.problem is not None:
        complain("dead", f"the run ended early: {settled.problem}")
    code = tell_unseen(settled.queues)
    return code if settled.is_complete else Exit.FINDINGS


def _at_least_one(word: str) -> int:
    number = whole_number(word)
    if number < 1:
        raise ArgumentTypeError(f"{typed(word)} is less than 1")
    return number


def _rate(word: str) -> float:
    return above_zero(word, "letters a second")
