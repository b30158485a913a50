"""Uncounted: what is said of queues whose messages could not be counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_WAYS_OUT: Final = {
    "absent": "a worker that starts declares what is absent",
    "denied": "grant this user the right to read what is denied",
    "unavailable": "look at its node",
}


def uncounted(states: Mapping[str, str], of: int) -> str:
    """Return how many of some queues cannot be counted, and what is to be done.

    Args:
        states: of each that cannot be counted, such as ``absent``.
        of: queues that were asked for.

    >>> uncounted({"orders": "absent"}, of=2)
    "1 of 2 queues cannot be counted, 'orders' first: a worker that starts declares what is absent"
    """
    first = next(iter(states))
    ways_out = "; ".join(_WAYS_OUT[state] for state in _WAYS_OUT if state in states.values())
    return f"{len(states)} of {of} queues cannot be counted, {first!r} first: {ways_out}"
