"""Queue: holds messages until it deals them to its consumers, round-robin, within the prefetch of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from taskroute.broker.embedded.backlog import Backlog, Entry, StoredMessage
from taskroute.broker.embedded.dead_letter import Reason
from taskroute.broker.embedded.queue_settings import QueueSettings
from taskroute.broker.embedded.refusal import ACCESS_REFUSED, PRECONDITION_FAILED, Refusal
from taskroute.broker.embedded.rules import Rejection, Return, Rules
from taskroute.broker.embedded.turns import SingleTurn, Turns

NO_COUNTS: Final[Mapping[str, object]] = MappingProxyType({})
"""What a first delivery is told about earlier ones."""


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The answer to a queue declaration."""

    name: str
    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds."""

    ready: int
    """Messages that are ready, and dead letters of the queue that are parked until their target takes them."""
    unsettled: int


class Consumer(Protocol):
    """What a queue needs of a consumer."""

    tag: str
    number: int
    """Higher than that of every consumer that started before."""
    exclusive: bool
    prefetch: int
    """How many deliveries it may have, 0 for any number."""
    unsettled: int
    """How many of its deliveries count against its prefetch."""

    @property
    def can_take(self) -> bool:
        """Whether its prefetch has room."""

    def take(self, entry: Entry) -> None:
        """Deliver an entry to it. Must not call the queue."""

    def reserve(self) -> None:
        """Count an entry against its prefetch that `take_reserved` delivers. Must not call the queue."""

    def take_reserved(self, entry: Entry) -> None:
        """Deliver an entry for which there is a `reserve`. Must not call the queue."""

    def release(self, count: int) -> None:
        """Take settled deliveries off its prefetch, and take its turns again if it was full."""

    def on_queue_deleted(self) -> None:
        """End. Must not call the queue."""


class Host(Protocol):
    """What a queue needs of its broker."""

    def now(self) -> float:
        """Return the seconds of a monotonic clock."""

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """Make `call` at `moment`, under the broker's lock."""

    def discard(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        """Take a message that `queue` drops. The broker dead-letters it at the end of the operation."""


class Queue:
    """A classic queue. Not synchronized: its broker's lock is held around every call.

    After every call either no message is ready or no consumer can take one.

    Args:
        name: its name.
        settings: as declared.
        owner: the connection of an exclusive queue, else None.
        host: its broker.
        rules: of the version that the broker follows.
    """

    def __init__(self, name: str, settings: QueueSettings, owner: object | None, host: Host, rules: Rules) -> None:
        self.name = name
        self.settings = settings
        self.owner = owner
        self.parked = 0  # dead letters of this queue that wait for their target count against its limits
        self.parked_bytes = 0
        self.unsettled = 0
        self.unsettled_gets = 0
        self.deleted = False
        self._host = host
        self._rules = rules
        self.consumers = self._new_turns()
        self._carries = ("quorum" if settings.is_quorum else "classic") in rules.carrying_queues
        self._backlog = self._new_backlog()
        self._arrived = 0
        self._expiry_armed_for: float | None = None
        self._is_limited = settings.max_length is not None or settings.max_length_bytes is not None

    @property
    def ready(self) -> int:
        """The number of messages that are ready."""
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
        return QueueCounts(self.name, self.ready, self._consumer_count())

    def end_consumer(self, consumer: Consumer) -> None:
        """Give a consumer nothing more."""
        self.consumers.remove(consumer)

    @property
    def lets_take_over(self) -> bool:
        """Whether a consumer takes over the deliveries of an earlier one with its tag."""
        return True

    def forget_ended(self, consumer: Consumer) -> None:
        """Forget a consumer that has ended, as another one has taken over its deliveries."""

    def prefetch_after(self, unsettled: int, prefetch: int) -> int:
        """Return how many deliveries a consumer may have that takes over so many: here they do not count."""
        return unsettled + prefetch

    def prefetch_left(self, unsettled: int, prefetch: int, current: int) -> int:  # noqa: ARG002 - a quorum queue asks
        """Return how many it may have once `unsettled` are left: here what is settled makes room for ever."""
        return current

    def enqueue(self, message: StoredMessage) -> bool:
        """Take a message; return False when the queue is full and rejects it."""
        if self._is_limited and self.settings.overflow != "drop-head" and self._would_overflow(message):
            if self.settings.overflow == "reject-publish-dlx":
                self._host.discard(self, message, "maxlen")
            return False
        self._arrived += 1
        entry = Entry(message, self._arrived, self._priority_of(message), self._expiry_of(message))
        if message.delivery_count:
            self._count_on(entry)
        consumer = self.consumers.next()
        if consumer is not None:
            consumer.take(entry)  # at once: no other message is ready, and this one cannot expire before
            return True
        if entry.failed_deliveries:
            entry.redelivered = True
        self._backlog.append(entry)
        if self._is_limited or entry.expires_at is not None:
            self._make_room(entry)
        return True

    def check_consumer(self, *, exclusive: bool) -> None:
        """Refuse a consumer.

        Raises:
            Refusal: 403, the queue has an exclusive consumer, or this one would be exclusive and is not alone, or one
                single consumer is active anyway. A quorum queue ignores the flag.
        """
        is_shared = bool(self.consumers) or self.settings.single_active_consumer
        if (exclusive and is_shared) or any(other.exclusive for other in self.consumers):
            raise Refusal(ACCESS_REFUSED, f"queue '{self.name}' in vhost '/' in exclusive use")

    def check_get(self) -> None:
        """Refuse basic.get where RabbitMQ does: a classic queue never does."""

    def check_delete(self, *, if_unused: bool, if_empty: bool) -> None:
        """Refuse a conditional deletion whose condition does not hold.

        Raises:
            Refusal: 406, it is used or not empty; 540, a quorum queue knows no condition.
        """
        if if_unused and self.consumers:
            raise Refusal(PRECONDITION_FAILED, f"queue '{self.name}' in vhost '/' in use")
        if if_empty and self.ready:
            raise Refusal(PRECONDITION_FAILED, f"queue '{self.name}' in vhost '/' not empty")

    def requeue(self, entries: Iterable[Entry], how: Return) -> None:
        """Put delivered entries back to their places, and drop what is too much then. `deal` must follow."""
        in_order = sorted(entries, key=lambda entry: entry.position, reverse=True)
        for entry in in_order:  # the last one first, so that each goes straight to the head
            entry.redelivered = True
            entry.failed_deliveries += self._carries and how in self._rules.failing_returns
            self._backlog.restore(entry)
        self._drop_overflow()
        self.expire()

    def reject(self, entry: Entry, how: Rejection) -> None:
        """Discard a delivered entry that was rejected."""
        entry.failed_deliveries += self._carries and how in self._rules.failing_rejections
        self._discard(entry, "rejected")

    def counts_of(self, entry: Entry, *, is_get: bool) -> Mapping[str, object]:  # noqa: ARG002 - a quorum queue asks
        """Return headers that are added to a delivery: a classic queue counts nothing."""
        return NO_COUNTS

    def deal(self) -> None:
        """Give ready messages to consumers, for as long as one can take a message, and drop what is too much then.

        Nothing happens once it is deleted.
        """
        if self.deleted:
            return
        self._expire_first()
        self._give_out()
        if self._is_limited and self._drop_overflow():
            self.expire()  # what has become the first one may be due

    def pop(self) -> Entry | None:
        """Take the first entry for a get; None when no message is ready."""
        self._expire_first()
        entry = self._backlog.pop() if self._backlog else None
        self.expire()  # the next entry may have been due for long: only the first one is looked at
        return entry

    def peek(self) -> tuple[StoredMessage, ...]:
        """Return the ready messages, in their order."""
        return tuple(entry.message for entry in self._backlog)

    def purge(self) -> int:
        """Delete the ready messages; return how many there were."""
        return self._backlog.clear()

    def delete(self) -> int:
        """End the consumers and delete the ready messages; return how many there were."""
        self.deleted = True
        for consumer in self.consumers:
            consumer.on_queue_deleted()
        self.consumers.clear()
        return self.purge()

    def expire(self) -> None:
        """Discard the messages that have expired, and have the clock call again when the next one is due."""
        if self._backlog.next_expiry() is None:
            return
        for entry in self._backlog.pop_expired(self._host.now()):
            self._discard(entry, "expired")
        due = self._backlog.next_expiry()
        if due is not None and (self._expiry_armed_for is None or due < self._expiry_armed_for):
            self._expiry_armed_for = due
            self._host.call_at(due, self._expiry_due)

    def _give_out(self) -> None:
        while self._backlog:
            consumer = self.consumers.next()
            if consumer is None:
                break
            consumer.take(self._backlog.pop())
            self.expire()

    def _expire_first(self) -> None:
        """Expire before a message is taken. A queue with priorities does so afterwards, and when it is due."""
        if not self.settings.max_priority:
            self.expire()

    def _expiry_due(self) -> None:
        self._expiry_armed_for = None
        self.expire()

    def _make_room(self, arrived: Entry) -> None:
        """Drop what is too much. Look for what is due if another message has become the first one."""
        dropped = self._drop_overflow()
        if dropped or (arrived.expires_at is not None and len(self._backlog) == 1):
            self.expire()

    def _consumer_count(self) -> int:
        return len(self.consumers)

    def _new_turns(self) -> Turns[Consumer]:
        return SingleTurn() if self.settings.single_active_consumer else Turns()

    def _new_backlog(self) -> Backlog:
        return Backlog(self.settings.max_priority)

    def _count_on(self, entry: Entry) -> None:
        """Go on counting from where the queue that has dead-lettered the message was."""
        if self._carries:
            entry.failed_deliveries = entry.message.delivery_count

    def _discard(self, entry: Entry, reason: Reason) -> None:
        if self._carries and entry.failed_deliveries:
            entry.message = entry.message._replace(delivery_count=entry.failed_deliveries)
        self._host.discard(self, entry.message, reason)

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

    def _drop_overflow(self) -> bool:
        """Drop the first messages as far as the limits are passed; return whether there were any."""
        if not self._is_limited or self.settings.overflow != "drop-head":
            return False
        dropped = []
        while self._backlog and self._is_over(self.ready + self.parked, self._ready_bytes):
            dropped.append(self._backlog.pop())
        for entry in self._as_they_die(dropped):
            self._discard(entry, "maxlen")
        return bool(dropped)

    def _as_they_die(self, dropped: Sequence[Entry]) -> Iterable[Entry]:
        """Return what is dropped at once, in the order in which it is dead-lettered."""
        return dropped

    @property
    def _ready_bytes(self) -> int:
        return self._backlog.body_bytes + self.parked_bytes

    def _is_over(self, count: int, size: int) -> bool:
        most, most_bytes = self.settings.max_length, self.settings.max_length_bytes
        return (most is not None and count > most) or (most_bytes is not None and size > most_bytes)
