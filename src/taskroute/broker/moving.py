"""Moving: when a session goes back to the first node of its order. On the session's thread."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from taskroute.broker.roles.role import Role

FIRST_MOVE: Final = 300.0
LAST_MOVE: Final = 900.0
"""Seconds on another node before the first and the last clients of a fleet go back, each at a moment of its own."""


class Moving:
    """Looks for the moment at which a connection to another node can be left without harm.

    After the restart of a node its clients are on the others. Some minutes later, spread so that they do not come all
    at once, each looks whether its first node takes connections again. If so, its role takes on no new work; once
    nothing is open the connection is closed in good order. If that takes too long the role goes on, and it is tried
    again some minutes later.

    Args:
        role: of the session.
        is_reachable: whether the first node takes connections; asked on the session's thread.
        monotonic: the session's clock.
        jitter: of the session's own.
    """

    def __init__(
        self, role: Role, is_reachable: Callable[[], bool], monotonic: Callable[[], float], jitter: random.Random
    ) -> None:
        self._role = role
        self._is_reachable = is_reachable
        self._monotonic = monotonic
        self._jitter = jitter
        self._begins_at: float | None = None
        self._ends_at: float | None = None  # while the role is leaving

    def opened(self, *, is_first: bool) -> None:
        """Take note of a connection, to the first node of the order or to another one."""
        self._ends_at = self._begins_at = None
        if not is_first:
            self._plan()

    def next_deadline(self) -> float | None:
        """Return when to ask `is_over` next, None for never."""
        return self._begins_at if self._ends_at is None else self._ends_at

    def is_over(self) -> bool:
        """Return whether the connection is to be left now; asked after each pass of the session."""
        if self._begins_at is None:
            return False
        now = self._monotonic()
        if self._ends_at is None:
            if now < self._begins_at:
                return False
            if not self._is_reachable():
                self._plan()
                return False
            self._ends_at = now + self._role.leaving_time
        if self._role.leave():
            return True
        if now >= self._ends_at:
            self._role.stay()
            self._plan()
        return False

    def _plan(self) -> None:
        self._begins_at = self._monotonic() + self._jitter.uniform(FIRST_MOVE, LAST_MOVE)
        self._ends_at = None
