"""Lines: deliveries that wait, one line per queue, taken in turn and within limits. Pure; not safe between threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from taskroute.message import Delivery

_NO_LIMITS: Final[Mapping[str, int]] = MappingProxyType({})


class Lines:
    """Which delivery is next. A queue with as many deliveries in hand as it may have is passed over.

    Args:
        limits: by queue, how many deliveries may be taken and not yet released.
    """

    def __init__(self, limits: Mapping[str, int] = _NO_LIMITS) -> None:
        self.turns: deque[_Line] = deque()
        """The lines of which something may be taken now, the next one first. Always the same object."""
        self._lines = {queue: _Line(limit) for queue, limit in limits.items()}

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Line up, each at the end of its queue's line."""
        for delivery in deliveries:
            line = self._lines.get(delivery.queue)
            if line is None:
                line = self._lines[delivery.queue] = _Line(None)
            if not line and line.free != 0:
                self.turns.append(line)
            line.append(delivery)

    def take(self) -> Delivery:
        """The next one. There has to be a turn."""
        line = self.turns.popleft()
        delivery = line.popleft()
        if line.free is None:
            if line:
                self.turns.append(line)
            return delivery
        line.free -= 1
        if line and line.free:
            self.turns.append(line)
        return delivery

    def release(self, queue: str) -> None:
        """One that was taken of a queue with a limit is out of hand."""
        line = self._lines[queue]
        if line.free is not None:
            line.free += 1
            if line and line.free == 1:
                self.turns.append(line)

    def clear(self) -> int:
        """Drop what waits; how many that were. What is in hand still counts."""
        count = 0
        for line in self._lines.values():
            count += len(line)
            line.clear()
        self.turns.clear()
        return count


class _Line(deque[Delivery]):
    """The deliveries of one queue. `free`: how many more may be taken, None for any number."""

    __slots__ = ("free",)

    def __init__(self, free: int | None) -> None:
        super().__init__()
        self.free = free
