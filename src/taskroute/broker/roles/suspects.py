"""Suspects: finding the message over which the broker closed a channel or a connection. Pure.

The broker does not say which message it was. Those in flight become suspects and are sent again one by one; the one
that is alone in flight when it happens again is the offender. So it takes no other message along until its deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from taskroute.broker.roles.submission import Submission

REFUSALS: Final = frozenset({311, 403, 404, 405, 406, 501, 502, 503, 505, 530, 540, 541})
"""Codes with which a broker closes a channel or connection over something that it was sent."""

_REPEATS: Final = 3
"""Connections in a row that must end with the same message the first to be unconfirmed, before it is suspected."""


class Suspects:
    """The messages that were in flight when the broker closed the channel. False when there are none."""

    __slots__ = ("_first", "_repeats", "_suspects")

    def __init__(self) -> None:
        self._suspects: set[Submission] = set()
        self._first: Submission | None = None
        self._repeats = 0

    def __bool__(self) -> bool:
        return bool(self._suspects)

    def clear_of(self, submission: Submission) -> None:
        """Take note that a message has its outcome."""
        self._suspects.discard(submission)

    def find_offender(self, code: int | None, unconfirmed: Sequence[Submission]) -> Submission | None:
        """Return the message that the channel was closed over, None if that is not known yet, or was not the reason.

        Args:
            code: with which the broker has closed it, None if it has not.
            unconfirmed: what was in flight, in the order in which it was written.
        """
        if code not in REFUSALS and not self._is_repeated(unconfirmed):
            return None
        self._suspects = {suspect for suspect in self._suspects if not suspect.is_resolved}
        if len(unconfirmed) == 1 and unconfirmed[0] in self._suspects:
            self._suspects.discard(unconfirmed[0])
            return unconfirmed[0]
        self._suspects.update(unconfirmed)
        return None

    def _is_repeated(self, unconfirmed: Sequence[Submission]) -> bool:
        first = unconfirmed[0] if unconfirmed else None
        self._repeats = self._repeats + 1 if first is not None and first is self._first else 1
        self._first = first
        return self._repeats >= _REPEATS
