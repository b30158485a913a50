"""Telling: letters and queues, for people and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from taskroute.cli.exits import Exit
from taskroute.cli.terminal import complain

if TYPE_CHECKING:
    from taskroute import LeftLetter, Letter, LookedInto, SettledLetters

AUTHORS: Final = {
    "worker": "put there by workers",
    "broker": "put there by the broker",
    "publisher": "put there by other clients: nobody who is believed says where they failed",
}
"""Who may have put a letter where it lies, in the order in which they are shown."""

_AGES: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def count(number: int, what: str = "letter") -> str:
    """Return a number of things.

    >>> count(1), count(2)
    ('1 letter', '2 letters')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def age_of(letter: Letter) -> str:
    """Return how long ago a letter failed, ``-`` if nobody says."""
    if letter.failed_at is None:
        return "-"
    seconds = max(0, int((datetime.now(UTC) - letter.failed_at).total_seconds()))
    size, unit = next(((size, unit) for size, unit in _AGES if seconds >= size), (1, "s"))
    return f"{seconds // size}{unit}"


def line_of(letter: Letter) -> str:
    """Return a letter in a line: where it failed, with which key, and why."""
    error = letter.error or letter.error_text.partition("\n")[0]
    why = ": ".join(each for each in (letter.handler, error) if each)
    return f"{letter.reason or '-'}  {letter.queue} {letter.routing_key!r}{f'  {why}' if why else ''}"


def fields_of(letter: Letter) -> dict[str, Any]:
    """Return a letter for a program, without what only `show` tells."""
    names = ("id", "lies_in", "queue", "exchange", "routing_key", "reason", "error", "error_text", "handler")
    return {
        **{name: getattr(letter, name) for name in names},
        "attempt": letter.attempt,
        "failed_at": None if letter.failed_at is None else letter.failed_at.isoformat(timespec="milliseconds"),
        "replays": letter.replays,
        "written_by": letter.written_by,
        "message_id": letter.message_id,
        "size": len(letter.body),
    }


def queue_fields(queues: Iterable[LookedInto]) -> list[dict[str, Any]]:
    """Return the queues for a program."""
    return [
        {"queue": each.queue, "ready": each.ready, "looked_at": each.looked_at, "problem": each.problem}
        for each in queues
    ]


def tell_unseen(queues: Sequence[LookedInto]) -> Exit:
    """Say on stderr which letters were not looked at, and why; the exit code that it makes."""
    for each in queues:
        if each.problem is not None:
            inside = "" if each.ready is None else f" ({count(each.ready)})"
            complain("dead", f"queue {each.queue!r}{inside} was not looked into: {each.problem}")
        elif not each.is_complete:
            complain(
                "dead",
                f"{each.looked_at:,} of {count(each.ready or 0)} of queue {each.queue!r} were looked at, no others: "
                "a run takes 10,000 that are meant, of the first 100,000, and somebody else may hold some; "
                "settle or move away what lies in front, and run it again",
            )
    return Exit.OK if all(each.is_complete for each in queues) else Exit.FINDINGS


def tell_left(left: Iterable[LeftLetter]) -> None:
    """Say on stderr how many letters stay, and why."""
    reasons = Counter((each.why, each.may_be_twice) for each in left)
    for (why, may_be_twice), number in reasons.items():
        twice = "; the broker may have it there as well" if may_be_twice else ""
        complain("dead", f"{count(number)} {'stays' if number == 1 else 'stay'}: {why}{twice}")


def settled_fields(settled: SettledLetters) -> dict[str, Any]:
    """Return what became of letters, for a program."""
    return {
        "done": [letter.id for letter in settled.done],
        "left": [{"id": each.letter.id, "why": each.why, "may_be_twice": each.may_be_twice} for each in settled.left],
        "queues": queue_fields(settled.queues),
        "problem": settled.problem,
    }
