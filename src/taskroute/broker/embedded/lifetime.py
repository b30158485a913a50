"""A message's own lifetime, its property `expiration`, as RabbitMQ reads it. Pure."""

from __future__ import annotations

import re
from typing import Final

from taskroute.broker.embedded.refusal import PRECONDITION_FAILED, Refusal

_NUMBER: Final = re.compile(r"[+-]?[0-9]+")
_LONGEST: Final = 315_360_000_000
"""Milliseconds: ten years."""


def milliseconds(expiration: object) -> int:
    """Return how long a message lives.

    Raises:
        Refusal: 406, `expiration` is no whole number, or out of range.
    """
    text = str(expiration)
    if _NUMBER.fullmatch(text) and 0 <= (number := int(text)) <= _LONGEST:
        return number
    raise Refusal(PRECONDITION_FAILED, f"invalid expiration '{text}'")
