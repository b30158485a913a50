"""Line: one of the channels that a sequence speaks of by number, and all that the broker says to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from amqp import spec
from tests.fuzz.seen import Seen, seen, seen_message
from tests.kit.waiting import DEADLINE


@dataclass
class Line:
    """A channel in confirm mode. A channel that the broker has closed is followed by another under the same number.

    Attributes:
        connection: the number of its connection.
        events: what has come since it was asked last.
        consumed: the queue of each of its consumers, by consumer tag.
        unsettled: the tags of deliveries that wait for an answer, the oldest first, and their queues.
    """

    connection: int
    events: list[Seen] = field(default_factory=list)
    consumed: dict[str, str] = field(default_factory=dict)
    unsettled: dict[int, str] = field(default_factory=dict)
    confirms: dict[int, str] = field(default_factory=dict)
    published: int = 0
    channel: Any = None

    def open(self, channel: Any) -> None:
        """Begin anew on another channel."""
        self.channel = channel
        self.consumed.clear()
        self.unsettled.clear()
        self.confirms.clear()
        self.published = 0
        channel.auto_decode = False
        channel.confirm_select()
        channel.events["basic_ack"].add(lambda tag, multiple: self._confirmed(tag, multiple, "ack"))
        channel.events["basic_nack"].add(lambda tag, multiple: self._confirmed(tag, multiple, "nack"))
        channel.events["basic_return"].add(self._returned)

    def ask(self) -> None:
        """Ask something that changes nothing, and read up to the answer: what was said before it has come by then."""
        self.channel.exchange_declare("amq.direct", "direct", passive=True, durable=True, auto_delete=False)
        while self.channel.connection.drain_available(100):
            pass

    def publish(self, message: Any, exchange: str, key: str, *, mandatory: bool) -> str:
        """Publish, and wait for ``ack`` or ``nack``."""
        self.published += 1
        number = self.published
        self.channel.basic_publish(message, exchange, key, mandatory=mandatory)
        self.ask()
        deadline = time.monotonic() + DEADLINE
        while number not in self.confirms:
            self.channel.connection.drain_events(timeout=max(deadline - time.monotonic(), 0.001))
        return self.confirms[number]

    def consume(self, queue: str, tag: str, *, no_ack: bool, exclusive: bool, arguments: Mapping[str, object]) -> str:
        """Start a consumer that writes down what it is given; return its tag."""
        took: str = self.channel.basic_consume(
            queue,
            tag,
            no_ack=no_ack,
            exclusive=exclusive,
            arguments=arguments,
            callback=lambda message: self._delivered(message, "" if no_ack else queue),
            on_cancel=self._cancelled,
        )
        self.consumed[tag] = queue
        return took

    def get(self, queue: str, *, no_ack: bool) -> Seen:
        """Take one message."""
        message = self.channel.basic_get(queue, no_ack=no_ack)
        if message is None:
            return "nothing"
        if not no_ack:
            self.unsettled[message.delivery_info["delivery_tag"]] = queue
        return seen_message(message)

    def nack(self, tag: int, *, multiple: bool, requeue: bool) -> None:
        """Send basic.nack, which py-amqp does not have."""
        if hasattr(self.channel, "basic_nack"):
            self.channel.basic_nack(tag, multiple=multiple, requeue=requeue)
        else:
            self.channel.send_method(spec.Basic.Nack, "Lbb", (tag, multiple, requeue))

    def settled(self, tag: int, *, multiple: bool) -> None:
        """Forget deliveries that were answered."""
        for one in tuple(self.unsettled):
            if one == tag or (multiple and (one < tag or not tag)):
                del self.unsettled[one]

    def take_events(self) -> list[Seen]:
        """Return what has come, and begin a new list."""
        events, self.events = self.events, []
        return events

    def _delivered(self, message: Any, unsettled_of: str) -> None:
        if unsettled_of:
            self.unsettled[message.delivery_info["delivery_tag"]] = unsettled_of
        self.events.append(seen_message(message))

    def _cancelled(self, tag: str) -> None:
        self.consumed.pop(tag, None)
        self.events.append(("cancelled", tag))

    def _confirmed(self, tag: int, multiple: bool, outcome: str) -> None:
        for number in range(1 if multiple else tag, tag + 1):
            self.confirms.setdefault(number, outcome)

    def _returned(self, error: Any, exchange: str, key: str, message: Any) -> None:
        body, properties = bytes(message.body), seen(message.properties)
        self.events.append(("returned", error.reply_code, exchange, key, body, properties))


Connect = Callable[[], Any]
"""Opens a connection."""
