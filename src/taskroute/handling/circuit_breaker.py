"""CircuitBreaker and Circuit: whether a queue's handlers may be called, by how they have ended. Pure.

A circuit is not safe between threads.
"""

# No `from __future__ import annotations`: type hints of what is public must resolve from `taskroute`, too.

import math
from dataclasses import dataclass
from typing import Final, Literal

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.message.outcome import Handled, Outcome
from taskroute.quoting import shown
from taskroute.state_table import StateTable
from taskroute.suggestion import suggests_options

CircuitState = Literal["closed", "open", "half_open"]
"""All messages are let through; none is; one is, whose end decides."""

CircuitEvent = Literal["trip", "try_again", "fail", "succeed"]

CIRCUIT_MOVES: Final[StateTable[CircuitState, CircuitEvent]] = StateTable(
    "circuit",
    {
        ("closed", "trip"): "open",
        ("open", "try_again"): "half_open",
        ("half_open", "fail"): "open",
        ("half_open", "succeed"): "closed",
    },
)

Change = Literal["opened", "closed", "still_on_trial"]
"""What an end has brought about. `still_on_trial`: it says nothing, so another message must be let through."""

_BLAMED: Final = ("handler_error", "handler_timeout")


@exported_by("taskroute")
@suggests_options()
@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreaker:
    """When to leave a queue alone: for a `Worker`, whose handlers then do not call a service that is down.

    After `failures` in a row the queue is not consumed for `pause` seconds; then one message is let through. If it is
    handled, everything goes on, otherwise the next pause begins. A handler fails when it raises, `Retry` included, or
    outlives its timeout. `Reject`, and messages that no handler can take, say nothing.

    Raises:
        ConfigurationError: `failures` is not a whole number from 1, or `pause` not a number of seconds above 0.

    Example:
        >>> CircuitBreaker(failures=10, pause=60).pause
        60
    """

    failures: int = 5
    pause: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.failures, bool) or not isinstance(self.failures, int) or self.failures < 1:
            raise ConfigurationError(f"failures={shown(self.failures)} must be a whole number, 1 or more")
        pause = self.pause
        if isinstance(pause, bool) or not isinstance(pause, int | float) or not 0 < pause < math.inf:
            raise ConfigurationError(f"pause={shown(pause)} must be a number of seconds above 0")


class Circuit:
    """The state of one queue's breaker.

    Only the message that was let through decides in the half-open state: what began before the pause may end then.
    A message ends once: how a handler ends that was given up before says nothing.

    Args:
        breaker: how many failures open it.
    """

    def __init__(self, breaker: CircuitBreaker) -> None:
        self.breaker = breaker
        self.state: CircuitState = "closed"
        self.failures = 0
        """In a row."""
        self._trial: object = None
        self._running: set[object] = set()

    def let_one_through(self) -> None:
        """End the pause."""
        self._move("try_again")

    def begin(self, message: object) -> None:
        """Take note that a message begins; in the half-open state, the first one is the one that was let through.

        What an exception cuts short can be ended all the same.
        """
        if self.state == "half_open" and self._trial is None:
            self._trial = message
        self._running.add(message)

    def end(self, message: object, succeeded: bool | None) -> Change | None:
        """Take note that a message was handled, or given up: with success or without; None says neither."""
        if message not in self._running and message is not self._trial:
            return None
        self._running.discard(message)
        if self.state == "half_open" and message is self._trial:
            self._trial = None
            return "still_on_trial" if succeeded is None else self._end_trial(succeeded)
        if self.state == "closed" and succeeded is not None:
            self.failures = 0 if succeeded else self.failures + 1
            if self.failures >= self.breaker.failures:
                self._move("trip")
                return "opened"
        return None

    def _end_trial(self, succeeded: bool) -> Change:
        if succeeded:
            self.failures = 0
            self._move("succeed")
            return "closed"
        self.failures += 1
        self._move("fail")
        return "opened"

    def _move(self, event: CircuitEvent) -> None:
        self.state = CIRCUIT_MOVES.after(self.state, event)


def succeeded(outcome: Outcome) -> bool | None:
    """Return whether a handler has done its work; None where that is not the handler's fault, nor its merit."""
    if isinstance(outcome, Handled):
        return True
    return False if outcome.reason in _BLAMED else None
