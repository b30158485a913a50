"""Results: what was found in dead-letter queues, and what was done with it. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from dataclasses import dataclass

from taskroute.exported import exported_by
from taskroute.operate.dead_letters.letter import Letter


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, kw_only=True)
class LookedInto:
    """A dead-letter queue, and how far it was looked into.

    Attributes:
        queue: its name.
        ready: letters that it had at the start; None if they cannot be counted.
        looked_at: how many of them were looked at.
        problem: why it was not looked into; None if it was.
    """

    queue: str
    ready: int | None
    looked_at: int = 0
    problem: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every letter that it had was looked at."""
        return self.problem is None and self.looked_at == self.ready


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, kw_only=True)
class FoundLetters:
    """Letters that were looked at and put back, and the queues that they lie in."""

    letters: tuple[Letter, ...]
    queues: tuple[LookedInto, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every letter of every queue was looked at."""
        return all(queue.is_complete for queue in self.queues)


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, kw_only=True)
class LeftLetter:
    """A letter that was meant, and stays where it lies.

    Attributes:
        letter: it.
        why: for people.
        may_be_twice: whether it may have been published as well: nobody can say.
        is_replayed: whether it stays because it was sent again too often.
    """

    letter: Letter
    why: str
    may_be_twice: bool = False
    is_replayed: bool = False


@exported_by("taskroute")
@dataclass(frozen=True, slots=True, kw_only=True)
class SettledLetters:
    """What became of the letters that were meant.

    Attributes:
        done: they lie there no more.
        left: they do.
        queues: that were looked into.
        problem: what has ended the run before its time; None if nothing has.
    """

    done: tuple[Letter, ...]
    left: tuple[LeftLetter, ...]
    queues: tuple[LookedInto, ...]
    problem: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every letter that was meant is done, and none was out of sight."""
        return not self.left and self.problem is None and all(queue.is_complete for queue in self.queues)
