"""Consumer: deliveries in, acknowledgements out. The role of a worker's consuming session."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from taskroute.broker.amqp import Channel, Connection, Incoming
from taskroute.broker.declare import Declaration, count_consumers, count_each, count_messages
from taskroute.broker.roles.acknowledgements import Acknowledgements, drop_stale
from taskroute.broker.roles.consumed_queue import Admission, ConsumedQueue
from taskroute.broker.roles.role import Role
from taskroute.keys.short_string import cut_key
from taskroute.message.delivery import Delivery
from taskroute.topology.queue import QueueSpec

log = logging.getLogger("taskroute.broker")

SETTLING_TIME: Final = 0.25
"""Seconds after the last acknowledgement that quorum queues get at most to take it, before the channel is closed."""

LEFT_TAGS: Final = 1000
"""Consumers that were cancelled, for which a delivery may still be on its way: the last so many are remembered."""

_NO_PROPERTIES: Final[Mapping[str, object]] = {}


class DeliverySink(Protocol):
    """What takes deliveries. The session's thread makes every call."""

    def on_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Take what one read has brought. Must not block."""

    def on_connection_lost(self) -> None:
        """Take note that no delivery so far can be settled: the broker delivers them again."""


class Consumer(Role):
    """Consumes queues on one channel and acknowledges what is settled, in as few frames as can be.

    A settled prefix of delivery tags is acknowledged with one `multiple` frame; what is settled behind an
    unfinished delivery is acknowledged by itself, so that one slow message never holds back another.

    Thread-safe: `settle` and the properties. Everything else is called by the session's thread.

    Args:
        queues: specs of the queues to consume.
        prefetch: unacknowledged deliveries, by queue.
        declaration: what must be on the broker first.
        sink: takes the deliveries.
        admission: returns which messages of a queue are wanted now; call `reconsider` when that has changed.
    """

    def __init__(
        self,
        queues: Iterable[QueueSpec],
        *,
        prefetch: Mapping[str, int],
        declaration: Declaration,
        sink: DeliverySink,
        admission: Callable[[str], Admission] = lambda _: "all",
    ) -> None:
        self._specs = tuple(queues)
        self._prefetch = prefetch
        self._declaration = declaration
        self._sink = sink
        self._admission = admission
        self._settled: deque[Delivery] = deque()  # other threads append here
        self._consuming: _Consuming | None = None
        self._tag_numbers = itertools.count(1)
        self._is_cancelled = False
        self._has_acknowledged = False  # on this connection
        self._delivered = 0
        self._missed = 0
        self._active_at: float | None = None

    @property
    def generation(self) -> int:
        """Of the connection whose deliveries can be settled now, 0 while there is none."""
        consuming = self._consuming
        return 0 if consuming is None else consuming.generation

    @property
    def consuming(self) -> frozenset[str]:
        """The queues that are being consumed now."""
        consuming = self._consuming
        return frozenset() if consuming is None else consuming.names

    @property
    def capacities(self) -> Mapping[str, int]:
        """By queue, how many messages may be unsettled now."""
        consuming = self._consuming
        queues = () if consuming is None else consuming.queues.values()
        return {**self._prefetch, **{queue.spec.name: queue.capacity for queue in queues}}

    @property
    def active_at(self) -> float | None:
        """When a message was last delivered or acknowledged, by the monotonic clock."""
        return self._active_at

    @property
    def delivered(self) -> int:
        """How many deliveries were handed on so far."""
        return self._delivered

    @property
    def missed(self) -> int:
        """How often the broker had no consumer where this one believed to consume."""
        return self._missed

    def settle(self, delivery: Delivery) -> None:
        """Have a delivery acknowledged; wake the session afterwards."""
        self._settled.append(delivery)

    def reconsider(self, name: str) -> None:
        """Consume a queue, or leave it to others, as `admission` says now."""
        if self._consuming is None or self._is_cancelled:
            return
        queue = self._consuming.queues[name]
        if not queue.is_kept:
            queue.admit(self._admission(name))
            self._consuming.follow(queue)

    def cancel(self) -> None:
        """Stop deliveries for good. What has been delivered can still be settled."""
        self._is_cancelled = True
        if self._consuming is not None:
            self._consuming.cancel()

    def count_ready(self, queues: Iterable[str]) -> int:
        """Return the number of messages that are ready in `queues`, on the open connection."""
        consuming = self._opened()
        return sum(count_messages(consuming.channel, queue) for queue in queues)

    def count_each(self, queues: Iterable[str]) -> dict[str, int]:
        """Return the number of messages that are ready in each of `queues` that is there, on the open connection."""
        return count_each(self._opened().connection, queues)

    # What a session asks of its role.

    def on_open(self, connection: Connection, generation: int) -> None:
        """Declare and consume on a fresh connection."""
        channel = connection.channel()
        channel.auto_decode = False  # the sender's content_encoding must not change a byte
        self._declaration.on(channel)
        queues = [ConsumedQueue(spec, self._prefetch[spec.name]) for spec in self._specs]
        consuming = _Consuming(connection, channel, generation, queues, self._tag_numbers)
        if not self._is_cancelled:
            for queue in queues:
                queue.start("all" if queue.is_kept else self._admission(queue.spec.name))
                consuming.follow(queue)
        self._has_acknowledged = False
        self._consuming = consuming  # only now: what was half set up leaves nothing behind

    def has_work(self) -> bool:
        """Return whether settlements wait to be written, or a queue has room again."""
        return bool(self._settled or (self._consuming is not None and self._consuming.with_room))

    def flush(self) -> None:
        """Write the acknowledgements of what was settled."""
        if self._consuming is None:
            while self._settled:
                drop_stale(self._settled.popleft())
        elif self._consuming.acknowledge(self._settled):
            self._active_at = time.monotonic()
            self._has_acknowledged = True

    def has_worked(self) -> bool:
        """Return whether anything was acknowledged on this connection."""
        return self._has_acknowledged

    def on_read(self) -> None:
        """Widen or resume what can be, and hand on what was read."""
        consuming = self._consuming
        if consuming is None:
            return
        while consuming.to_widen:
            consuming.widen(consuming.to_widen.pop())
        while consuming.with_room:
            self.reconsider(consuming.with_room.pop().spec.name)
        if consuming.batch:
            batch, consuming.batch = consuming.batch, []
            self._active_at = time.monotonic()
            self._delivered += len(batch)
            self._sink.on_deliveries(batch)

    def probe(self) -> None:
        """Ask the broker whether it has a consumer on each queue; it may have lost one without a word.

        On a channel of its own, as answers carry nothing that tells one question from another, and without waiting.
        """
        consuming = self._opened()
        for queue in consuming.queues.values():
            if queue.tag is not None:
                self._ask_consumers(consuming, queue, queue.tag)

    def on_leave(self) -> None:
        """Let quorum queues take the last acknowledgements.

        RabbitMQ agrees to close a channel and forgets acknowledgements that a quorum queue has not taken yet: those
        messages are delivered again (its issue 10327). A cancelled consumer counts until everything of it is settled.
        A consumer of somebody else's cannot be told from that, and costs the whole time.
        """
        channel = self._opened().channel
        until = (self._active_at or 0.0) + SETTLING_TIME
        for spec in self._specs:
            if spec.queue_type == "quorum":
                while time.monotonic() < until and count_consumers(channel, spec.name):
                    pass

    def on_lost(self, error: BaseException | None) -> None:  # noqa: ARG002 - the sink does not ask
        """Forget the channel."""
        self._consuming = None
        self._sink.on_connection_lost()

    def _ask_consumers(self, consuming: _Consuming, queue: ConsumedQueue, tag: str) -> None:
        def answer(name: str, count: int) -> None:
            # A consumer that has been replaced or cancelled since is not missed.
            if not count and queue.tag == tag:
                self._missed += 1
                raise ConnectionError(f"the broker has lost the consumer of queue {name!r}")

        consuming.probe.ask_consumers(queue.spec.name, answer)

    def _opened(self) -> _Consuming:
        assert self._consuming is not None, "not open"  # noqa: S101 - the session calls only while it is
        return self._consuming


class _Consuming:
    """What is consumed on one channel: gone with it, and made anew on the next one. For the session's thread."""

    def __init__(
        self,
        connection: Connection,
        channel: Channel,
        generation: int,
        queues: Iterable[ConsumedQueue],
        tag_numbers: itertools.count[int],
    ) -> None:
        self.connection = connection
        self.channel = channel
        self.probe = connection.channel()
        self.generation = generation
        self.queues = {queue.spec.name: queue for queue in queues}
        self.batch: list[Delivery] = []
        self.to_widen: list[ConsumedQueue] = []
        self.with_room: list[ConsumedQueue] = []
        """Queues that were full, and have room again."""
        self._tag_numbers = tag_numbers
        self._acknowledgements = Acknowledgements(channel, generation)
        self._left_tags: deque[str] = deque()  # of consumers that were cancelled

    @property
    def names(self) -> frozenset[str]:
        """The queues that have a consumer."""
        return frozenset(name for name, queue in self.queues.items() if queue.tag is not None)

    def follow(self, queue: ConsumedQueue) -> None:
        """Start or end the consumer of a queue, as its state wants it."""
        if queue.tag is None and queue.is_wanted:
            self._consume(queue)
        elif queue.tag is not None and not queue.is_wanted:
            self._stop(queue, queue.tag)

    def widen(self, queue: ConsumedQueue) -> None:
        """Replace the consumer of a queue by one with the whole prefetch, if the queue was not left in between."""
        if queue.state == "wide" and queue.tag is not None:
            self._stop(queue, queue.tag)
            self._consume(queue)

    def cancel(self) -> None:
        """End every consumer."""
        self.to_widen.clear()
        self.with_room.clear()
        for queue in self.queues.values():
            if queue.tag is not None:
                self._stop(queue, queue.tag)

    def acknowledge(self, settled: deque[Delivery]) -> bool:
        """Write the acknowledgements of `settled`, and count them. Return whether there were any."""
        acknowledged = self._acknowledgements.write(settled)
        for delivery in acknowledged:
            queue = self.queues[delivery.queue]
            queue.unsettled -= 1
            if queue.state == "full" and queue.has_room:
                self.with_room.append(queue)
        return bool(acknowledged)

    def _consume(self, queue: ConsumedQueue) -> None:
        name, prefetch = queue.spec.name, queue.next_prefetch
        tag = cut_key(f"taskroute.{self.generation}.{next(self._tag_numbers)}.{name}")
        self.channel.basic_qos(0, prefetch, False)
        self.channel.basic_consume(name, tag, callback=self._receiver(queue))
        queue.tag = tag
        log.info("consuming queue=%s prefetch=%d generation=%d", name, prefetch, self.generation)

    def _stop(self, queue: ConsumedQueue, tag: str) -> None:
        queue.tag = None
        receive = self.channel.callbacks[tag]
        self.channel.basic_cancel(tag, nowait=True)
        # A delivery may already be on its way; without a callback py-amqp would reject it.
        self.channel.callbacks[tag] = receive
        self._left_tags.append(tag)
        if len(self._left_tags) > LEFT_TAGS:
            self.channel.callbacks.pop(self._left_tags.popleft(), None)

    def _receiver(self, queue: ConsumedQueue) -> Callable[[Incoming], None]:
        name, generation = queue.spec.name, self.generation

        def receive(message: Incoming) -> None:
            info = message.delivery_info
            redelivered = bool(info["redelivered"])
            self.batch.append(
                Delivery(
                    queue=name,
                    exchange=info["exchange"],
                    routing_key=info["routing_key"],
                    body=message.body,
                    properties=message.properties or _NO_PROPERTIES,
                    redelivered=redelivered,
                    tag=info["delivery_tag"],
                    generation=generation,
                    malformed=message.malformed,
                )
            )
            if queue.on_delivery(redelivered):
                self.to_widen.append(queue)

        return receive
