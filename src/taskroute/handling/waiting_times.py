"""WaitingTimes: how long messages that nobody has begun wait, against the time that the broker gives them. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, NamedTuple

from taskroute.message.delivery import Delivery

CHECKS: Final = 8
"""Looks in the time that the broker gives: a wait is known to that part of it."""


class Line(NamedTuple):
    """The deliveries of one queue that wait: how many, the first and the last of them."""

    length: int
    first: Delivery
    last: Delivery


@dataclass(frozen=True, slots=True)
class Overlong:
    """Deliveries that will wait for too long.

    `waited`: seconds that the first has waited for, at least. `expected`: seconds that the last will, None while none
    is begun. `keep`: how many may wait; `surplus`: how many more do.
    """

    waited: float
    expected: float | None
    keep: int
    surplus: int


class _Mark(NamedTuple):
    at: float
    first: Delivery
    last: Delivery


class WaitingTimes:
    """The waits of one queue, from looks at its line again and again. It costs nothing for a message.

    Args:
        limit: seconds after which the broker takes an unacknowledged message back.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._marks: deque[_Mark] = deque()

    def look(self, line: Line | None, now: float) -> Overlong | None:
        """Take note of what waits now. Return what is wrong: half of the limit is for waiting, half for the handler."""
        if line is None:
            self._marks.clear()
            return None
        first, last = line.first, line.last
        self._marks.append(_Mark(now, first, last))
        # A mark whose last delivery has begun says nothing about those that wait; nor does one of another channel.
        while self._marks[0].last.generation != last.generation or self._marks[0].last.tag < first.tag:
            self._marks.popleft()
        mark = self._marks[0]
        waited, begun = now - mark.at, first.tag - mark.first.tag
        expected = line.length * waited / begun if begun else None
        if max(waited, expected or 0.0) < self.limit / 2:
            return None
        # What is kept has waited already: it begins before three quarters of the limit have passed, or goes back too.
        room = min(self.limit / 4, self.limit * 3 / 4 - waited)
        keep = min(line.length, max(0, int(begun * room / waited)))
        return Overlong(waited, expected, keep, line.length - keep) if keep < line.length else None
