"""Which: the letters that somebody means, by what they are. Pure."""

# No `from __future__ import annotations`: type hints of what is public must resolve from its package, too.

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self, TypedDict

from taskroute.errors import ConfigurationError
from taskroute.exported import exported_by
from taskroute.keys.pattern import RoutingPattern
from taskroute.message.origin import WrittenBy
from taskroute.operate.dead_letters.letter import Letter
from taskroute.quoting import shown
from taskroute.topology.queue import QueueSpec


@exported_by("taskroute")
class WhichLetters(TypedDict, total=False):
    """Which letters are meant, as arguments: those that all of these fit. Without any, every letter.

    `queue`: where they failed, or the dead-letter queue itself. `reason`, `handler`: as the letter says. `key`: a
    pattern of routing keys. `error`: a text that is in what is told of the error. `since`: they failed at most so long
    ago; `older`: longer ago than that; seconds or a timedelta. `written_by`: ``worker``, ``broker`` or ``publisher``.
    `ids`: one of these; equal letters have one id.
    """

    queue: "QueueSpec | str"
    reason: str
    handler: str
    key: "RoutingPattern | str"
    error: str
    since: float | timedelta
    older: float | timedelta
    written_by: WrittenBy
    ids: Iterable[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Says of a letter whether it is meant; see `WhichLetters`."""

    queue: str | None = None
    reason: str | None = None
    handler: str | None = None
    key: RoutingPattern | None = None
    error: str | None = None
    since: timedelta | None = None
    older: timedelta | None = None
    written_by: WrittenBy | None = None
    ids: Collection[str] | None = None

    @classmethod
    def of(cls, which: WhichLetters) -> Self:
        """Read the arguments.

        Raises:
            ConfigurationError: there is no such argument, or one is of another type.
            PatternError: `key` is no pattern.
        """
        unknown = which.keys() - WhichLetters.__annotations__.keys()
        if unknown:
            known = ", ".join(WhichLetters.__annotations__)
            raise ConfigurationError(f"letters are not told apart by {min(unknown)!r}, but by {known}")
        queue, key, ids = which.get("queue"), which.get("key"), which.get("ids")
        if isinstance(ids, str):
            raise ConfigurationError(f"ids={shown(ids)} is one id: write ids=[{shown(ids)}]")
        return cls(
            queue=None if queue is None else str(queue),
            reason=which.get("reason"),
            handler=which.get("handler"),
            key=RoutingPattern(key) if isinstance(key, str) else key,
            error=which.get("error"),
            since=_age("since", which.get("since")),
            older=_age("older", which.get("older")),
            written_by=which.get("written_by"),
            ids=None if ids is None else frozenset(ids),
        )

    def means(self, letter: Letter, now: datetime) -> bool:
        """Return whether a letter is meant."""
        return (
            (self.queue is None or self.queue in (letter.queue, letter.lies_in))
            and (self.reason is None or self.reason == letter.reason)
            and (self.handler is None or self.handler == letter.handler)
            and (self.key is None or self.key.matches(letter.routing_key))
            and (self.error is None or self.error in f"{letter.error}\n{letter.error_text}")
            and (self.written_by is None or self.written_by == letter.written_by)
            and (self.ids is None or letter.id in self.ids)
            and self._is_of_age(letter, now)
        )

    def _is_of_age(self, letter: Letter, now: datetime) -> bool:
        if self.since is None and self.older is None:
            return True
        if letter.failed_at is None:  # nobody says when
            return False
        age = now - letter.failed_at
        return (self.since is None or age <= self.since) and (self.older is None or age > self.older)


def _age(name: str, value: float | timedelta | None) -> timedelta | None:
    if value is None or isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigurationError(f"{name}={shown(value)} is neither a number of seconds nor a timedelta")
    try:
        return timedelta(seconds=value)
    except (OverflowError, ValueError):
        raise ConfigurationError(f"{name}={shown(value)} is no number of seconds that a calendar knows") from None
