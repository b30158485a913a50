"""What the broker keeps of one channel: its consumers, and the deliveries that it has not settled."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from taskroute.broker.embedded.backlog import Entry
from taskroute.broker.embedded.engine_events import Cancelled, Delivered, Event
from taskroute.broker.embedded.queue import NO_COUNTS, Queue
from taskroute.broker.embedded.refusal import PRECONDITION_FAILED, Refusal
from taskroute.broker.embedded.rules import Rejection, Return


class ChannelState:
    """The broker's side of a channel. Not synchronized: the broker's lock is held around every call.

    Args:
        owner: the channel's connection; any object.
        post: called with each event, under the lock; must neither block nor call the broker.
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
        """Number a delivery and, if it must be acknowledged, keep it."""
        self._last_delivery += 1
        tag = self._last_delivery
        is_get = consumer is None
        counts = queue.counts_of(entry, is_get=is_get) if entry.redelivered or is_get else NO_COUNTS
        delivered = Delivered(self, tag, entry, queue, consumer, entry.redelivered, counts, remaining)
        if not no_ack:
            self.unsettled[tag] = delivered
            queue.unsettled += 1
            queue.unsettled_gets += is_get
        return delivered

    def tags(self, delivery_tag: int, *, multiple: bool) -> list[int]:
        """Return the unsettled delivery tags that a settlement names: one, or with `multiple` all up to it (0: all).

        Raises:
            Refusal: 406, no delivery of that tag is unsettled.
        """
        if delivery_tag == 0 and multiple:
            return list(self.unsettled)
        if delivery_tag not in self.unsettled:
            raise Refusal(PRECONDITION_FAILED, f"unknown delivery tag {delivery_tag}")
        if not multiple:
            return [delivery_tag]
        return list(itertools.takewhile(lambda tag: tag <= delivery_tag, self.unsettled))

    def settle(self, tags: list[int]) -> None:
        """Forget deliveries."""
        for queue in self._release(tags):
            queue.deal()

    def reject(self, tags: list[int], how: Rejection) -> None:
        """Dead-letter deliveries."""
        for tag in tags:
            delivered = self.unsettled[tag]
            delivered.queue.reject(delivered.entry, how)
        self.settle(tags)

    def requeue(self, tags: list[int], how: Return) -> None:
        """Put deliveries back to their places."""
        returning: dict[Queue, list[Entry]] = {}
        for tag in tags:
            delivered = self.unsettled[tag]
            returning.setdefault(delivered.queue, []).append(delivered.entry)
        for queue in self._release(tags):
            queue.requeue(returning[queue], how)
            queue.deal()

    def _release(self, tags: list[int]) -> list[Queue]:
        """Take deliveries off the prefetch of their consumers; return those of their queues that exist."""
        queues: dict[Queue, None] = {}  # a set in the order of the tags
        for tag in tags:
            delivered = self.unsettled.pop(tag)
            queue, consumer = delivered.queue, delivered.consumer
            queue.unsettled -= 1
            if consumer is None:
                queue.unsettled_gets -= 1
            else:
                consumer.unsettled -= 1
            if not queue.deleted:
                queues[queue] = None
        return list(queues)


class ChannelConsumer:
    """A consumer on a channel. Not synchronized: the broker's lock is held around every call."""

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
        """Whether its prefetch has room. It counts unsettled messages: without acknowledgement there are none."""
        return self.no_ack or not self.prefetch or self.unsettled < self.prefetch

    def take(self, entry: Entry) -> None:
        """Deliver an entry to the client."""
        if not self.no_ack:
            self.unsettled += 1
        self.channel.post(self.channel.deliver(entry, self.queue, self, no_ack=self.no_ack))

    def on_queue_deleted(self) -> None:
        """End, and cancel the client's consumer."""
        self.channel.consumers.pop(self.tag, None)
        self.channel.post(Cancelled(self.channel, self.tag))
