"""What the broker keeps of one channel and of its consumers."""

from __future__ import annotations

from collections.abc import Callable

from taskroute.broker.embedded.backlog import Entry
from taskroute.broker.embedded.engine_events import Delivered, Event
from taskroute.broker.embedded.queue import Queue


class ChannelState:
    """What the broker keeps of one channel. Its fields are guarded by the broker's lock.

    Args:
        owner: the connection it belongs to; any object.
        post: takes what happens, under the lock; must not block, nor call the broker.
    """

    def __init__(self, owner: object, post: Callable[[Event], None]) -> None:
        self.owner = owner
        self.post = post
        self.prefetch = 0
        self.confirms = False
        self.published = 0
        self.last_queue = ""
        self.consumers: dict[str, ChannelConsumer] = {}
        self.unsettled: dict[int, Delivered] = {}
        self._last_delivery = 0

    def deliver(
        self, entry: Entry, queue: Queue, consumer: ChannelConsumer | None, *, no_ack: bool, remaining: int = 0
    ) -> Delivered:
        """Number a delivery and, if it has to be acknowledged, remember it."""
        self._last_delivery += 1
        tag = self._last_delivery
        count = entry.failed_deliveries if entry.failed_deliveries and queue.settings.is_quorum else None
        delivered = Delivered(self, tag, entry, queue, consumer, entry.redelivered, count, remaining)
        if not no_ack:
            self.unsettled[tag] = delivered
            queue.unsettled += 1
        return delivered


class ChannelConsumer:
    """A consumer on a channel."""

    __slots__ = ("channel", "exclusive", "no_ack", "prefetch", "queue", "tag", "unsettled")

    def __init__(self, tag: str, queue: Queue, channel: ChannelState, *, no_ack: bool, exclusive: bool) -> None:
        self.tag = tag
        self.queue = queue
        self.channel = channel
        self.no_ack = no_ack
        self.exclusive = exclusive
        self.prefetch = channel.prefetch
        self.unsettled = 0

    @property
    def can_take(self) -> bool:
        """Whether its prefetch has room; it counts unsettled messages, so none without acknowledgement."""
        return self.no_ack or not self.prefetch or self.unsettled < self.prefetch

    def take(self, entry: Entry) -> None:
        """Deliver an entry."""
        if not self.no_ack:
            self.unsettled += 1
        self.channel.post(self.channel.deliver(entry, self.queue, self, no_ack=self.no_ack))
