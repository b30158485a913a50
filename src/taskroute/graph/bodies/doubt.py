"""Doubt: a reason why it is not proved that a handler takes every body of an event."""

from __future__ import annotations

from typing import Final, NamedTuple

Path = tuple[str, ...]

ANYWHERE: Final = "*"
"""In a path: any item or key."""


class Doubt(NamedTuple):
    """A reason why it is not proved that what is written at a place is read there.

    `is_blind`: whether a made-up body that is refused at this place proves nothing about real ones.
    """

    path: Path
    reason: str
    is_blind: bool = False

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'body'}: {self.reason}"
