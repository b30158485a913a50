"""StateTable: every legal move of a state machine, on one page; a move that is not there raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

S = TypeVar("S", bound=str)
E = TypeVar("E", bound=str)


class IllegalMoveError(RuntimeError):
    """A state machine was asked for a move that its table does not have. A defect of this library."""


class StateTable(Generic[S, E]):
    """The moves of one state machine: (state, event) to the state that follows. Immutable.

    The table holds no state: its user asks for the next state and keeps it.

    Args:
        subject: what is in these states, for errors and for the documentation.
        moves: every legal move.

    Example:
        >>> door = StateTable("door", {("shut", "open"): "ajar", ("ajar", "close"): "shut"})
        >>> door.after("shut", "open")
        'ajar'
        >>> door.after("shut", "close")
        Traceback (most recent call last):
        taskroute.state_table.IllegalMoveError: a door that is shut cannot close
    """

    __slots__ = ("moves", "subject")

    def __init__(self, subject: str, moves: Mapping[tuple[S, E], S]) -> None:
        self.subject = subject
        self.moves = dict(moves)

    def after(self, state: S, event: E) -> S:
        """Return the state that follows.

        Raises:
            IllegalMoveError: there is no such move.
        """
        try:
            return self.moves[state, event]
        except KeyError:
            raise IllegalMoveError(f"a {self.subject} that is {state} cannot {event}") from None
