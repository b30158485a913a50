"""ConsumerChannels: the channels that the consumers of one connection have, and what is asked on them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from taskroute.broker.amqp import Connection
from taskroute.broker.declare import count_consumers, count_each, count_messages
from taskroute.broker.roles.consumed_queue import ConsumedQueue
from taskroute.broker.roles.consumed_queues import ConsumedQueues
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
        queues: to consume.
        numbers: of the channels; none comes twice in a process's life.
        on_closed: is told of a queue whose own channel the broker has closed.
    """

    def __init__(
        self,
        connection: Connection,
        queues: ConsumedQueues,
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
        self._queues = queues
        self._helped = {helper.name: one.spec.name for one in queues for helper in one.spec.helper_queues()}
        has_enough = len(queues.by_name) + SPARE_CHANNELS <= connection.channel_max
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

    def count_ready(self, queues: Iterable[str]) -> int:
        """Return the number of messages that are ready in those of `queues` that are there.

        Each is asked for on the channel that its messages come by: what was delivered before the answer is then read
        before it. A queue that may be gone is asked for elsewhere first, as the broker closes the channel over it.
        """
        there = count_each(self._connection, queues)
        for name in there:
            channel = self.by_queue.get(self._helped.get(name, name))
            if channel is not None:
                there[name] = count_messages(channel.channel, name)
        return sum(there.values())

    def wait_settled(self, until: float) -> None:
        """Wait until quorum queues have taken the last acknowledgements, at most until a moment.

        Asked on the channel of their deliveries, which the broker would close over a queue that this user may not look
        at, and forget them: such a queue is not waited for.
        """
        there = [name for name in self.by_queue if self._queues.by_name[name].state != "missing"]
        quorum = [name for name in there if self._queues.by_name[name].spec.queue_type == "quorum"]
        if not quorum or time.monotonic() >= until:
            return
        seen = count_each(self._connection, quorum)
        for name, channel in list(self.by_queue.items()):
            if name in seen:
                while time.monotonic() < until and count_consumers(channel.channel, name):
                    pass

    def _open(self, queue: ConsumedQueue | None) -> ConsumerChannel:
        channel = ConsumerChannel(next(self._numbers), self._connection.channel(), queue)
        self.by_number = {**self.by_number, channel.number: channel}
        if queue is not None:
            channel.channel.on_closed = partial(self._on_closed, queue)
        return channel
