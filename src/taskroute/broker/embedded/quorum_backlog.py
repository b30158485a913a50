"""QuorumBacklog: the messages that are ready in a quorum queue. What came back leaves first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Final

from taskroute.broker.embedded.backlog import Backlog, Entry
from taskroute.broker.embedded.rules import Levels

_HIGH_ABOVE: Final = 4
"""Of two levels, the lower one holds the priorities up to this; of 32, this is the one of messages without any."""


def level_of(priority: object, levels: Levels) -> int:
    """Return the level at which a message with that property, None for none, arrives."""
    value = priority if isinstance(priority, int) else _HIGH_ABOVE
    if levels == 2:
        return int(value > _HIGH_ABOVE)
    return min(value, levels - 1)


class QuorumBacklog(Backlog):
    """Ready entries: those that came back, in the order in which they did, then by level. Not synchronized.

    Args:
        levels: of priority.
    """

    def __init__(self, levels: Levels) -> None:
        super().__init__(levels - 1)
        self._returned: deque[Entry] = deque()
        self._shares = levels == 2
        self._is_strict = levels > 2
        self._turn = 0

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries: those that came back, then from the highest level down."""
        return chain(self._returned, super().__iter__())

    def restore(self, entry: Entry) -> None:
        """Put an entry back, behind those that came back before."""
        self._returned.append(entry)
        self._add(entry)

    def clear(self) -> int:
        """Delete every entry; return how many there were."""
        self._returned.clear()
        return super().clear()

    def _first_due(self) -> deque[Entry] | None:
        """Return the level whose head expires first; unless levels are strict, only the first one is looked at."""
        if not self._is_strict:
            return self._first_level()
        expiring = [level for level in (self._returned, *self._levels) if level and level[0].expires_at is not None]
        return min(expiring, key=lambda level: level[0].expires_at or 0.0, default=None)

    def _first_level(self) -> deque[Entry] | None:
        if self._returned:
            return self._returned
        if self._shares and self._turn == 2 and all(self._levels):
            return min(self._levels, key=lambda level: level[0].position)
        return super()._first_level()

    def _take_first(self, level: deque[Entry]) -> Entry:
        if level is not self._returned:
            self._turn = (self._turn + 1) % 3
        return super()._take_first(level)
