"""Which: the arguments that say which letters are meant."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import TYPE_CHECKING, Final

from taskroute.cli.typed import typed

if TYPE_CHECKING:
    from taskroute import WhichLetters

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FILTERS: Final = ("queue", "reason", "handler", "key", "error", "since", "older", "written_by", "ids")


def add_ids(parser: ArgumentParser) -> None:
    """Give a verb ids, as many as there are."""
    parser.add_argument("ids", metavar="ID", nargs="*", help="letters, as list names them; equal letters have one id")


def add_which(parser: ArgumentParser) -> None:
    """Give a verb the options that choose letters."""
    parser.add_argument("--queue", metavar="NAME", help="where they failed, or the dead-letter queue itself")
    parser.add_argument("--reason", metavar="REASON", help="such as handler_error, invalid_body, expired")
    parser.add_argument("--handler", metavar="NAME", help="of that handler, as the letters name it")
    parser.add_argument("--key", metavar="PATTERN", help="routing keys that this pattern takes, such as order.*.paid")
    parser.add_argument("--error", metavar="TEXT", help="a text that is in what is told of the error")
    parser.add_argument("--since", metavar="AGE", type=age, help="failed at most so long ago: 90s, 30m, 2h, 7d, 1w")
    parser.add_argument("--older", metavar="AGE", type=age, help="failed longer ago than that")
    parser.add_argument(
        "--written-by",
        choices=("worker", "broker", "publisher"),
        help="who has put them there; a publisher is any other client",
    )


def which_of(arguments: Namespace) -> WhichLetters:
    """Return which letters are meant. An option that is left out says nothing."""
    given = {name: getattr(arguments, name, None) for name in _FILTERS}
    which: WhichLetters = {name: value for name, value in given.items() if value not in (None, [])}  # type: ignore[assignment]
    return which


def age(word: str) -> float:
    """Read an age, for argparse.

    >>> age("2h"), age("90")
    (7200.0, 90.0)
    """
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhdw]?)", word, re.ASCII)
    if found is None:
        raise ArgumentTypeError(f"{typed(word)} is no age such as 90s, 30m, 2h, 7d or 1w")
    return float(found[1]) * _UNITS[found[2] or "s"]
