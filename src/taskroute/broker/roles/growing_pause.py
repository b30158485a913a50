"""GrowingPause: how soon a remedy may be used again. Pure."""

from __future__ import annotations

import math


class GrowingPause:
    """Lets something happen, and not again until a pause is over, which doubles each time.

    After a quiet time as long as the longest pause it begins with the shortest one again.

    Args:
        shortest, longest: seconds.

    Example:
        >>> pause = GrowingPause(5, 60)
        >>> pause.is_over(0), pause.begin(0), pause.is_over(4), pause.is_over(5)
        (True, None, False, True)
    """

    __slots__ = ("_longest", "_seconds", "_shortest", "_until")

    def __init__(self, shortest: float, longest: float) -> None:
        self._shortest = shortest
        self._longest = longest
        self._seconds = shortest
        self._until = -math.inf

    def is_over(self, now: float) -> bool:
        """Return whether it may happen."""
        return now >= self._until

    def begin(self, now: float) -> None:
        """Take note that it happens now."""
        is_quiet = now >= self._until + self._longest
        self._seconds = self._shortest if is_quiet else min(2 * self._seconds, self._longest)
        self._until = now + self._seconds
