"""Taking: messages taken out of queues to be looked at, and acknowledged or put back. The caller's thread owns it all.

While they are held nobody else sees them. Whatever ends the connection puts them back where they were.
"""

from __future__ import annotations

import selectors
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import amqp

from taskroute.broker.amqp import KEEPS_ORDER, Channel
from taskroute.broker.connection import collect
from taskroute.broker.declare import closes_connection
from taskroute.broker.denied import is_denied
from taskroute.broker.endings import ending_of
from taskroute.broker.link import describe_error
from taskroute.broker.once import HEARTBEAT, connect_once
from taskroute.broker.roles.consumer_channel import ConsumerChannel
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerError, BrokerUnavailableError
from taskroute.message.delivery import Delivery
from taskroute.topology.queue import QueueSpec

_SILENCE: Final = 0.5
"""Seconds without a message after which the queue is asked whether there is one."""

_PATIENCE: Final = 10.0
"""Seconds without a message after which a queue that has some gives none."""

RETURN_TIME: Final = 1.0
"""Seconds that messages which were put back may take to be ready."""

_EVENTS: Final = 256

SETTLED_AT_ONCE: Final = 16
"""Messages that are acknowledged before the queue is asked whether it has settled them."""

MAX_BYTES: Final = 256 * 1024 * 1024
"""Of bodies that are held at once: beyond it no more messages are asked for."""


class QueueUnreadableError(Exception):
    """A queue is not there, or cannot be read by this user. The text says which, for people."""

    def __init__(self, text: str, *, is_absent: bool = False) -> None:
        super().__init__(text)
        self.is_absent = is_absent


class Taking:
    """Takes messages over a connection of its own, and puts back at its end what was not acknowledged.

    Use it with ``with``.

    Args:
        nodes: the first one that can be reached.
        name: of the connection, for people.

    Raises:
        BrokerUnavailableError: no node can be reached; raised by each call, the connection was lost.
    """

    def __init__(self, nodes: Sequence[BrokerUrl], *, name: str) -> None:
        self._connection = connect_once(nodes, name)
        self._channels: dict[int, ConsumerChannel] = {}
        self._queues: dict[int, str] = {}  # by the same number
        self._held: dict[int, dict[int, int]] = {}  # of each channel: by delivery tag, bytes
        self._passed_over: dict[int, list[int]] = {}  # delivery tags of each channel
        self._beyond: dict[int, list[int]] = {}  # of each channel: delivery tags of what came when its queue was asked
        self._unsettled: Counter[int] = Counter()  # of each channel: acknowledged since its queue was asked
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._connection.sock, selectors.EVENT_READ)
        self._tick_at = time.monotonic() + HEARTBEAT / 8

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put back what is held. After an error the end of the connection does it."""
        try:
            if not isinstance(error, BrokerError):
                self._put_back()
                self._connection.close()
        except (OSError, amqp.AMQPError) as lost:
            if error is None:
                raise BrokerUnavailableError(f"the connection was lost: {describe_error(lost)}") from None
        finally:
            self._selector.close()
            collect(self._connection)

    def count(self, queue: str) -> int:
        """Return how many messages are ready in a queue.

        Raises:
            QueueUnreadableError: it is not there, or this user may not look.
        """
        channel = self._channel()
        try:
            ready = channel.queue_declare(queue, passive=True).message_count
            channel.close()
        except amqp.AMQPError as error:
            raise self._unreadable(error, "look at it, which takes the right to read it") from None
        except OSError as error:
            raise _lost(error) from None
        return ready

    def check_declared(self, queue: QueueSpec) -> None:
        """Find out that a queue which is there has the arguments of its spec.

        Raises:
            QueueUnreadableError: it has others, or this user may not ask.
        """
        channel = self._channel()
        try:
            channel.queue_declare(
                queue.name,
                durable=queue.durable,
                exclusive=queue.exclusive,
                auto_delete=queue.auto_delete,
                arguments=queue.broker_arguments,
            )
            channel.close()
        except amqp.AMQPError as error:
            takes = "ask for its limits, which takes the right to configure it, or the management API (--api)"
            raise self._unreadable(error, takes) from None
        except OSError as error:
            raise _lost(error) from None

    def take(self, queue: str, most: int) -> list[Delivery]:
        """Take messages out of a queue, the first ones first: `most`, or as many as it gives.

        Raises:
            QueueUnreadableError: it is not there, or this user may not read it.
        """
        found: list[Delivery] = []
        if most < 1:
            return found
        number = max(self._channels, default=0) + 1
        channel = ConsumerChannel(number, self._channel())
        self._channels[number], self._queues[number] = channel, queue
        held = self._held[number] = {}
        self._passed_over[number] = []

        def receive(delivery: Delivery) -> None:
            held[delivery.tag] = len(delivery.body)
            found.append(delivery)

        tag = _new_tag()
        try:
            channel.consume(queue, tag, prefetch=most, receive=receive, arguments={}, on_cancel=lambda _: None)
        except BrokerError as error:
            if closes_connection(error):
                raise _lost(error) from None
            del self._channels[number], self._held[number]
            cause = error.__cause__
            if isinstance(cause, amqp.ChannelError):
                raise self._unreadable(cause, "take from it, which takes the right to read it") from None
            raise QueueUnreadableError(str(error)) from None
        except (OSError, amqp.AMQPError) as error:
            raise _lost(error) from None
        try:
            self._receive(queue, found, most)
            channel.cancel(tag, nowait=False)
            while self._connection.drain_available(_EVENTS):
                pass
        except (OSError, amqp.AMQPError) as error:
            raise _lost(error) from None
        taken = found.copy()
        found.clear()  # its channel knows the list until it ends, and would keep what is passed over
        return taken

    def acknowledge(self, delivery: Delivery) -> None:
        """Have the broker forget a message. A second time does nothing, as after an interrupt."""
        if self._held[delivery.generation].pop(delivery.tag, None) is None:
            return
        try:
            self._channels[delivery.generation].channel.acknowledge(0, [delivery.tag])
            self._unsettled[delivery.generation] += 1
            if self._unsettled[delivery.generation] >= SETTLED_AT_ONCE:
                self._settle(delivery.generation)
        except (OSError, amqp.AMQPError) as error:
            raise _lost(error) from None

    def pass_over(self, delivery: Delivery) -> None:
        """Keep nothing of a message but that it is held. It is put back with the others."""
        del self._held[delivery.generation][delivery.tag]
        self._passed_over[delivery.generation].append(delivery.tag)

    @property
    def is_full(self) -> bool:
        """Whether the bodies that are held are as many bytes as may be."""
        return sum(map(sum, map(dict.values, self._held.values()))) >= MAX_BYTES

    def tick(self) -> None:
        """Read what the broker says, and send a heartbeat if one is due. To be called several times a minute.

        Raises:
            BrokerUnavailableError: the connection, or the channel of a message that is held, is gone.
        """
        try:
            while self._connection.drain_available(_EVENTS):
                pass
            if time.monotonic() >= self._tick_at:
                self._tick_at = time.monotonic() + HEARTBEAT / 8
                self._connection.heartbeat_tick()
        except (OSError, amqp.AMQPError) as error:
            raise _lost(error) from None

    def wait(self, seconds: float) -> None:
        """Let some seconds go by, or less if the broker says something. Raises as `tick`."""
        self._selector.select(seconds)
        self.tick()

    def _receive(self, queue: str, found: list[Delivery], most: int) -> None:
        """Read until there are enough messages, or no more come."""
        silent_since = time.monotonic()
        asked = False
        while len(found) < most and not self.is_full:
            before = len(found)
            self.tick()
            if len(found) > before:
                silent_since, asked = time.monotonic(), False
                continue
            silent = time.monotonic() - silent_since
            if silent >= _PATIENCE or asked:
                return
            if silent >= _SILENCE and self.count(queue) == 0:
                asked = True  # what is on its way is read once more
            self._selector.select(_SILENCE)

    def _settle(self, number: int) -> None:
        """Wait until a queue has settled what was acknowledged on a channel, by consuming it there for a moment.

        A quorum queue agrees on that later. Of what is acknowledged meanwhile RabbitMQ sends it 32 settlements, keeps
        others in the channel, and forgets them with it: those messages would be there again. It agrees on a consumer
        after them; to be asked for a single message it refuses if it has a single active consumer.
        """
        self._unsettled[number] = 0
        beyond = self._beyond.setdefault(number, [])
        channel, tag = self._channels[number], _new_tag()
        try:
            channel.consume(
                self._queues[number],
                tag,
                prefetch=1,
                receive=lambda delivery: beyond.append(delivery.tag),
                arguments={},
                on_cancel=lambda _: None,
            )
        except BrokerError as error:
            raise error.__cause__ or error from None
        channel.cancel(tag, nowait=False)

    def _put_back(self) -> None:
        for number, unsettled in self._unsettled.items():
            if unsettled:
                self._settle(number)
        least: Counter[str] = Counter()  # by queue: what must be ready then
        for number, held in self._held.items():
            tags = sorted((*held, *self._passed_over[number]))
            self._put_back_in_order(number, tags)
            least[self._queues[number]] += len(tags)
        for number, tags in self._beyond.items():  # behind the others, as they were
            if tags:
                queue = self._queues[number]
                least[queue] = max(least[queue], self._ready(queue)) + len(tags)  # more may have come
                self._channels[number].channel.put_back(0, tags)
        for each in self._channels.values():
            each.channel.close()  # the broker has heard what came before its answer
        for queue, ready in least.items():
            if ready:
                self._see_again(queue, ready)

    def _put_back_in_order(self, number: int, tags: Sequence[int]) -> None:
        """Put back every delivery of a channel that is not settled, few at once.

        Each time the queue must have them before the next: RabbitMQ would put together again what a quorum queue has
        not taken yet. Somebody else may take them meanwhile, so that it is not waited for long.
        """
        channel, queue = self._channels[number].channel, self._queues[number]
        may_wait = True
        with suppress(amqp.ChannelError):  # it was deleted meanwhile
            ready = channel.queue_declare(queue, passive=True).message_count
            for first in range(0, len(tags), KEEPS_ORDER):
                some = tags[first : first + KEEPS_ORDER]
                channel.put_back(some[-1], ())
                ready += len(some)
                until = time.monotonic() + RETURN_TIME
                while may_wait and channel.queue_declare(queue, passive=True).message_count < ready:
                    may_wait = time.monotonic() < until
                    self._selector.select(RETURN_TIME / 1000)

    def _see_again(self, queue: str, least: int) -> None:
        """Wait until so many messages are ready: a quorum queue agrees on what was put back after it has answered.

        Whoever looks next would miss them. Somebody else may have them by now, so that it is not waited for long.
        """
        until = time.monotonic() + RETURN_TIME
        with suppress(QueueUnreadableError):
            while self.count(queue) < least and time.monotonic() < until:
                self._selector.select(RETURN_TIME / 100)

    def _ready(self, queue: str) -> int:
        try:
            return self.count(queue)
        except QueueUnreadableError:
            return 0  # it was deleted meanwhile

    def _channel(self) -> Channel:
        try:
            return self._connection.channel()
        except (OSError, amqp.AMQPError) as error:
            raise _lost(error) from None

    @staticmethod
    def _unreadable(error: amqp.AMQPError, takes: str) -> Exception:
        ending = ending_of(error.reply_code, str(error.reply_text))
        if ending is None or not isinstance(error, amqp.ChannelError):
            return _lost(error)
        if isinstance(error, amqp.NotFound) and ending == "mismatch":
            return QueueUnreadableError("it is not there", is_absent=True)
        if ending == "denied" and is_denied(error):
            return QueueUnreadableError(f"this user may not {takes}: grant what is missing ({error.reply_text!s})")
        return QueueUnreadableError(f"{ending}: {error.reply_text!s}")


def _new_tag() -> str:
    return f"taskroute-{uuid.uuid4().hex}"


def _lost(error: BaseException) -> BrokerUnavailableError:
    return BrokerUnavailableError(f"the connection was lost: {describe_error(error)}")
