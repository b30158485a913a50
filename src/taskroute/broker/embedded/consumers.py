"""Consumers: starts and ends the consumers of a broker."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Final

from taskroute.broker.embedded.channel_state import ChannelConsumer, ChannelState, Successor
from taskroute.broker.embedded.queues import Queues
from taskroute.broker.embedded.refusal import NOT_ALLOWED, NOT_IMPLEMENTED, Refusal
from taskroute.broker.embedded.unused_queues import UnusedQueues

_REPLY_TO: Final = "amq.rabbitmq.reply-to"


class Consumers:
    """Starts and ends consumers. Not synchronized: the broker's lock is held around every call."""

    def __init__(self, queues: Queues, unused: UnusedQueues) -> None:
        self._queues = queues
        self._unused = unused
        self._numbers = itertools.count(1)

    def start(
        self,
        channel: ChannelState,
        name: str,
        tag: str,
        *,
        no_ack: bool,
        exclusive: bool,
        arguments: Mapping[str, object],
    ) -> str:
        """Start a consumer of a queue; return its tag, made up if `tag` is empty.

        Raises:
            Refusal: 403, see `Queue.check_consumer`; 404 and 405, as for any use of the queue; 530, the channel has a
                consumer of that tag; 540, ``x-priority``
                or direct reply-to.
        """
        if "x-priority" in arguments:
            raise Refusal(NOT_IMPLEMENTED, "the embedded broker has no consumer priorities (x-priority)")
        if name == _REPLY_TO:
            raise Refusal(NOT_IMPLEMENTED, f"the embedded broker has no direct reply-to ({_REPLY_TO})")
        number = next(self._numbers)
        tag = tag or f"amq.ctag-{number}"
        if tag in channel.consumers:
            raise Refusal(NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'")
        queue = self._queues.accessible(channel, name)
        queue.check_consumer(exclusive=exclusive)
        earlier = channel.earlier(tag, queue) if queue.lets_take_over else None
        if earlier is None:
            consumer = ChannelConsumer(tag, queue, channel, number, no_ack=no_ack, exclusive=exclusive)
        else:
            consumer = Successor(earlier, no_ack=no_ack, exclusive=exclusive)
        channel.consumers[tag] = consumer
        queue.consumers.append(consumer)
        self._unused.forget(queue)
        queue.deal()
        return tag

    def end(self, channel: ChannelState, tag: str) -> None:
        """End a consumer, if the channel has one of that tag. Its deliveries can still be settled."""
        consumer = channel.consumers.get(tag)
        if consumer is not None:
            self._remove(consumer)
            consumer.queue.deal()

    def end_all(self, channel: ChannelState) -> None:
        """End every consumer of a channel. The queues deal later, when the channel's deliveries are back."""
        for consumer in tuple(channel.consumers.values()):
            self._remove(consumer)

    def _remove(self, consumer: ChannelConsumer) -> None:
        queue = consumer.queue
        del consumer.channel.consumers[consumer.tag]
        queue.end_consumer(consumer)
        if queue.consumers:
            return
        if queue.settings.declaration.auto_delete:
            self._queues.remove(queue)
        else:
            self._unused.touch(queue)
