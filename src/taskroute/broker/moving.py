"""Moving: when a session goes back to the first node of its order. On the session's thread."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final, Literal

from taskroute.broker.roles.role import Role
from taskroute.state_table import StateTable

FIRST_MOVE: Final = 300.0
LAST_MOVE: Final = 900.0
"""Seconds on another node before the first and the last clients of a fleet go back, each at a moment of its own."""

MovingState = Literal["staying", "waiting", "looking", "leaving"]
"""On the first node, or on none; on another one until it is time; until it is known whether the first takes
connections; until nothing is open."""

MovingEvent = Literal["open_first", "open_other", "lose", "due", "reachable", "unreachable", "late"]

MOVING_MOVES: Final[StateTable[MovingState, MovingEvent]] = StateTable(
    "move",
    {
        ("staying", "open_first"): "staying",
        ("staying", "open_other"): "waiting",
        ("staying", "lose"): "staying",
        ("waiting", "open_first"): "staying",
        ("waiting", "open_other"): "waiting",
        ("waiting", "lose"): "staying",
        ("waiting", "due"): "looking",
        ("looking", "open_first"): "staying",
        ("looking", "open_other"): "waiting",
        ("looking", "lose"): "staying",
        ("looking", "reachable"): "leaving",
        ("looking", "unreachable"): "waiting",
        ("leaving", "open_first"): "staying",
        ("leaving", "open_other"): "waiting",
        ("leaving", "lose"): "staying",
        ("leaving", "late"): "waiting",
    },
)


class Moving:
    """Looks for the moment at which a connection to another node can be left without harm.

    After the restart of a node its clients are on the others. Some minutes later, spread so that they do not come all
    at once, each looks whether its first node takes connections again. If so, its role takes on no new work; once
    nothing is open the connection is closed in good order. If that takes too long the role goes on, and it is tried
    again some minutes later.

    Args:
        role: of the session.
        look: begins to look whether the first node takes connections, and has `looked` called with what it finds.
        monotonic: the session's clock.
        jitter: of the session's own.
    """

    def __init__(
        self, role: Role, look: Callable[[], None], monotonic: Callable[[], float], jitter: random.Random
    ) -> None:
        self._role = role
        self._look = look
        self._monotonic = monotonic
        self._jitter = jitter
        self._state: MovingState = "staying"
        self._due = 0.0  # while it waits or leaves

    def opened(self, *, is_first: bool) -> None:
        """Take note of a connection, to the first node of the order or to another one."""
        self._move("open_first" if is_first else "open_other")

    def lost(self) -> None:
        """Take note that there is no connection any more: nothing is due without one."""
        self._move("lose")

    def looked(self, *, is_reachable: bool) -> None:
        """Take note whether the first node takes connections; of no use once another connection was opened."""
        if self._state == "looking":
            self._move("reachable" if is_reachable else "unreachable")

    def next_deadline(self) -> float | None:
        """Return when to ask `is_over` at the latest, None for never."""
        return self._due if self._state in ("waiting", "leaving") else None

    def is_over(self) -> bool:
        """Return whether the connection is to be left now; asked after each pass of the session."""
        if self._state == "staying":
            return False
        if self._state == "waiting" and self._due <= self._monotonic():
            self._move("due")
            self._look()
        elif self._state == "leaving":
            if self._role.leave():
                return True
            if self._due <= self._monotonic():
                self._role.stay()
                self._move("late")
        return False

    def _move(self, event: MovingEvent) -> None:
        self._state = MOVING_MOVES.after(self._state, event)
        if self._state == "waiting":
            self._due = self._monotonic() + self._jitter.uniform(FIRST_MOVE, LAST_MOVE)
        elif self._state == "leaving":
            self._due = self._monotonic() + self._role.leaving_time
