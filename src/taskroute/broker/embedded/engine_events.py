"""What a broker posts to a connection. An event's `channel` is the `ChannelState`: a key to find the channel by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from taskroute.broker.embedded.backlog import Entry, StoredMessage
from taskroute.broker.embedded.queue import Consumer, Queue
from taskroute.broker.embedded.refusal import Refusal


class Delivered(NamedTuple):
    """A message for a consumer, or the answer to a get (no consumer; `remaining` messages are ready behind it).

    The channel's state keeps it until it is settled.
    """

    channel: object
    delivery_tag: int
    entry: Entry
    queue: Queue
    consumer: Consumer | None
    redelivered: bool
    """The entry's at the moment of delivery; later the entry may be put back."""
    counts: Mapping[str, object]
    """Headers that tell how often it was delivered before; none on the first delivery, and on a classic queue."""
    remaining: int

    @property
    def consumer_tag(self) -> str:
        """The tag of the consumer; empty for a get."""
        return "" if self.consumer is None else self.consumer.tag

    @property
    def message(self) -> StoredMessage:
        """The message that is delivered."""
        return self.entry.message


class Returned(NamedTuple):
    """A mandatory message that no queue takes."""

    channel: object
    code: int
    text: str
    message: StoredMessage


class Confirmed(NamedTuple):
    """The outcome of a publish on a channel with confirms."""

    channel: object
    delivery_tag: int
    accepted: bool


class Cancelled(NamedTuple):
    """The broker has ended a consumer because its queue is deleted."""

    channel: object
    consumer_tag: str


class Closed(NamedTuple):
    """The broker has closed the channel or, without a channel, the connection."""

    channel: object | None
    refusal: Refusal


Event = Delivered | Returned | Confirmed | Cancelled | Closed
