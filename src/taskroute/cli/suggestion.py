"""Suggestion: the known name that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskroute.cli.exits import UsageError
from taskroute.suggestion import nearest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `: did you mean ...?`, or nothing if no known name is near.

    >>> did_you_mean("servise", ["service", "topology"])
    ": did you mean 'service'?"
    """
    near = nearest(name, known)
    return "" if near is None else f": did you mean {near!r}?"


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
