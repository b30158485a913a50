"""ConfirmWatch: whether the confirm of a message is overdue, so that it will hardly come any more. Pure.

A broker can lose a confirm: RabbitMQ does when it has just started. Then nothing tells the message from one whose
confirm is late, but time in which the broker was heard. Silence does not count, as heartbeats end it; nor does time
in which the broker blocks publishing.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

CONFIRM_TIME: Final = 30.0
"""Seconds, in which the broker was heard, until a confirm is overdue."""

_SILENCE: Final = 0.75
"""Part of a heartbeat interval without a byte that is silence: RabbitMQ sends something twice in an interval."""


class ConfirmWatch:
    """Watches the messages written on one channel, by their delivery tags.

    No message costs anything: each look marks which was the last one written before it.

    Args:
        heartbeat: seconds, as agreed with the broker; 0: there are none, and then all time counts.
        now: by the clock of `look`.
    """

    def __init__(self, heartbeat: float, now: float) -> None:
        self._silence = heartbeat * _SILENCE
        self._heard_at = now
        self._heard = 0.0
        """Seconds in which the broker was heard so far."""
        self._marks: deque[_Mark] = deque()

    def look(self, now: float, *, was_heard: bool, is_blocked: bool, oldest: int, last: int) -> bool:
        """Return whether the confirm of the oldest message is overdue. Look once a second, or nearly so.

        Args:
            now: seconds.
            was_heard: whether the broker has sent something since the last look.
            is_blocked: whether it reads no publishes.
            oldest: delivery tag of the oldest message without a confirm.
            last: delivery tag of the message that was written last.
        """
        if was_heard or is_blocked or not self._silence:
            gap, self._heard_at = now - self._heard_at, now
            is_silence = self._silence and gap > self._silence
            self._heard += 0.0 if is_blocked or is_silence else gap
        while self._marks and self._marks[0].tag < oldest:
            self._marks.popleft()
        if not self._marks or self._marks[-1].tag < last:
            self._marks.append(_Mark(last, now, self._heard))
        mark = self._marks[0]
        # Both: what was heard before a mark is counted with what comes after it.
        return min(self._heard - mark.heard, now - mark.at) >= CONFIRM_TIME


class _Mark(NamedTuple):
    tag: int
    at: float
    heard: float
