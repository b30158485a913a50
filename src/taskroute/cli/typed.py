"""Typed: words of the command line: read, and repeated in an error without a password."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError


def typed(word: str) -> str:
    """Return a word as an error repeats it. One with an ``@`` may hold a password, whether or not it is a URL.

    >>> typed("38080"), typed("shop:secret@host")
    ("'38080'", '(not repeated: it may hold a password)')
    """
    return "(not repeated: it may hold a password)" if "@" in word else repr(word)


def whole_number(word: str) -> int:
    """Read a whole number, for argparse."""
    try:
        return int(word)
    except ValueError:
        raise ArgumentTypeError(f"{typed(word)} is no whole number") from None


def seconds(word: str) -> float:
    """Read seconds above 0, for argparse."""
    return above_zero(word, "seconds above 0")


def above_zero(word: str, what: str) -> float:
    """Read a number above 0, for argparse. `what` it is a number of, for who reads the error."""
    try:
        found = float(word)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise ArgumentTypeError(f"{typed(word)} is no number of {what}")
    return found
