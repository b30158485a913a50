"""Counts: how much was in the queues of a picture, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Count:
    """A queue at that moment.

    Attributes:
        state: ``there``, or why it could not be counted.
        ready: messages that wait for a consumer.
        consumers: how many there are.
    """

    state: str
    ready: int = 0
    consumers: int = 0

    def __str__(self) -> str:
        if self.state != "there":
            return self.state
        return f"{self.ready} ready, {self.consumers} consumer{'s' * (self.consumers != 1)}"


@dataclass(frozen=True, slots=True)
class Counts:
    """Queues at one moment.

    Attributes:
        at: the time, as it is shown.
        queues: by name, wait queues too.
    """

    at: str
    queues: Mapping[str, Count]

    def waiting(self, names: Iterable[str]) -> str:
        """Return what is told of wait queues together."""
        counts = [self.queues[name] for name in dict.fromkeys(names) if name in self.queues]
        missing = sorted({count.state for count in counts if count.state != "there"})
        told = f"{sum(count.ready for count in counts)} waiting"
        return f"{told}, some {', '.join(missing)}" if missing else told
