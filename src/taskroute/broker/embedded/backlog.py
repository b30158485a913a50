"""Backlog: the messages that are ready in a queue, in the order in which they leave it."""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple


class StoredMessage(NamedTuple):
    """A message as the broker stores it, once for all queues."""

    exchange: str
    routing_key: str
    body: bytes
    properties: Mapping[str, object]
    copy_keys: tuple[str, ...] = ()
    """The routing keys of ``CC`` and ``BCC``, as far as they are followed."""
    deaths: tuple[Mapping[str, object], ...] = ()
    """How it was dead-lettered, the latest first."""
    delivery_count: int = 0
    """How often the queue that has dead-lettered it had delivered it in vain."""

    @property
    def routing_keys(self) -> tuple[str, ...]:
        """The message's own routing key, then those of ``CC`` and ``BCC``."""
        return (self.routing_key, *self.copy_keys)

    @property
    def cc(self) -> tuple[str, ...]:
        """Those of `copy_keys` that the header ``CC`` names."""
        return header_keys(self.headers, "CC") if self.copy_keys else ()

    @property
    def headers(self) -> Mapping[str, object]:
        """The message's headers; empty when it has none."""
        headers = self.properties.get("application_headers")
        return headers if isinstance(headers, dict) else {}


def header_keys(headers: Mapping[str, object], name: str) -> tuple[str, ...]:
    """Return the routing keys that a header, ``CC`` or ``BCC``, lists. RabbitMQ passes over what is no text.

    Raises:
        ValueError: it is no list.
    """
    keys = headers.get(name, ())
    if not isinstance(keys, list | tuple):
        raise ValueError(f"invalid header '{name}': not a list of routing keys")
    return tuple(key for key in keys if isinstance(key, str))


class Entry:
    """One message in one queue. `position` is its place in the order of arrival."""

    __slots__ = ("expires_at", "failed_deliveries", "message", "position", "priority", "redelivered", "returns")

    def __init__(self, message: StoredMessage, position: int, priority: int, expires_at: float | None) -> None:
        self.message = message
        self.position = position
        self.priority = priority
        self.expires_at = expires_at
        self.redelivered = False
        self.returns = 0  # how often it came back; only some ways of coming back count as a failed delivery
        self.failed_deliveries = 0


_position: Final = attrgetter("position")


class Backlog:
    """Ready entries: higher priority first, within one priority by position. Not synchronized.

    Args:
        max_priority: the highest priority; 0 for a queue without priorities.
    """

    def __init__(self, max_priority: int) -> None:
        self._levels: tuple[deque[Entry], ...] = tuple(deque() for _ in range(max_priority + 1))
        self._count = 0
        self._expiring = 0  # entries that expire: mostly none, so that `next_expiry` need not look
        self.body_bytes = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries in the order in which they leave."""
        return chain.from_iterable(reversed(self._levels))

    @property
    def first(self) -> Entry | None:
        """The entry that leaves next."""
        level = self._first_level()
        return level[0] if level else None

    def append(self, entry: Entry) -> None:
        """Add an entry that has arrived after all others."""
        self._levels[entry.priority].append(entry)
        self._add(entry)

    def restore(self, entry: Entry) -> None:
        """Put an entry back to its place. Cheapest when no entry that arrived before it is still here."""
        level = self._levels[entry.priority]
        if level and level[0].position < entry.position:
            level.insert(bisect(level, entry.position, key=_position), entry)
        else:
            level.appendleft(entry)
        self._add(entry)

    def pop(self) -> Entry:
        """Take the first entry.

        Raises:
            IndexError: the backlog is empty.
        """
        level = self._first_level()
        if level is None:
            raise IndexError("the backlog is empty")
        return self._take_first(level)

    def pop_expired(self, now: float) -> Iterator[Entry]:
        """Take the expired entries at the head. Like RabbitMQ, never look behind it."""
        while (level := self._first_due()) and (due := level[0].expires_at) is not None and due <= now:
            yield self._take_first(level)

    def next_expiry(self) -> float | None:
        """Return when `pop_expired` has an entry next, None if never."""
        level = self._first_due() if self._expiring else None
        return level[0].expires_at if level else None

    def clear(self) -> int:
        """Delete every entry; return how many there were."""
        count = self._count
        for level in self._levels:
            level.clear()
        self._count = self._expiring = self.body_bytes = 0
        return count

    def _first_level(self) -> deque[Entry] | None:
        """Return the level that the first entry is in, None if there is no entry."""
        return next((level for level in reversed(self._levels) if level), None)

    def _first_due(self) -> deque[Entry] | None:
        """Return the level whose head expires first, of those that are looked at."""
        return self._first_level()

    def _add(self, entry: Entry) -> None:
        self._count += 1
        self._expiring += entry.expires_at is not None
        self.body_bytes += len(entry.message.body)

    def _take_first(self, level: deque[Entry]) -> Entry:
        entry = level.popleft()
        self._count -= 1
        self._expiring -= entry.expires_at is not None
        self.body_bytes -= len(entry.message.body)
        return entry
