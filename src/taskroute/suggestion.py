"""Suggestion: the known name that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is nearly `name`, None if there is none: one that is misspelled, or part of one.

    >>> nearest("Prefech", ["prefetch", "threads"]), nearest("ttl", ["message_ttl", "name"]), nearest("x", ["y"])
    ('prefetch', 'message_ttl', None)
    """
    folded = {other.lower(): other for other in known}
    if near := get_close_matches(name.lower(), folded, n=1):
        return folded[near[0]]
    words = set(name.lower().replace("-", "_").split("_"))
    return next((other for low, other in folded.items() if words <= set(low.split("_"))), None)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the question which ends an error about an unknown name, or something else if no known name is near.

    >>> did_you_mean("servise", ["service"]), did_you_mean("x", ["service"], "there is service")
    ("did you mean 'service'?", 'there is service')
    """
    near = nearest(name, known)
    return otherwise if near is None else f"did you mean {near!r}?"
