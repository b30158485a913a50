"""Suggestion: the known name that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from taskroute.cli.exits import UsageError


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `: did you mean ...?`, or nothing if no known name is near.

    >>> did_you_mean("servise", ["service", "topology"])
    ": did you mean 'service'?"
    """
    near = get_close_matches(name, list(known), n=1)
    return f": did you mean {near[0]!r}?" if near else ""


def known_or_suggest(option: str, name: str, known: Sequence[str]) -> str:
    """Return a name that is known.

    Raises:
        UsageError: it is not; says which one may be meant, or which there are.
    """
    if name not in known:
        hint = (
            did_you_mean(name, known) or f": there are {', '.join(map(repr, known))}" if known else ": there are none"
        )
        raise UsageError(f"{option} {name!r} is not known{hint}")
    return name
