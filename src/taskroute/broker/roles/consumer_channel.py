"""ConsumerChannel: a channel that messages are delivered on: its consumers, and what is settled. Session's thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from taskroute.broker.amqp import Channel, Incoming
from taskroute.broker.declare import naming
from taskroute.broker.roles.acknowledgements import Acknowledgements
from taskroute.broker.roles.consumed_queue import ConsumedQueue
from taskroute.message.delivery import Delivery

LEFT_TAGS: Final = 1000
"""Consumers that were cancelled, for which a delivery may still be on its way: the last so many are remembered."""

_NO_PROPERTIES: Final[Mapping[str, object]] = {}


class ConsumerChannel:
    """A channel for consumers.

    Args:
        number: in each delivery, as its generation.
        channel: that was just opened.
        queue: the only one that is consumed on it, if that is so and its state is kept.
    """

    def __init__(self, number: int, channel: Channel, queue: ConsumedQueue | None = None) -> None:
        channel.auto_decode = False  # the sender's content_encoding must not change a byte
        self.number = number
        self.channel = channel
        self.queue = queue
        self.acknowledgements = Acknowledgements(channel)
        self._left_tags: deque[str] = deque()  # of consumers that were cancelled

    def consume(
        self,
        queue: str,
        tag: str,
        *,
        prefetch: int,
        receive: Callable[[Delivery], object],
        arguments: Mapping[str, object],
        on_cancel: Callable[[str], object],
    ) -> None:
        """Start a consumer.

        Raises:
            BrokerError: the broker refuses it, and has closed the channel.
        """
        number = self.number

        def take(message: Incoming) -> None:
            info = message.delivery_info
            receive(
                Delivery(
                    queue=queue,
                    exchange=info["exchange"],
                    routing_key=info["routing_key"],
                    body=message.body,
                    properties=message.properties or _NO_PROPERTIES,
                    redelivered=bool(info["redelivered"]),
                    tag=info["delivery_tag"],
                    generation=number,
                    malformed=message.malformed,
                )
            )

        with naming(f"queue {queue!r}"):
            self.channel.basic_qos(0, prefetch, False)
            self.channel.basic_consume(queue, tag, callback=take, arguments=arguments, on_cancel=on_cancel)

    def cancel(self, tag: str, *, nowait: bool = True) -> None:
        """End a consumer, if the broker still has it. Without `nowait`, its last deliveries are here then."""
        take = self.channel.callbacks.get(tag)
        self.channel.basic_cancel(tag, nowait=nowait)
        if take is None:
            return  # the broker has ended it already
        # A delivery may already be on its way; without a callback py-amqp would reject it.
        self.channel.callbacks[tag] = take
        self._left_tags.append(tag)
        if len(self._left_tags) > LEFT_TAGS:
            self.channel.callbacks.pop(self._left_tags.popleft(), None)
