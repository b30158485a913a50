"""Restarts: when a process that has died is started again, and when that is given up. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_DEATHS: Final = 5
WINDOW: Final = 60.0
"""Seconds. So many deaths within them, of all processes together, end everything: a restart does not help."""

FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 8.0


class Restarts:
    """Counts the deaths of the last minute.

    Example:
        >>> restarts = Restarts()
        >>> restarts.died(at=100.0), restarts.died(at=101.0)
        (0.25, 0.5)
        >>> [restarts.died(at=second) for second in (102.0, 103.0, 104.0)]
        [1.0, 2.0, None]
    """

    def __init__(self) -> None:
        self._deaths: deque[float] = deque()

    def died(self, at: float) -> float | None:
        """Count a death, and return the seconds to wait before the next start; None: start nothing any more."""
        self._deaths.append(at)
        while self._deaths[0] <= at - WINDOW:
            self._deaths.popleft()
        count = len(self._deaths)
        return None if count >= MAX_DEATHS else min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)
