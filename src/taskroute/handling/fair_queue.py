"""FairQueue: deliveries that wait, one line per queue, taken in turn and within limits. Pure.

Not safe between threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from taskroute.handling.waiting_times import Line
from taskroute.message.delivery import Delivery

_NOTHING: Final = 0
"""The limit of a gate that is there only while its line is held."""

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
            gate.count(delivery)
        if line and (gate is None or gate.is_open):
            self.turns.append(line)
        return delivery

    def put_back(self, delivery: Delivery) -> None:
        """Undo that a delivery was taken, also if `take` did not come to its end: it is the first of its line again."""
        line = self._lines[delivery.queue]
        if not line or line[0] is not delivery:
            line.appendleft(delivery)
        if line.gate is not None:
            line.gate.uncount(delivery)
        self.mend()

    def release(self, delivery: Delivery) -> None:
        """Record that the handling of a delivery that was taken has ended. Once more does nothing."""
        line, gate = self._gated(delivery.queue)
        was_open = gate.is_open
        gate.taken.discard(delivery)
        self._changed(line, gate, was_open)

    def permit(self, queue: str, count: int | None) -> None:
        """Let so many more be taken and then none, within the limit; None lifts that."""
        line, gate = self._gated(queue)
        was_open = gate.is_open
        gate.permit(count)
        self._changed(line, gate, was_open)

    def hold(self, queue: str) -> None:
        """Let nothing of a queue be taken until `let_go`, whatever its limit and its permits say."""
        line = self._lines.setdefault(queue, _Line(None))
        if line.gate is None:
            line.gate = _Gate(_NOTHING)
        line.gate.is_held = True
        self.mend()

    def let_go(self, queue: str) -> None:
        """End `hold`."""
        line = self._lines.get(queue)
        if line is None or line.gate is None:
            return
        line.gate.is_held = False
        if line.gate.limit == _NOTHING:  # messages of a queue that has no gate are not counted
            line.gate = None
        self.mend()

    def clear(
        self, queue: str | None = None, is_dropped: Callable[[Delivery], bool] = lambda _: True
    ) -> list[Delivery]:
        """Drop what waits, of one queue or of all, and return it. What was taken still counts."""
        lines = [line for name, line in self._lines.items() if queue in (None, name)]
        dropped = [delivery for line in lines for delivery in line if is_dropped(delivery)]
        for line in lines:
            kept = [delivery for delivery in line if not is_dropped(delivery)]
            line.clear()
            line.extend(kept)
        self.mend()
        return dropped

    def line(self, queue: str) -> Line | None:
        """Return what waits of a queue, None if nothing does."""
        line = self._lines.get(queue)
        return Line(len(line), line[0], line[-1]) if line else None

    def withdraw(self, queue: str, keep: int) -> list[Delivery]:
        """Drop what waits of a queue behind the first `keep`, and return it."""
        line = self._lines.get(queue)
        dropped = [] if line is None else [line.pop() for _ in range(len(line) - keep)]
        self.mend()
        return dropped[::-1]

    def mend(self) -> None:
        """Make `turns` what it must be, also after an exception has come in the middle of a change."""
        may_be_taken = [line for line in self._lines.values() if line and (line.gate is None or line.gate.is_open)]
        in_turn = [line for line in self.turns if line in may_be_taken]
        self.turns.clear()
        self.turns.extend([*in_turn, *(line for line in may_be_taken if line not in in_turn)])

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
    """Lets deliveries out: `limit` at once, and `permits` more since they were permitted. None: any number."""

    __slots__ = ("is_held", "limit", "permits", "permitted", "taken")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.is_held = False
        self.permits: int | None = None
        self.taken: set[Delivery] = set()
        """What is not released yet."""
        self.permitted: set[Delivery] = set()
        """What was taken by the permits that there are now."""

    @property
    def is_open(self) -> bool:
        """Whether one more delivery may be taken."""
        has_room = not self.is_held and (self.limit is None or len(self.taken) < self.limit)
        return has_room and (self.permits is None or len(self.permitted) < self.permits)

    def permit(self, count: int | None) -> None:
        """Let so many more be taken."""
        self.permits = count
        self.permitted.clear()

    def count(self, delivery: Delivery) -> None:
        """Record that a delivery was taken."""
        self.taken.add(delivery)
        if self.permits is not None:
            self.permitted.add(delivery)

    def uncount(self, delivery: Delivery) -> None:
        """Undo that; a delivery that was not counted changes nothing."""
        self.taken.discard(delivery)
        self.permitted.discard(delivery)
