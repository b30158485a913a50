"""Raised: what is told of an exception in a log line and with a dead letter.

An exception's text tends to quote the message that it failed on, so whether it may be told is the user's to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from taskroute.code_place import place_of
from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.quoting import printable, quoted, shorten, without_passwords
from taskroute.traceback_text import traceback_text

ErrorDetail = Literal["text", "place"]
"""What is told of an exception: class, text, place and traceback, or only class and place."""

MAX_TEXT: Final = 500
"""Characters of an exception's text."""

_WINDOW: Final = 8 * MAX_TEXT
"""Characters of a text that are looked at. More than are told, so that no password is cut before it is known."""

_SHORT: Final = 4
"""A password of fewer characters is replaced in URLs alone: it would be found in any text."""


@exported_by("taskroute.instrumentation")
@dataclass(frozen=True, slots=True)
class Raised:
    """What is told of an exception. `kind` is its class; `place`, `text` and `traceback` may be empty.

    All is cut and without passwords. `text` is as it was said: it must be quoted. The others are safe for a line.
    """

    kind: str
    place: str
    text: str = ""
    traceback: str = ""

    @property
    def error(self) -> str:
        """Class and place, by which failures are grouped: free of values."""
        return f"{self.kind} at {self.place}" if self.place else self.kind


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Says of exceptions what may be told. Any thread may call.

    Args:
        detail: whether texts may be told.
        passwords: returns those that must stand in no text.
    """

    detail: ErrorDetail = "text"
    passwords: Callable[[], Collection[str]] = tuple

    def of(self, error: BaseException, package: str = "") -> Raised:
        """Return what is told of an exception. Raises nothing, whatever the exception's own methods do.

        Args:
            error: with its traceback.
            package: see `place_of`.
        """
        kind, place = kind_of(error), printable(place_of(error.__traceback__, package))
        if self.detail == "place":
            return Raised(kind, place)
        return Raised(kind, place, self.text(error), traceback_text(error, kind_of, self.text, self.hidden))

    def text(self, error: BaseException) -> str:
        """Return the text of an exception, cut; empty if it has none, or none may be told."""
        if self.detail == "place":
            return ""
        try:
            return self.hidden(str(error))[:MAX_TEXT]
        except BaseException:  # noqa: BLE001 - an exception's own __str__ may raise, exits included
            return ""

    def hidden(self, text: str) -> str:
        """Return the beginning of a text without passwords."""
        longest = max(map(len, passwords)) if (passwords := self.passwords()) else 0
        is_cut = len(text) > _WINDOW
        text = without_passwords(text[:_WINDOW])
        for password in sorted(passwords, key=len, reverse=True):
            if len(password) >= _SHORT:
                text = text.replace(password, "***")
        return text[:-longest] if is_cut and longest else text  # it may end within one


TELL_ALL: Final = Disclosure()
"""Tells all, but for the passwords in URLs."""


def at(place: str) -> str:
    """Return a place as the fact of a log line, nothing if there is none."""
    return f" at={quoted(place)}" if place else ""


def checked_detail(detail: object) -> ErrorDetail:
    """Return what may be told of exceptions.

    Raises:
        ConfigurationError: it is none of the two.
    """
    for known in get_args(ErrorDetail):
        if detail == known:
            checked: ErrorDetail = known
            return checked
    raise ConfigurationError(f"errors={shorten(str(detail))} is neither 'text' nor 'place'")


def kind_of(error: BaseException) -> str:
    """Return the class of an exception, as its traceback names it."""
    kind: Any = type(error)
    return printable(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."))
