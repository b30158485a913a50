"""Consumer: deliveries in, settlements out. The role of a worker's consuming session."""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, Literal

from taskroute.broker.declare import count_consumers, count_each, count_messages
from taskroute.message.delivery import Delivery
from taskroute.quoting import shorten
from taskroute.topology.queue import QueueSpec

log = logging.getLogger(__name__)

EVENTS_PER_READ: Final = 256

SETTLING_TIME: Final = 0.25
"""Seconds after the last acknowledgement that quorum queues get at most to take it, before the channel is closed."""

LEFT_TAGS: Final = 1000
"""Consumers that were cancelled, for whom a delivery may still be on its way: the last so many are remembered."""

_NO_PROPERTIES: Mapping[str, object] = {}


class Consumer:
    """Consumes queues on one channel and acknowledges what is settled, in as few frames as can be.

    A settled prefix of delivery tags is acknowledged with one `multiple` frame; what is settled behind an
    unfinished delivery is acknowledged by itself, so that one slow message never holds back another.

    Thread-safe: `settle` and `cancel`. Everything else is called by the session's thread.

    Args:
        queues: specs of the queues to consume.
        prefetch: unacknowledged deliveries, by queue.
        prepare: declares what has to be there, on a fresh channel.
        deliver: takes the deliveries of one drain.
        on_lost: called when none of them can be settled any more.
        pausable: the queues for which `admits` may change.
        admits: which messages of a queue are wanted now; have `adjust` called when that has changed.
    """

    def __init__(
        self,
        queues: Sequence[QueueSpec],
        *,
        prefetch: Mapping[str, int],
        prepare: Callable[[Any], None],
        deliver: Callable[[Sequence[Delivery]], None],
        on_lost: Callable[[], None],
        pausable: Iterable[str] = (),
        admits: Callable[[str], Literal["all", "one", "none"]] = lambda _: "all",
    ) -> None:
        self._queues = {queue.name: queue for queue in queues}
        self._prefetch = prefetch
        self._prepare = prepare
        self._deliver = deliver
        self._on_lost = on_lost
        self._unsettled = dict.fromkeys(pausable, 0)  # deliveries on this channel
        self._crowded: set[str] = set()  # queues that wait until fewer are
        self._admits = admits
        self._connection: Any = None
        self._channel: Any = None
        self._probe: Any = None
        self._generation = 0
        self._tags: dict[str, str] = {}
        self._tag_numbers = itertools.count(1)
        self._left_tags: deque[str] = deque()  # of consumers that have been cancelled
        self._asked: Mapping[str, str] = {}
        self._cautious: dict[str, QueueSpec] = {}
        self._batch: list[Delivery] = []
        self._settled: deque[Delivery] = deque()
        self._acknowledged = 0  # every tag up to this one
        self._behind_gap: set[int] = set()  # tags after that, acknowledged one by one
        self._to_widen: list[QueueSpec] = []
        self._cancelled = False
        self._missed = 0
        self._active_at: float | None = None

    def settle(self, delivery: Delivery) -> None:
        """Have a delivery acknowledged; wake the session afterwards."""
        self._settled.append(delivery)

    def has_work(self) -> bool:
        """Whether settlements wait to be written."""
        return bool(self._settled or (self._crowded and self._with_room()))

    @property
    def consuming(self) -> frozenset[str]:
        """The queues that are being consumed now."""
        return frozenset(self._tags)

    @property
    def active_at(self) -> float | None:
        """When a message was last delivered or acknowledged, by the monotonic clock."""
        return self._active_at

    @property
    def missed(self) -> int:
        """How often the broker had no consumer where this one believed to consume."""
        return self._missed

    def opened(self, connection: Any, generation: int) -> None:
        """Declare and consume on a fresh connection."""
        try:
            self._open(connection, generation)
        except BaseException:
            self._forget()
            raise

    def _open(self, connection: Any, generation: int) -> None:
        channel = connection.channel()
        channel.auto_decode = False  # the sender's content_encoding must not change a byte
        self._prepare(channel)
        self._connection = connection
        self._channel = channel
        self._probe = connection.channel()
        self._generation = generation
        self._acknowledged = 0
        self._behind_gap.clear()
        self._batch.clear()
        if not self._cancelled:
            for queue in self._queues.values():
                self._start(queue)

    def adjust(self, name: str) -> None:
        """Consume a queue, or leave it to others, as `admits` says now. On the session's thread."""
        queue = self._queues[name]
        self._crowded.discard(name)
        if self._channel is None or self._cancelled or _is_kept(queue):
            return
        admitted = self._admits(name)
        if admitted == "none":
            self._cautious.pop(name, None)
            if name in self._tags:
                self._stop(name)
            return
        if name not in self._tags:
            if self._unsettled[name] >= self._prefetch[name]:
                self._crowded.add(name)
                return
            self._consume(queue, 1)
        if admitted == "all" and self._prefetch[name] > 1:
            self._cautious[name] = queue

    def cancel(self) -> None:
        """Stop deliveries for good. What has been delivered can still be settled. On the session's thread."""
        self._cancelled = True
        if self._channel is not None:
            for queue in tuple(self._tags):
                self._stop(queue)

    def flush(self) -> None:
        """Write the acknowledgements of what was settled."""
        settled: set[int] = set()
        while self._settled:
            delivery = self._settled.popleft()
            if delivery.generation != self._generation:
                log.info("stale_ack queue=%s message_id=%s", delivery.queue, shorten(str(delivery.message_id)))
            elif delivery.tag > self._acknowledged and delivery.tag not in self._behind_gap:
                if self._unsettled and delivery.tag not in settled and delivery.queue in self._unsettled:
                    self._unsettled[delivery.queue] -= 1
                settled.add(delivery.tag)
        if settled:
            self._active_at = time.monotonic()
            self._acknowledge(settled)

    def received(self) -> None:
        """Hand over what was read."""
        while self._to_widen:
            self._widen(self._to_widen.pop())
        if self._crowded:
            for queue in self._with_room():
                self.adjust(queue)
        if self._batch:
            batch, self._batch = self._batch, []
            self._active_at = time.monotonic()
            self._deliver(batch)

    def probe(self) -> None:
        """Ask the broker whether it has a consumer on each queue; it may have lost one without a word.

        On a channel of its own, as answers carry nothing that tells one question from another, and without waiting.
        """
        self._asked = dict(self._tags)
        for queue in self._asked:
            self._probe.ask_consumers(queue, self._found_consumers)

    def _found_consumers(self, queue: str, count: int) -> None:
        # A consumer that was not there yet when it was asked for, or is not any more, is not missed.
        if not count and queue in self._tags and self._asked.get(queue) == self._tags[queue]:
            self._missed += 1
            raise ConnectionError(f"the broker has no consumer on queue {queue!r} any more")

    def leave(self) -> None:
        """Let quorum queues take the last acknowledgements.

        RabbitMQ agrees to close a channel and forgets acknowledgements that a quorum queue has not taken yet: those
        messages are delivered again (its issue 10327). A cancelled consumer counts until everything of it is settled.
        That others consume the queue as well cannot be told from that, and costs the whole time.
        """
        until = (self._active_at or 0.0) + SETTLING_TIME
        for queue in self._queues.values():
            if queue.queue_type == "quorum":
                while time.monotonic() < until and count_consumers(self._channel, queue.name):
                    pass

    def lost(self, error: BaseException | None) -> None:  # noqa: ARG002 - part of a role
        """Forget the channel."""
        self._forget()
        self._on_lost()

    def _forget(self) -> None:
        """Its tags mean nothing on another one."""
        self._connection = self._channel = self._probe = None
        self._tags.clear()
        self._cautious.clear()
        self._to_widen.clear()
        self._left_tags.clear()
        self._crowded.clear()
        self._unsettled = dict.fromkeys(self._unsettled, 0)
        self._batch.clear()
        self._behind_gap.clear()
        self._generation = 0

    def next_deadline(self) -> float | None:
        """None: nothing here is timed."""
        return None

    def expire(self, now: float) -> None:
        """Nothing here is timed."""

    def count_ready(self, queues: Sequence[str], answer: Future[int]) -> None:
        """Resolve `answer` with the number of messages ready in `queues` or just delivered, or with its error.

        Asked again if there is none: a channel of RabbitMQ answers before it writes what a queue gave it meanwhile.
        """
        if self._channel is None:
            answer.set_exception(ConnectionError("not connected"))
            return
        try:
            answer.set_result(self._count_ready(queues) or self._count_ready(queues))
        except Exception as error:
            answer.set_exception(error)
            raise  # the channel may be gone: the session has to know

    def _count_ready(self, queues: Sequence[str]) -> int:
        count = sum(count_messages(self._channel, queue) for queue in queues)
        while self._channel.connection.drain_available(EVENTS_PER_READ):
            pass
        count += len(self._batch)
        self.received()  # what came before the answer has to be known before it
        return count

    def count_each(self, queues: Sequence[str], answer: Future[dict[str, int]]) -> None:
        """Resolve `answer` with the number of messages ready in each of `queues` that is there, or with the error."""
        if self._connection is None:
            answer.set_exception(ConnectionError("not connected"))
            return
        try:
            answer.set_result(count_each(self._connection, queues))
        except Exception as error:
            answer.set_exception(error)
            raise  # as above

    def _start(self, queue: QueueSpec) -> None:
        admitted = "all" if _is_kept(queue) else self._admits(queue.name)
        # What a crash left behind is redelivered first; taken one at a time, a message that kills its process
        # costs no other one a delivery. A single active consumer would lose its place, so it is spared.
        prefetch = self._prefetch[queue.name]
        is_careful = queue.queue_type == "quorum" and not queue.single_active_consumer and prefetch > 1
        if admitted == "all" and is_careful:
            self._cautious[queue.name] = queue
        if admitted != "none":
            self._consume(queue, 1 if is_careful or admitted == "one" else prefetch)

    def _consume(self, queue: QueueSpec, prefetch: int) -> None:
        tag = f"taskroute.{self._generation}.{next(self._tag_numbers)}.{queue.name}"[:255]
        self._channel.basic_qos(0, prefetch, False)
        self._channel.basic_consume(queue.name, consumer_tag=tag, callback=self._receiver(queue.name))
        self._tags[queue.name] = tag
        log.info("consuming queue=%s prefetch=%d generation=%d", queue.name, prefetch, self._generation)

    def _stop(self, queue: str) -> None:
        tag = self._tags.pop(queue)
        receiver = self._channel.callbacks.get(tag)
        self._channel.basic_cancel(tag, nowait=True)
        # A delivery may already be on its way; without a callback py-amqp would reject it.
        self._channel.callbacks[tag] = receiver
        self._left_tags.append(tag)
        if len(self._left_tags) > LEFT_TAGS:
            self._channel.callbacks.pop(self._left_tags.popleft(), None)

    def _receiver(self, queue: str) -> Callable[[Any], None]:
        generation = self._generation
        unsettled = self._unsettled if queue in self._unsettled else None

        def receive(message: Any) -> None:
            info = message.delivery_info
            redelivered = bool(info["redelivered"])
            self._batch.append(
                Delivery(
                    queue=queue,
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
            if unsettled is not None:
                unsettled[queue] += 1
            if (
                not redelivered
                and queue in self._cautious
                and self._unsettled_before(queue) <= self._prefetch[queue] / 2
            ):
                self._to_widen.append(self._cautious.pop(queue))

        return receive

    def _widen(self, queue: QueueSpec) -> None:
        if not self._cancelled and queue.name in self._tags:  # not paused in between
            self._stop(queue.name)
            self._consume(queue, self._prefetch[queue.name] - self._unsettled_before(queue.name))

    def _with_room(self) -> list[str]:
        return [queue for queue in self._crowded if self._unsettled[queue] < self._prefetch[queue]]

    def _unsettled_before(self, queue: str) -> int:
        """Deliveries of consumers that a pause has ended, when one message at a time comes now: they count as well."""
        return max(0, self._unsettled.get(queue, 0) - 1)

    def _acknowledge(self, settled: set[int]) -> None:
        prefix, last = self._acknowledged, 0
        while (following := prefix + 1) in settled or following in self._behind_gap:
            prefix = following
            if prefix in settled:
                last = prefix
            else:
                self._behind_gap.remove(prefix)
        self._acknowledged = prefix
        # The last one of this batch, not of the prefix: a tag that was acknowledged before is unknown to the broker,
        # which closes the channel over it.
        behind_gap = sorted(tag for tag in settled if tag > prefix)
        self._channel.acknowledge(last, behind_gap)
        self._behind_gap.update(behind_gap)


def _is_kept(queue: QueueSpec) -> bool:
    """Whether a queue stays consumed whatever is admitted, as leaving it would cost something.

    A single active consumer would lose its place, and the messages their order; what is exclusive has nobody else;
    without a consumer the broker may delete what is auto-delete or expires.
    """
    return queue.single_active_consumer or queue.exclusive or queue.auto_delete or queue.expires is not None
