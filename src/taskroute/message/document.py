"""Document: whether JSON that pydantic has written is JSON that it reads: it writes more. Pure.

Whoever writes a document looks for what is suspicious in it, as a call more would be measured, and comes here then.
"""

from __future__ import annotations

import re
from typing import Final

from pydantic_core import from_json

from taskroute.errors import MessageInvalidError
from taskroute.message.finite import not_finite
from taskroute.message.reading_back import Needs

ALWAYS_READ: Final = 200
"""Levels of arrays and objects that pydantic reads. It writes some more."""

_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

Marks = tuple[tuple[int, bytes], ...]
DECIMAL_MARKS: Final[Marks] = ((ord("N"), b"NaN"), (ord("I"), b"Inf"))
_FLOAT_MARKS: Final[Marks] = ((ord("u"), b"null"),)
_MARKS: Final[Marks] = (*DECIMAL_MARKS, *_FLOAT_MARKS, (ord("f"), b'inf"'), (ord("n"), b'nan"'))
"""How a number that is not finite is written: by a model, as a value, as a key. A text may hold the same.

A number of a byte is looked for first, which is ten times as fast.
"""

MOST_DIGITS: Final = 4300
"""Digits of a whole number that pydantic reads. It writes more."""

_SHORTER: Final = f"send a whole number of more than {MOST_DIGITS} digits as a text"
_LONG_NUMBER: Final = re.compile(rb"\d{4}")
"""What is found of a longer number where each thousandth byte is looked at."""


def marks_of(needs: Needs) -> Marks:
    """Return what is looked for in a document of a type, given its needs."""
    if "trial" in needs:
        return _MARKS
    is_open = "untyped" in needs
    return DECIMAL_MARKS * (is_open or "decimal" in needs) + _FLOAT_MARKS * (is_open or "finite" in needs)


def check_depth(body: object, document: bytes) -> None:
    """Refuse a body that is nested so deeply that pydantic writes it and does not read it."""
    brackets = document.translate(None, _NO_BRACKETS)
    for _ in range(ALWAYS_READ):  # each turn takes the innermost ones away
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:  # unless they are those of a text
        _check_readable(body, document, "nest it less deep")


def check_digits(body: object, document: bytes) -> bool:
    """Refuse a whole number that is too long to be read; return whether the document has a run of digits as long."""
    if _LONG_NUMBER.search(document[::1000]) is None:
        return False
    _check_readable(body, document, _SHORTER)
    return True


def _check_readable(body: object, document: bytes, way_out: str) -> None:
    try:
        from_json(document)
    except ValueError as error:
        raise MessageInvalidError(
            f"the body, {type(body).__name__}, cannot be sent: no handler could read it: {error}: {way_out}"
        ) from None


def check_finite(body: object) -> None:
    """Refuse a number that is NaN or infinite."""
    place = next(not_finite(body), None)
    if place is not None:
        raise MessageInvalidError(
            f"the body, {type(body).__name__}, cannot be sent: {'.'.join(place) or 'it'} is NaN or infinite, and JSON "
            f"has no such number: send None, or a text"
        )
