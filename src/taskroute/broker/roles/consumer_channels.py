"""ConsumerChannels: the channels that the consumers of one connection have, by number and by queue."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from taskroute.broker.amqp import Connection
from taskroute.broker.roles.consumed_queue import ConsumedQueue
from taskroute.broker.roles.consumer_channel import ConsumerChannel

SPARE_CHANNELS: Final = 3
"""What else a connection has channels for: probing, declaring, counting."""


class ConsumerChannels:
    """The channels of consumers. For the session's thread; others may read `by_number`.

    Each queue has a channel of its own, as a broker that refuses a consumer closes the channel, with all that was
    delivered on it. Only where the broker allows too few channels do the queues share one, and its end is the
    connection's. A queue that another one replaces never shares: its channel tells its messages from that one's.

    Args:
        connection: that was just opened.
        queues: how many there are to consume.
        numbers: of the channels; none comes twice in a process's life.
        on_closed: is told of a queue whose own channel the broker has closed.
    """

    def __init__(
        self,
        connection: Connection,
        queues: int,
        numbers: itertools.count[int],
        on_closed: Callable[[ConsumedQueue, Exception], object],
    ) -> None:
        self.by_number: Mapping[int, ConsumerChannel] = {}
        """Replaced, never changed: other threads look whether a delivery's channel is there."""
        self.by_queue: dict[str, ConsumerChannel] = {}
        """By the name of the queue, only read by others."""
        self._connection = connection
        self._numbers = numbers
        self._on_closed = on_closed
        has_enough = queues + SPARE_CHANNELS <= connection.channel_max
        self._shared = None if has_enough else self._open(None)

    def opened_for(self, queue: ConsumedQueue) -> ConsumerChannel:
        """Return the channel of a queue, which is opened if it has none."""
        name = queue.spec.name
        if name not in self.by_queue:
            shared = None if queue.is_replaced else self._shared
            self.by_queue[name] = shared or self._open(queue)
        return self.by_queue[name]

    def is_shared(self, channel: ConsumerChannel) -> bool:
        """Return whether a channel is the one that the queues share."""
        return channel is self._shared

    def forget(self, queue: ConsumedQueue) -> ConsumerChannel:
        """Take the channel of a queue out, and return it. It is no shared one."""
        channel = self.by_queue.pop(queue.spec.name)
        self.by_number = {number: one for number, one in self.by_number.items() if one is not channel}
        return channel

    def detach(self, queue: ConsumedQueue) -> None:
        """Take a channel from a queue that is gone, and keep it for what is unsettled on it."""
        self.by_queue.pop(queue.spec.name).channel.on_closed = None

    def _open(self, queue: ConsumedQueue | None) -> ConsumerChannel:
        channel = ConsumerChannel(next(self._numbers), self._connection.channel(), queue)
        self.by_number = {**self.by_number, channel.number: channel}
        if queue is not None:
            channel.channel.on_closed = partial(self._on_closed, queue)
        return channel
