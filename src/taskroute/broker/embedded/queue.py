"""Queue: messages wait here and are dealt to consumers, round-robin, within each one's prefetch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from taskroute.broker.embedded.backlog import Backlog, Entry, StoredMessage
from taskroute.broker.embedded.dead_letter import Reason
from taskroute.broker.embedded.queue_settings import QueueSettings


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The answer to a queue declaration."""

    name: str
    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds: messages that are ready, or parked for their target, and those delivered and not settled."""

    ready: int
    unsettled: int


class Consumer(Protocol):
    """Who takes messages from a queue."""

    tag: str
    exclusive: bool
    unsettled: int
    """How many of its deliveries count against its prefetch."""

    @property
    def can_take(self) -> bool:
        """Whether its prefetch has room."""

    def take(self, entry: Entry) -> None:
        """Deliver an entry to it. Must not call the queue."""

    def on_queue_deleted(self) -> None:
        """End. Must not call the queue."""


class Host(Protocol):
    """What a queue needs of its broker."""

    def now(self) -> float:
        """Seconds, monotonic."""

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Have `call` run at `moment`, under the broker's lock."""

    def bury(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        """Note a message to be dead-lettered once the queue's operation is over."""


class Queue:
    """One queue. Not synchronized: its broker's lock is held around every call.

    After every call either nothing is ready or no consumer can take more.

    Args:
        name: its name.
        settings: as declared.
        owner: the connection that has it exclusively, if one does.
        host: its broker.
    """

    def __init__(self, name: str, settings: QueueSettings, owner: object | None, host: Host) -> None:
        self.name = name
        self.settings = settings
        self.owner = owner
        self.consumers: deque[Consumer] = deque()
        self.parked = 0  # dead letters that wait for their target count as here
        self.parked_bytes = 0
        self.unsettled = 0
        self.deleted = False
        self._host = host
        self._backlog = Backlog(settings.max_priority)
        self._arrived = 0
        self._expiry_armed_for: float | None = None
        self._is_limited = settings.max_length is not None or settings.max_length_bytes is not None

    @property
    def ready(self) -> int:
        """How many messages are ready."""
        return len(self._backlog)

    @property
    def is_empty(self) -> bool:
        """Whether it holds nothing: ready, parked or unsettled."""
        return not (self.ready or self.parked or self.unsettled)

    @property
    def depth(self) -> Depth:
        """What it holds."""
        return Depth(self.ready + self.parked, self.unsettled)

    @property
    def counts(self) -> QueueCounts:
        """The answer to its declaration."""
        return QueueCounts(self.name, self.ready, len(self.consumers))

    def enqueue(self, message: StoredMessage) -> bool:
        """Take a message; False when the queue is full and rejects."""
        if self._is_limited and self.settings.overflow != "drop-head" and self._would_overflow(message):
            if self.settings.overflow == "reject-publish-dlx":
                self._host.bury(self, message, "maxlen")
            return False
        self._arrived += 1
        entry = Entry(message, self._arrived, self._priority_of(message), self._expiry_of(message))
        consumer = self._next_consumer()
        if consumer is not None:
            consumer.take(entry)  # nothing else is ready then, and it cannot expire on the way
            return True
        self._backlog.append(entry)
        if self._is_limited:
            self._drop_overflow()
        if entry.expires_at is not None:
            self.expire()
        return True

    def requeue(self, entries: Iterable[Entry]) -> None:
        """Put delivered entries back to their places, or bury those that have come back too often. See `deal`."""
        in_order = sorted(entries, key=lambda entry: entry.position)
        for entry in in_order:
            entry.redelivered = True
            entry.failed_deliveries += 1
        if self.settings.is_quorum and self.settings.delivery_limit is None:
            for entry in in_order:  # behind the others: what nothing counts must not hold them up
                self._arrived += 1
                entry.position = self._arrived
                self._backlog.append(entry)
            return
        for entry in reversed(in_order):  # the last one first: then each goes straight to the head
            if self.settings.is_quorum and entry.failed_deliveries > (self.settings.delivery_limit or 0):
                self._host.bury(self, entry.message, "delivery_limit")
            else:
                self._backlog.restore(entry)

    def reject(self, entry: Entry) -> None:
        """Bury a delivered entry."""
        self._host.bury(self, entry.message, "rejected")

    def deal(self) -> None:
        """Give what is ready to the consumers that can take it."""
        self.expire()
        while self._backlog:
            consumer = self._next_consumer()
            if consumer is None:
                return
            consumer.take(self._backlog.pop())
            self.expire()

    def pop(self) -> Entry | None:
        """Take the first entry for a get, None when nothing is ready."""
        self.expire()
        entry = self._backlog.pop() if self._backlog else None
        self.expire()  # what stood behind it may have been due for long
        return entry

    def peek(self) -> tuple[StoredMessage, ...]:
        """Return what is ready, in its order."""
        return tuple(entry.message for entry in self._backlog)

    def purge(self) -> int:
        """Forget what is ready; return how many messages that was."""
        return self._backlog.clear()

    def delete(self) -> int:
        """End the consumers and forget what is ready; return how many messages that was."""
        self.deleted = True
        for consumer in self.consumers:
            consumer.on_queue_deleted()
        self.consumers.clear()
        return self.purge()

    def expire(self) -> None:
        """Bury what has expired, and come back when the next one does."""
        if self._backlog.next_expiry() is None:
            return
        for entry in self._backlog.pop_expired(self._host.now()):
            self._host.bury(self, entry.message, "expired")
        due = self._backlog.next_expiry()
        if due is not None and (self._expiry_armed_for is None or due < self._expiry_armed_for):
            self._expiry_armed_for = due
            self._host.call_at(due, self._expiry_due)

    def _expiry_due(self) -> None:
        self._expiry_armed_for = None
        self.expire()

    def _next_consumer(self) -> Consumer | None:
        if self.settings.single_active_consumer:
            first = self.consumers[0] if self.consumers else None
            return first if first is not None and first.can_take else None
        for place, consumer in enumerate(self.consumers, 1):
            if consumer.can_take:
                self.consumers.rotate(-place)  # who was asked stands last now
                return consumer
        return None

    def _priority_of(self, message: StoredMessage) -> int:
        if not self.settings.max_priority:
            return 0
        priority = message.properties.get("priority")
        return min(priority, self.settings.max_priority) if isinstance(priority, int) else 0

    def _expiry_of(self, message: StoredMessage) -> float | None:
        lifetime = self.settings.message_ttl
        expiration = message.properties.get("expiration")
        if expiration is not None:
            own = int(str(expiration)) / 1000
            lifetime = own if lifetime is None else min(lifetime, own)
        return None if lifetime is None else self._host.now() + lifetime

    def _would_overflow(self, message: StoredMessage) -> bool:
        return self._is_over(self.ready + self.parked + 1, self._ready_bytes + len(message.body))

    def _drop_overflow(self) -> None:
        if self.settings.overflow == "drop-head":
            while self._backlog and self._is_over(self.ready + self.parked, self._ready_bytes):
                self._host.bury(self, self._backlog.pop().message, "maxlen")

    @property
    def _ready_bytes(self) -> int:
        return self._backlog.body_bytes + self.parked_bytes

    def _is_over(self, count: int, size: int) -> bool:
        most, most_bytes = self.settings.max_length, self.settings.max_length_bytes
        return (most is not None and count > most) or (most_bytes is not None and size > most_bytes)
