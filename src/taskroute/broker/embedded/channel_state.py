"""What the broker keeps of one channel: its consumers, and the deliveries that it has not settled."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

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

    def earlier(self, tag: str, queue: Queue) -> ChannelConsumer | None:
        """Return the consumer of that tag and queue that has ended and whose deliveries are not all settled."""
        consumers = (delivered.consumer for delivered in self.unsettled.values() if delivered.queue is queue)
        return next((one for one in consumers if isinstance(one, ChannelConsumer) and one.tag == tag), None)

    def hand_over(self, earlier: ChannelConsumer, consumer: ChannelConsumer) -> None:
        """Make the deliveries of an earlier consumer those of another one."""
        for tag, delivered in self.unsettled.items():
            if delivered.consumer is earlier:
                self.unsettled[tag] = delivered._replace(consumer=consumer)

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
        for group in self._taken(tags):
            _released(group).deal()

    def reject(self, tags: list[int], how: Rejection) -> None:
        """Dead-letter deliveries."""
        for group in self._taken(tags):
            queue = _released(group)
            for delivered in group:
                queue.reject(delivered.entry, how)
            queue.deal()

    def requeue(self, tags: list[int], how: Return) -> None:
        """Put deliveries back to their places."""
        for group in self._taken(tags):
            queue = _released(group)
            if not queue.deleted:
                queue.requeue([delivered.entry for delivered in group], how)
                queue.deal()

    def lose(self, *, by_tag: bool) -> None:
        """Put every delivery back, as the channel is closed: a queue deals again once it has all of them.

        Args:
            by_tag: see `Rules.loses_by_tag`.
        """
        lost: dict[Queue, list[Entry]] = {}
        for group in sorted(self._taken(list(self.unsettled)), key=_place_of_tag if by_tag else _place_of_start):
            lost.setdefault(_released(group), []).extend(delivered.entry for delivered in group)
        for queue, entries in lost.items():
            if not queue.deleted:
                queue.requeue(entries, "lost")
                queue.deal()

    def _taken(self, tags: list[int]) -> Iterable[list[Delivered]]:
        """Take deliveries out, in groups of which a queue hears one after the other: a consumer's, or one of a get.

        As RabbitMQ does, sort them by the names of queues and the tags of consumers.
        """
        take = self.unsettled.pop
        if len(tags) == 1:
            return ([take(tags[0])],)
        groups: dict[object, list[Delivered]] = {}
        for tag in tags:
            delivered = take(tag)
            groups.setdefault(delivered.consumer or tag, []).append(delivered)
        return groups.values() if len(groups) == 1 else sorted(groups.values(), key=_place)


def _released(group: list[Delivered]) -> Queue:
    """Take a group off the prefetch of its consumer; return its queue."""
    queue, consumer = group[0].queue, group[0].consumer
    queue.unsettled -= len(group)
    if consumer is None:
        queue.unsettled_gets -= 1
    else:
        consumer.release(len(group))
    return queue


def _place(group: list[Delivered]) -> tuple[str, bool, object]:
    first = group[0]
    return first.queue.name, first.consumer is not None, first.consumer_tag or first.delivery_tag


def _place_of_tag(group: list[Delivered]) -> str:
    return group[0].consumer_tag or str(group[0].delivery_tag)


def _place_of_start(group: list[Delivered]) -> tuple[bool, object]:
    consumer = group[0].consumer
    return (True, str(group[0].delivery_tag)) if consumer is None else (False, consumer.number)


class ChannelConsumer:
    """A consumer on a channel. Not synchronized: the broker's lock is held around every call."""

    __slots__ = ("channel", "exclusive", "no_ack", "number", "prefetch", "queue", "tag", "unsettled")

    def __init__(
        self, tag: str, queue: Queue, channel: ChannelState, number: int, *, no_ack: bool, exclusive: bool
    ) -> None:
        self.tag = tag
        self.queue = queue
        self.channel = channel
        self.number = number
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

    def reserve(self) -> None:
        """Count an entry against its prefetch that `take_reserved` delivers."""
        if not self.no_ack:
            self.unsettled += 1

    def take_reserved(self, entry: Entry) -> None:
        """Deliver an entry for which there is a `reserve`."""
        self.channel.post(self.channel.deliver(entry, self.queue, self, no_ack=self.no_ack))

    def release(self, count: int) -> None:
        """Take settled deliveries off its prefetch."""
        was_full = self.unsettled == self.prefetch
        self.unsettled -= count
        if was_full:
            self.queue.consumers.readmit(self)

    def on_queue_deleted(self) -> None:
        """End, and cancel the client's consumer."""
        self.channel.consumers.pop(self.tag, None)
        self.channel.post(Cancelled(self.channel, self.tag))


class Successor(ChannelConsumer):
    """A consumer under the tag of an earlier one whose deliveries are not all settled: they are its own from now on.

    Some of them are beyond its prefetch, as `Queue.prefetch_after` says; as they are settled, they make room.
    """

    __slots__ = ("_asked",)

    def __init__(self, earlier: ChannelConsumer, *, no_ack: bool, exclusive: bool) -> None:
        queue, channel = earlier.queue, earlier.channel
        super().__init__(earlier.tag, queue, channel, earlier.number, no_ack=no_ack, exclusive=exclusive)
        self.unsettled = earlier.unsettled
        self._asked = self.prefetch
        if self.prefetch:
            self.prefetch = queue.prefetch_after(self.unsettled, self.prefetch)
        channel.hand_over(earlier, self)
        queue.forget_ended(earlier)

    def release(self, count: int) -> None:
        """Take settled deliveries off its prefetch, which shrinks to what was asked for where RabbitMQ's does."""
        super().release(count)
        if self.prefetch > self._asked:
            self.prefetch = self.queue.prefetch_left(self.unsettled, self._asked, self.prefetch)
