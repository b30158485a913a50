"""Capacity: whether a queue that would drop messages at its limit has room for one more. Pure.

A queue that rejects at its limit says so, and the letter stays. One that drops its head would lose another message for
it, and one that dead-letters what it rejects would make another letter of each attempt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many messages, and bytes of them, may be ready in a queue; None is no limit."""

    messages: int | None
    size: int | None

    def problem(self, ready: int, size: int) -> str | None:
        """Return why there is no room for a message of `size` bytes beside those that are ready, None if there is."""
        if self.messages is not None and ready >= self.messages:
            return f"it has {ready} of at most {self.messages} messages, and drops one for another"
        if self.size is not None and (ready or size > self.size):  # AMQP does not tell the bytes that are there
            return f"it holds at most {self.size} bytes, and may drop a message for another: have it emptied first"
        return None


def capacity_of(arguments: Mapping[str, Any], policy: Mapping[str, Any]) -> Capacity | None:
    """Return what a queue has room for, None if it has no limit or rejects what is beyond it.

    Args:
        arguments: of its declaration.
        policy: in effect, as far as it is known.
    """
    if (arguments.get("x-overflow") or policy.get("overflow")) == "reject-publish":
        return None
    messages, size = (_lowest(arguments, policy, name) for name in ("max-length", "max-length-bytes"))
    return None if messages is None and size is None else Capacity(messages, size)


def _lowest(arguments: Mapping[str, Any], policy: Mapping[str, Any], name: str) -> int | None:
    found = [limit for limit in (arguments.get(f"x-{name}"), policy.get(name)) if isinstance(limit, int)]
    return min(found, default=None)
