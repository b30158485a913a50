"""Consuming: the consumers of one connection, and what is delivered and settled there. Gone with the connection."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from taskroute.broker.amqp import Connection
from taskroute.broker.declare import (
    Declaration,
    QueueUnavailableError,
    closes_connection,
)
from taskroute.broker.remarks import Remarks
from taskroute.broker.roles.acknowledgements import drop_stale
from taskroute.broker.roles.backlog import Backlogs
from taskroute.broker.roles.consumed_queue import Admission, ConsumedQueue, Wanted
from taskroute.broker.roles.consumed_queues import ConsumedQueues
from taskroute.broker.roles.consumer_channel import ConsumerChannel
from taskroute.broker.roles.consumer_channels import ConsumerChannels
from taskroute.broker.roles.declaring import Declaring
from taskroute.broker.roles.missing_queues import MissingQueues
from taskroute.broker.roles.probe import Probe
from taskroute.broker.roles.queue_suspects import QueueSuspects
from taskroute.errors import BrokerError
from taskroute.foreign import Log
from taskroute.keys.short_string import cut_key
from taskroute.message.delivery import Delivery
from taskroute.topology.broker_facts import BrokerFacts
from taskroute.topology.capabilities import RETURNS_UNCOUNTED, has
from taskroute.topology.digest import TOPOLOGY_ARGUMENT, topology_digest

log = Log("taskroute.broker")


class Consuming:
    """What is consumed on one connection. For the session's thread; others may read what `queues` and `channels` say.

    Args:
        connection: that was just opened.
        generation: of the connection.
        queues: to consume.
        declaration: what must be there first.
        admission: returns which messages of a queue are wanted now.
        numbers: of channels and consumers; none comes twice in a process's life.
        suspects: queues over which the broker has closed a connection. Kept from connection to connection.
        lowest_broker: the lowest version that was met; nothing that it lacks is relied on.
        remarks: take what is wrong with what is not consumed here. Kept from connection to connection.
        backlogs: take what the broker says of the queues.
        on_queue_lost: is told of a queue whose deliveries cannot be settled any more.
    """

    def __init__(
        self,
        connection: Connection,
        generation: int,
        queues: ConsumedQueues,
        *,
        declaration: Declaration,
        admission: Callable[[str], Admission],
        numbers: itertools.count[int],
        suspects: QueueSuspects,
        lowest_broker: BrokerFacts | None,
        remarks: Remarks,
        backlogs: Backlogs,
        on_queue_lost: Callable[[str], object],
    ) -> None:
        self.connection = connection
        self.generation = generation
        self.queues = queues
        self.probe = Probe(connection, self._on_probe_denied, backlogs.forget)
        self.channels = ConsumerChannels(connection, queues, numbers, self._on_closed)
        self.missing = MissingQueues(connection, queues, suspects=suspects, remarks=remarks, backlogs=backlogs)
        self.declaring = Declaring(
            connection,
            declaration,
            queues,
            missing=self.missing,
            suspects=suspects,
            remarks=remarks,
            is_first=generation == 1,
        )
        self.batch: list[Delivery] = []
        self.with_room: list[ConsumedQueue] = []
        """Queues that were full, and have room again."""
        self._to_widen: list[ConsumedQueue] = []
        self._remarks = remarks
        self._backlogs = backlogs
        self._lowest_broker = lowest_broker
        self._admission = admission
        self._numbers = numbers
        self._on_queue_lost = on_queue_lost
        self._opened_at = time.monotonic()
        self._arguments = {TOPOLOGY_ARGUMENT: topology_digest(declaration.topology)}

    def wanted(self, queue: ConsumedQueue) -> Wanted:
        """Return which messages of a queue are wanted: none while it is to wait for the one that it replaces."""
        if self.queues.awaited_by(queue) is not None:
            return "none"
        return queue.wanted(self._admission(queue.serves))

    def start(self) -> None:
        """Consume every queue that is there."""
        for queue in self.queues:
            if queue.state != "missing":
                queue.start(self.wanted(queue))
                self.follow(queue)
        self.missing.plan()

    def search(self, now: float) -> None:
        """Declare and consume the missing queues that are due, once the broker answers for them."""
        self.missing.search(now, self._find)

    def reconsider(self, queue: ConsumedQueue) -> None:
        """Start or end the consumer of a queue, as it is wanted now."""
        queue.admit(self.wanted(queue))
        self.follow(queue)

    def follow(self, queue: ConsumedQueue) -> None:
        """Start or end the consumer of a queue, as its state wants it."""
        if queue.tag is None and queue.is_wanted:
            with self.missing.losing(queue):
                self._consume(queue)
        elif queue.tag is not None and not queue.is_wanted:
            self._stop(queue)

    def end(self, queue: ConsumedQueue, why: str) -> None:
        """Take note that the broker has no consumer of a queue any more; it is looked for soon."""
        self._stop(queue)
        self.missing.lose(queue, QueueUnavailableError(f"queue {queue.spec.name!r}: {why}"))

    def renew_one(self, now: float) -> None:
        """Consume a silent queue anew: the broker agrees only if it has a majority.

        A node that is parted from the others may go on for ever with consumers that nothing comes to (from RabbitMQ 4.3
        on), and answers whatever can be answered alone; and a broker may lose what it has delivered. One queue at a
        time, so that a worker of many idle queues is no burden: one in which messages wait, or else the one that has
        been silent for longest.
        """
        silent = [queue for queue in self.queues if self._is_silent(queue, now)]
        if silent:
            self._renew(min(silent, key=lambda queue: (not self._backlogs.ready(queue.spec.name), queue.heard_at)))

    def cancel(self) -> None:
        """End every consumer."""
        self._to_widen.clear()
        self.with_room.clear()
        for queue in self.queues:
            self._stop(queue)

    # While it consumes:

    def catch_up(self) -> None:
        """Widen the prefetch of the queues that have ended their careful beginning, unless they were left."""
        while self._to_widen:
            queue = self._to_widen.pop()
            if queue.state == "wide" and queue.tag is not None:
                self._replace_consumer(queue)

    def acknowledge(self, settled: deque[Delivery], now: float) -> bool:
        """Write the acknowledgements of `settled`, and count them. Return whether there were any."""
        has_written = False
        for number, deliveries in _by_channel(settled).items():
            channel = self.channels.by_number.get(number)
            if channel is not None:
                acknowledged = channel.acknowledgements.write(deliveries)
                self._count_settled(channel, acknowledged, now)
                has_written = has_written or bool(acknowledged)
            else:
                for delivery in deliveries:
                    drop_stale(delivery)
        return has_written

    def put_back(self, returned: deque[Delivery], now: float) -> None:
        """Put deliveries back to their queues. What was settled must be acknowledged before."""
        for number, deliveries in _by_channel(returned).items():
            if (channel := self.channels.by_number.get(number)) is not None:
                self._count_settled(channel, channel.acknowledgements.put_back(deliveries), now)

    def puts_back_freely(self, queue: ConsumedQueue) -> bool:
        """Return whether what goes back to a queue counts as no failed delivery there."""
        return queue.spec.queue_type == "classic" or has(RETURNS_UNCOUNTED, self._lowest_broker)

    # Its consumers:

    def _find(self, queue: ConsumedQueue) -> None:
        """Declare a missing queue and what serves it, and consume it if it is wanted."""
        if not self.declaring.find(queue):
            self._leave_to_successor(queue)
            return
        wanted = self.wanted(queue)
        queue.find(time.monotonic())
        queue.admit(wanted)
        if queue.is_wanted:
            self._consume(queue)

    def _leave_to_successor(self, queue: ConsumedQueue) -> None:
        """Have a queue that is gone be replaced for good by the one that awaits that."""
        name = queue.spec.name
        self._backlogs.forget(name)
        if name in self.channels.by_queue:
            log.info("queue_replaced queue=%s by=%s", name, queue.serves)
            if queue.unsettled:  # it was deleted with messages: what is handled can still be republished
                self.channels.detach(queue)
            else:
                self._forget_channel(queue).channel.close()
        self.reconsider(self.queues.by_name[queue.serves])

    def _consume(self, queue: ConsumedQueue, tell: Callable[..., object] = log.info) -> None:
        channel = self.channels.opened_for(queue)
        try:
            queue.tag = self._add_consumer(queue, channel, queue.next_prefetch, tell)
            if queue.state == "careful" and queue.spec.single_active_consumer:
                # Next in line: it takes the place over when the careful one is cancelled.
                standby = self._add_consumer(queue, channel, queue.prefetch_when_wide, tell)
                if queue.is_wanted:
                    queue.standby = standby
                else:  # the broker has ended the first one meanwhile
                    self._leave(queue, standby)
        except BrokerError as error:
            if not closes_connection(error):
                self._drop_channel(queue, channel)
            raise
        queue.heard_at = time.monotonic()
        self.missing.note_consumed(queue)

    def _add_consumer(
        self, queue: ConsumedQueue, channel: ConsumerChannel, prefetch: int, tell: Callable[..., object]
    ) -> str:
        name = queue.spec.name
        tag = cut_key(f"taskroute.{self.generation}.{next(self._numbers)}.{name}")
        channel.consume(
            name,
            tag,
            prefetch=prefetch,
            receive=partial(self._receive_replaced if queue.is_replaced else self._receive, queue),
            arguments=self._arguments,
            on_cancel=partial(self._on_cancel, queue),
        )
        tell("consuming queue=%s prefetch=%d generation=%d", name, prefetch, self.generation)
        return tag

    def _replace_consumer(self, queue: ConsumedQueue) -> None:
        if queue.standby is not None:
            self._leave(queue, queue.tag)
            queue.tag, queue.standby = queue.standby, None
            return
        self._stop(queue)
        with self.missing.losing(queue):
            self._consume(queue)

    def _is_silent(self, queue: ConsumedQueue, now: float) -> bool:
        if not queue.is_silent(now, self._opened_at):
            return False
        return not self.channels.by_queue[queue.spec.name].channel.is_receiving  # a large message may take its time

    def _renew(self, queue: ConsumedQueue) -> None:
        """Consume an idle queue anew, on another channel.

        The end of the old one gives back what the broker believes to have delivered on it and did not: a new consumer
        beside it would not be given that.
        """
        channel = self.channels.by_queue[queue.spec.name]
        with self.missing.losing(queue):
            channel.cancel(str(queue.tag), nowait=False)
            if queue.tag is None:  # the broker has ended it meanwhile
                return
            queue.tag = None
            if not self.channels.is_shared(channel) and not queue.unsettled:  # nothing has come at the last moment
                self._forget_channel(queue).channel.close()
            self._consume(queue, log.info if self._backlogs.ready(queue.spec.name) else log.debug)
        if queue.state != "missing":
            self._declare_anew(queue)

    def _declare_anew(self, queue: ConsumedQueue) -> None:
        """Declare a queue that is consumed: RabbitMQ ends no consumer of a quorum queue that another one replaces.

        That happens to one that is deleted and created again within moments. The other one counts the consumer as its
        own, whatever it was created with, and its bindings are gone.
        """
        with self.missing.losing(queue):
            try:
                self.declaring.declare_anew(queue)
            except BrokerError as error:
                if not closes_connection(error):
                    self._stop(queue)
                raise

    def _stop(self, queue: ConsumedQueue) -> None:
        for tag in (queue.standby, queue.tag):  # in this order: the other way round the first would be active
            self._leave(queue, tag)
        queue.tag = queue.standby = None

    def _leave(self, queue: ConsumedQueue, tag: str | None) -> None:
        """End a consumer, if there is one."""
        if tag is not None:
            self.channels.by_queue[queue.spec.name].cancel(tag)

    # What the broker says of its own accord:

    def _on_cancel(self, queue: ConsumedQueue, tag: str) -> None:
        """Take note that the broker has ended a consumer: its queue is deleted, its node is down, it took too long."""
        if tag in (queue.tag, queue.standby):
            self.end(queue, "the broker has ended its consumer")

    def _on_probe_denied(self, name: str) -> None:
        self._backlogs.forget(name)
        self._remarks.unseen(f"queue {name!r}", "a consumer that the broker forgets would not be missed")

    def _on_closed(self, queue: ConsumedQueue, error: Exception) -> None:
        """Take note that the broker has closed the channel of a queue, as over an acknowledgement that is late."""
        self._forget_channel(queue)
        why = getattr(error, "reply_text", error)
        self.missing.lose(queue, QueueUnavailableError(f"queue {queue.spec.name!r}: {why}"))

    # Its channels, and what is delivered and settled on them:

    def _drop_channel(self, queue: ConsumedQueue, channel: ConsumerChannel) -> None:
        """Close the channel of a queue, which the broker has closed and py-amqp has opened again."""
        if self.channels.is_shared(channel):
            raise ConnectionError("the broker has closed the channel that all queues share")
        self._forget_channel(queue).channel.close()

    def _forget_channel(self, queue: ConsumedQueue) -> ConsumerChannel:
        """Forget the channel of a queue, and what was delivered on it: the broker delivers it again."""
        channel = self.channels.forget(queue)
        queue.tag = queue.standby = None
        self.batch = [delivery for delivery in self.batch if delivery.generation != channel.number]
        if queue.unsettled:
            queue.unsettled = 0
            self._on_queue_lost(queue.serves)
        return channel

    def _count_settled(self, channel: ConsumerChannel, deliveries: Iterable[Delivery], now: float) -> None:
        own, by_name = channel.queue, self.queues.by_name
        for delivery in deliveries:
            queue = own or by_name[delivery.queue]
            queue.unsettled -= 1
            queue.heard_at = now
            if queue.state == "full" and queue.has_room:
                self.with_room.append(queue)

    def _receive(self, queue: ConsumedQueue, delivery: Delivery) -> None:
        self.batch.append(delivery)
        if queue.state != "careful":  # nearly always: as `on_delivery`
            queue.unsettled += 1
        elif queue.on_delivery(delivery.redelivered):
            self._to_widen.append(queue)

    def _receive_replaced(self, queue: ConsumedQueue, delivery: Delivery) -> None:
        """Take a message as one of the queue that replaces its own: that one's handlers, limits and helpers count."""
        delivery.queue = queue.serves
        self._receive(queue, delivery)


def _by_channel(deliveries: deque[Delivery]) -> dict[int, list[Delivery]]:
    """Empty `deliveries`, which other threads append to, and return them by the number of their channel."""
    by_channel: dict[int, list[Delivery]] = {}
    while deliveries:
        delivery = deliveries.popleft()
        by_channel.setdefault(delivery.generation, []).append(delivery)
    return by_channel
