"""Suggestion: the known name that somebody may have meant, also where a call has an option that there is not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter
from typing import Any, Final, TypeVar, cast

Called = TypeVar("Called", bound=Callable[..., Any])

_BY_NAME: Final = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


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


def suggests_options(*further: str) -> Callable[[Called], Called]:
    """Have a function or class say which of its options was meant, when it is called with one that there is not.

    Args:
        further: names that its ``**options`` may have.

    Example:
        >>> @suggests_options()
        ... def start(*, threads=8): ...
        >>> start(thread=3)
        Traceback (most recent call last):
        TypeError: start: there is no option 'thread'; did you mean 'threads'?
    """

    def suggesting(called: Called) -> Called:
        if isinstance(called, type):
            setattr(called, "__init__", suggesting(vars(called)["__init__"]))  # noqa: B010 - mypy takes no assignment
            return called
        named = [each.name for each in inspect.signature(called).parameters.values() if each.kind in _BY_NAME]
        known = [name for name in (*named, *further) if name != "self"]
        subject = called.__qualname__.removesuffix(".__init__")

        @wraps(called)
        def checked(*arguments: Any, **options: Any) -> Any:
            for name in options:
                if name not in known:
                    hint = did_you_mean(name, known, f"there are {', '.join(known)}")
                    raise TypeError(f"{subject}: there is no option {name!r}; {hint}")
            return called(*arguments, **options)

        return cast("Called", checked)

    return suggesting
