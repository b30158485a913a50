"""Events: what a broker tells a connection. `channel` is the broker's side of the channel; compare it by identity."""

from __future__ import annotations

from typing import NamedTuple

from taskroute.broker.embedded.backlog import Entry, StoredMessage
from taskroute.broker.embedded.queue import Consumer, Queue
from taskroute.broker.embedded.refusal import Refusal


class Delivered(NamedTuple):
    """A message for a consumer, or the answer to a get (no consumer; `remaining` are ready behind it).

    The channel keeps it until it is settled.
    """

    channel: object
    delivery_tag: int
    entry: Entry
    queue: Queue
    consumer: Consumer | None
    redelivered: bool
    """As it was then; the entry may have been put back since."""
    delivery_count: int | None
    remaining: int

    @property
    def consumer_tag(self) -> str:
        """Whom it is for; empty for a get."""
        return "" if self.consumer is None else self.consumer.tag

    @property
    def message(self) -> StoredMessage:
        """What is delivered."""
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
    """The broker has ended a consumer: its queue is gone."""

    channel: object
    consumer_tag: str


class Closed(NamedTuple):
    """The broker has closed the channel, or the whole connection (no channel)."""

    channel: object | None
    refusal: Refusal


Event = Delivered | Returned | Confirmed | Cancelled | Closed
