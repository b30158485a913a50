"""Turns: which of a queue's consumers is given the next message."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import Final, Generic, Protocol, TypeVar

_ANY_NUMBER: Final = 2000
"""The prefetch that RabbitMQ's quorum queues give a consumer that has none."""


class Taker(Protocol):
    """What takes turns."""

    @property
    def can_take(self) -> bool:
        """Whether it has room for a message."""


class LimitedTaker(Taker, Protocol):
    """What takes turns, and has a prefetch."""

    @property
    def prefetch(self) -> int:
        """How many messages it may have, 0 for any number."""


T = TypeVar("T", bound=Taker)
L = TypeVar("L", bound=LimitedTaker)


class Turns(Generic[T]):
    """Takers in a round. One that is found full is left out until it has room; it comes back as the last one.

    Not synchronized: the broker's lock is held around every call.
    """

    def __init__(self) -> None:
        self._round: deque[T] = deque()
        self._full: list[T] = []

    def __len__(self) -> int:
        return len(self._round) + len(self._full)

    def __iter__(self) -> Iterator[T]:
        return chain(self._round, self._full)

    def append(self, taker: T) -> None:
        """Let another one take part, as the last one."""
        self._round.append(taker)

    def remove(self, taker: T) -> None:
        """Let one go."""
        (self._full if taker in self._full else self._round).remove(taker)

    def clear(self) -> None:
        """Let all go."""
        self._round.clear()
        self._full.clear()

    def next(self) -> T | None:
        """Return whose turn it is, None if none has room."""
        while self._round:
            taker = self._round.popleft()
            if taker.can_take:
                self._round.append(taker)
                return taker
            self._full.append(taker)
        return None

    def readmit(self, taker: T) -> None:
        """Let one that was full take part again."""
        if taker in self._full:
            self._full.remove(taker)
            self._round.append(taker)


class QuorumTurns(Turns[T]):
    """Takers in a round. One is left out as soon as it is full, whether or not its turn has come."""

    def readmit(self, taker: T) -> None:
        """Let one that was full take part again, as the last one."""
        if taker in self._round:
            self._round.remove(taker)
            self._round.append(taker)
        else:
            super().readmit(taker)


class SingleTurn(Turns[T]):
    """Takers in a line: it is always the turn of the first one."""

    def next(self) -> T | None:
        """Return the first one if it has room."""
        first = self._round[0] if self._round else None
        return first if first is not None and first.can_take else None

    def readmit(self, taker: T) -> None:
        """Leave it where it is."""


class SingleTurnByPrefetch(SingleTurn[L]):
    """Takers in a line behind the one whose turn it is: the highest prefetch first."""

    def append(self, taker: L) -> None:
        """Let another one wait, behind those with its prefetch."""
        active, waiting = list(self._round)[:1], [*list(self._round)[1:], taker]
        waiting.sort(key=lambda one: one.prefetch or _ANY_NUMBER, reverse=True)
        self._round = deque((*active, *waiting))
