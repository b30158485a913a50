"""Suggestion: the known name that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `: did you mean ...?`, or nothing if no known name is near.

    >>> did_you_mean("servise", ["service", "topology"])
    ": did you mean 'service'?"
    """
    near = get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else ""
