"""Suggestion: what an error about a name that was typed ends with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskroute.cli.exits import UsageError
from taskroute.suggestion import did_you_mean


def hint(name: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the end of an error about an unknown name, with its colon; nothing if there is nothing to say.

    >>> hint("servise", ["service", "topology"]), hint("x", ["service"])
    (": did you mean 'service'?", '')
    """
    told = did_you_mean(name, known, otherwise)
    return f": {told}" if told else ""


def _named(name: str) -> str:
    return repr(name) if name else "'', the default exchange"


def known_or_suggest(option: str, name: str, known: Sequence[str]) -> str:
    """Return a name that is known.

    Raises:
        UsageError: it is not; says which one may be meant, or which there are.
    """
    if name not in known:
        there_are = f"there are {', '.join(map(_named, known))}" if known else "there are none"
        raise UsageError(f"{option} {name!r} is not known{hint(name, known, there_are)}")
    return name
