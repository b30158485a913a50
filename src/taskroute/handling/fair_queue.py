"""FairQueue: deliveries that wait, one line per queue, taken in turn and within limits. Pure.

Not safe between threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from taskroute.handling.waiting_times import Line
from taskroute.message.delivery import Delivery

_NO_LIMITS: Final[Mapping[str, int | None]] = MappingProxyType({})


class FairQueue:
    """Decides which delivery is next. A queue that has taken as many deliveries as it may is passed over.

    Args:
        limits: by queue, how many deliveries may be taken and not yet released; None: any number. What is taken of
            these queues must be released, and `permit` is for them.
    """

    def __init__(self, limits: Mapping[str, int | None] = _NO_LIMITS) -> None:
        self.turns: deque[_Line] = deque()
        """The lines of which something may be taken now, the next one first. Always the same object."""
        self._lines = {queue: _Line(_Gate(limit)) for queue, limit in limits.items()}

    def put(self, deliveries: Sequence[Delivery]) -> None:
        """Add each delivery to the end of its queue's line."""
        for delivery in deliveries:
            line = self._lines.get(delivery.queue)
            if line is None:
                line = self._lines[delivery.queue] = _Line(None)
            if not line and (line.gate is None or line.gate.is_open):
                self.turns.append(line)
            line.append(delivery)

    def take(self) -> Delivery:
        """Return the next delivery. `turns` must not be empty."""
        line = self.turns.popleft()
        delivery = line.popleft()
        gate = line.gate
        if gate is not None:
            gate.count_one()
        if line and (gate is None or gate.is_open):
            self.turns.append(line)
        return delivery

    def release(self, queue: str) -> None:
        """Record that the handling of a delivery that was taken has ended."""
        line, gate = self._gated(queue)
        if gate.free is not None:
            was_open = gate.is_open
            gate.free += 1
            self._changed(line, gate, was_open)

    def permit(self, queue: str, count: int | None) -> None:
        """Let so many more be taken and then none, within the limit; None lifts that."""
        line, gate = self._gated(queue)
        was_open = gate.is_open
        gate.permits = count
        self._changed(line, gate, was_open)

    def clear(self, queue: str | None = None) -> list[Delivery]:
        """Drop what waits, of one queue or of all, and return it. What was taken still counts."""
        lines = [line for name, line in self._lines.items() if queue in (None, name)]
        dropped = [delivery for line in lines for delivery in line]
        for line in lines:
            line.clear()
        self._leave_turns()
        return dropped

    def line(self, queue: str) -> Line | None:
        """Return what waits of a queue, None if nothing does."""
        line = self._lines.get(queue)
        return Line(len(line), line[0], line[-1]) if line else None

    def withdraw(self, queue: str, keep: int) -> list[Delivery]:
        """Drop what waits of a queue behind the first `keep`, and return it."""
        line = self._lines.get(queue)
        dropped = [] if line is None else [line.pop() for _ in range(len(line) - keep)]
        self._leave_turns()
        return dropped[::-1]

    def _leave_turns(self) -> None:
        """Keep turns for the lines alone that something waits in."""
        turns = [line for line in self.turns if line]
        self.turns.clear()
        self.turns.extend(turns)

    def _gated(self, queue: str) -> tuple[_Line, _Gate]:
        line = self._lines[queue]
        assert line.gate is not None, queue  # noqa: S101 - the queues of `limits` have one
        return line, line.gate

    def _changed(self, line: _Line, gate: _Gate, was_open: bool) -> None:
        if not line or was_open == gate.is_open:
            return
        if gate.is_open:
            self.turns.append(line)
        else:
            self.turns.remove(line)


class _Line(deque[Delivery]):
    """The deliveries of one queue, and what they may have to pass."""

    __slots__ = ("gate",)

    def __init__(self, gate: _Gate | None) -> None:
        super().__init__()
        self.gate = gate


class _Gate:
    """Lets deliveries out. `free`: how many more the limit lets; `permits`: how many more are wanted. None: any."""

    __slots__ = ("free", "permits")

    def __init__(self, free: int | None) -> None:
        self.free = free
        self.permits: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether one more delivery may be taken."""
        return self.free != 0 and self.permits != 0

    def count_one(self) -> None:
        """Record that a delivery was taken."""
        if self.free is not None:
            self.free -= 1
        if self.permits is not None:
            self.permits -= 1
