"""Consumer: deliveries in, acknowledgements out. The role of a worker's consuming session."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from taskroute.broker.amqp import Connection
from taskroute.broker.declare import Declaration, count_each, log_ignored
from taskroute.broker.remarks import Remarks
from taskroute.broker.roles.acknowledgements import drop_stale
from taskroute.broker.roles.backlog import Backlog, Backlogs
from taskroute.broker.roles.consumed_queue import Admission, ConsumedQueue
from taskroute.broker.roles.consumed_queues import ConsumedQueues
from taskroute.broker.roles.consuming import Consuming
from taskroute.broker.roles.queue_suspects import QueueSuspects
from taskroute.broker.roles.role import Role
from taskroute.message.delivery import Delivery
from taskroute.topology.broker_facts import BrokerFacts, Met, facts_of
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import predecessor

LEAVING_FOR_ANOTHER_NODE: Final = 30.0
"""Seconds that nothing new is consumed at most, so that the connection can be left when every delivery is settled."""

SETTLING_TIME: Final = 0.25
"""Seconds after the last acknowledgement that quorum queues get at most to take it, before the channel is closed."""


class DeliverySink(Protocol):
    """What takes deliveries. The session's thread makes every call."""

    def on_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Take what one read has brought. Must not block."""

    def on_connection_lost(self) -> None:
        """Take note that no delivery so far can be settled: the broker delivers them again."""

    def on_queue_lost(self, queue: str) -> None:
        """Take note of the same for the deliveries of one queue."""

    def on_counted(self, queue: str, ready: int | None) -> None:
        """Take note of how many messages are ready in a queue, None when that is not known any more."""


class Consumer(Role):
    """Consumes queues and acknowledges what is settled, in as few frames as can be.

    A settled prefix of delivery tags is acknowledged with one `multiple` frame; what is settled behind an
    unfinished delivery is acknowledged by itself, so that one slow message never holds back another.

    What happens to one queue does not touch the others: each has a channel of its own, and one that cannot be had is
    looked for again, after a pause that grows.

    Thread-safe: `settle`, `put_back`, `is_stale` and the properties. Everything else is called by the session's thread.

    Args:
        queues: specs of the queues to consume.
        prefetch: unacknowledged deliveries, by queue.
        declaration: what must be on the broker first.
        sink: takes the deliveries.
        admission: returns which messages of a queue are wanted now; call `reconsider` when that has changed.
    """

    leaving_time = LEAVING_FOR_ANOTHER_NODE

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
        self._returned: deque[Delivery] = deque()  # and here
        self._consuming: Consuming | None = None
        self._numbers = itertools.count(1)
        self._suspects = QueueSuspects()
        self._remarks = Remarks()
        self._backlogs = Backlogs(sink.on_counted)
        self._met = Met()  # replaced as a whole: other threads read both
        self._is_cancelled = False
        self._left: frozenset[str] | None = None  # while it is leaving: what it consumed before
        self._has_acknowledged = False  # on this connection
        self._delivered = 0
        self._missed = 0
        self._active_at: float | None = None

    def is_stale(self, delivery: Delivery) -> bool:
        """Return whether a delivery cannot be settled any more, so that the broker delivers its message again."""
        consuming = self._consuming
        return consuming is None or delivery.generation not in consuming.channels.by_number

    @property
    def consuming(self) -> frozenset[str]:
        """The queues that are being consumed now, or are again in a moment, on another node."""
        consuming, left = self._consuming, self._left
        return frozenset() if consuming is None else consuming.queues.consumed | (left or frozenset())

    @property
    def capacities(self) -> Mapping[str, int]:
        """By queue, how many messages may be unsettled now."""
        consuming = self._consuming
        capacities = dict(self._prefetch)
        if consuming is not None:
            awaiting = consuming.queues.awaiting
            for name, queue in consuming.queues.by_name.items():
                own = 0 if not queue.is_replaced else capacities.get(queue.serves, 0)
                capacities[queue.serves] = own + (0 if name in awaiting else queue.capacity)
        return capacities

    @property
    def missing(self) -> Mapping[str, str]:
        """The queues that cannot be had now, and why."""
        consuming = self._consuming
        return {} if consuming is None else consuming.queues.missing

    @property
    def awaiting(self) -> frozenset[str]:
        """The queues that wait until the one that they replace is gone."""
        consuming = self._consuming
        return frozenset() if consuming is None else consuming.queues.awaiting

    @property
    def backlogs(self) -> Mapping[str, Backlog]:
        """By queue, how many messages are ready, where the broker has said it."""
        return self._backlogs.now()

    @property
    def broker(self) -> BrokerFacts | None:
        """Which broker the last connection was to, None if it did not say."""
        return self._met.now

    @property
    def warnings(self) -> Sequence[str]:
        """What does not keep it from consuming, and is not as its specs say, or not known."""
        met = self._met
        warnings = list(self._remarks.texts.values())
        if met.lowest != met.now:
            warnings.append(f"connected to {met.now}, and before to {met.lowest}: only what both have is relied on")
        consuming = self._consuming
        warnings += () if consuming is None else consuming.queues.replaced.values()
        return [*warnings, *(f"queue {name!r}: {limit}" for name, limit in self._declaration.ignored_by(met.lowest))]

    @property
    def active_at(self) -> float | None:
        """When a message was last delivered or acknowledged, by the monotonic clock."""
        return self._active_at

    @property
    def delivered(self) -> int:
        """How many deliveries the sink has taken so far."""
        return self._delivered

    @property
    def missed(self) -> int:
        """How often the broker had no consumer where this one believed to consume."""
        return self._missed

    def settle(self, delivery: Delivery) -> None:
        """Have a delivery acknowledged; wake the session afterwards."""
        self._settled.append(delivery)

    def put_back(self, deliveries: Iterable[Delivery]) -> None:
        """Have deliveries that nobody has begun put back to their queues; wake the session afterwards."""
        self._returned.extend(deliveries)

    def reconsider(self, name: str) -> None:
        """Consume a queue, or leave it to others, as `admission` says now."""
        if self._consuming is None or self._is_cancelled:
            return
        for queue in self._consuming.queues.serving(name):
            self._consuming.reconsider(queue)

    def gives_back(self, name: str) -> bool:
        """Return whether messages of a queue that is left can be put back, as that counts as no failure."""
        consuming = self._consuming
        return consuming is not None and all(
            queue.tag is None and consuming.puts_back_freely(queue) for queue in consuming.queues.serving(name)
        )

    def shrink(self, name: str, surplus: int, withdraw: Callable[[], Iterable[Delivery]]) -> int:
        """Take fewer messages of a queue in advance, for as long as the connection lasts. On the session's thread.

        Those that nobody has begun go back where that counts as no failed delivery: to a classic queue, and from
        RabbitMQ 4.3 on to a quorum queue. A queue that cannot be left without harm keeps its prefetch.

        Args:
            name: of the queue.
            surplus: how many of its messages should not wait here.
            withdraw: returns those, which nobody begins then.

        Returns:
            The prefetch from now on.
        """
        consuming = self._consuming
        if consuming is None or self._is_cancelled or consuming.queues.by_name[name].is_kept:
            return self._prefetch[name]
        queues = [queue for queue in consuming.queues.serving(name) if queue.spec.name not in consuming.queues.awaiting]
        for queue in queues:
            queue.prefetch = min(queue.prefetch, max(1, queue.unsettled - surplus))
            queue.admit("none")
            consuming.follow(queue)  # first: what is put back would come again
        if all(consuming.puts_back_freely(queue) for queue in queues):
            self.put_back(withdraw())
            self.flush()
        self.reconsider(name)
        return min(queue.prefetch for queue in queues)

    def cancel(self) -> None:
        """Stop deliveries for good. What has been delivered can still be settled."""
        self._is_cancelled = True
        if self._consuming is not None:
            self._consuming.cancel()

    def count_ready(self, queues: Iterable[str]) -> int:
        """Return the number of messages that are ready in `queues`, on the open connection."""
        return self._opened().channels.count_ready(queues)

    def count_each(self, queues: Iterable[str]) -> dict[str, int]:
        """Return the number of messages that are ready in each of `queues` that is there, on the open connection."""
        return count_each(self._opened().connection, queues)

    # What a session asks of its role.

    def on_open(self, connection: Connection, generation: int) -> None:
        """Declare and consume on a fresh connection."""
        queues = [ConsumedQueue(spec, self._prefetch[spec.name]) for spec in self._specs]
        before = ((spec.name, predecessor(spec, self._declaration.topology)) for spec in self._specs)
        queues += [ConsumedQueue(old, self._prefetch[name], serves=name) for name, old in before if old is not None]
        self._meet(facts_of(connection.server_properties))
        self._remarks.begin_anew()
        consuming = Consuming(
            connection,
            generation,
            ConsumedQueues(queues),
            declaration=self._declaration.for_broker(self._met.now, self._remarks),
            remarks=self._remarks,
            backlogs=self._backlogs,
            lowest_broker=self._met.lowest,
            admission=self._wanted,
            numbers=self._numbers,
            suspects=self._suspects,
            on_queue_lost=self._sink.on_queue_lost,
        )
        consuming.declaring.declare()
        if not self._is_cancelled:
            consuming.start()
        if generation == 1:
            consuming.missing.raise_what_is_wrong()
        self._has_acknowledged = False
        self._consuming = consuming  # only now: what was half set up leaves nothing behind

    def leave(self) -> bool:
        """Consume nothing until every delivery is settled. Never from a queue that cannot be left without harm."""
        consuming = self._opened()
        if self._is_cancelled or any(queue.is_kept for queue in consuming.queues):
            return False
        if self._left is None:
            self._left = consuming.queues.consumed
            self._reconsider_all(consuming)
        return not self._settled and not any(queue.unsettled for queue in consuming.queues)

    def stay(self) -> None:
        """Consume again."""
        if self._left is not None:
            self._left = None
            self._reconsider_all(self._opened())

    def has_work(self) -> bool:
        """Return whether settlements wait to be written, or a queue has room again."""
        return bool(self._settled or self._returned or (self._consuming is not None and self._consuming.with_room))

    def flush(self) -> None:
        """Write the acknowledgements of what was settled, and put back what is to go back."""
        consuming = self._consuming
        if consuming is None:
            self._returned.clear()  # it goes back with its connection
            while self._settled:
                drop_stale(self._settled.popleft())
            return
        if self._settled and consuming.acknowledge(self._settled, now := time.monotonic()):
            self._active_at = now
            self._has_acknowledged = True
        if self._returned:
            consuming.put_back(self._returned, time.monotonic())

    def has_worked(self) -> bool:
        """Return whether anything was acknowledged on this connection."""
        return self._has_acknowledged

    def next_deadline(self) -> float | None:
        """Return when a missing queue is looked for again."""
        return None if self._consuming is None or self._is_cancelled else self._consuming.missing.next_search

    def expire(self, now: float) -> None:
        """Look for the missing queues that are due."""
        if self._consuming is not None and not self._is_cancelled:
            self._consuming.search(now)

    def on_read(self) -> None:
        """Widen or resume what can be, and hand on what was read."""
        consuming = self._consuming
        if consuming is None:
            return
        consuming.catch_up()
        while consuming.with_room:
            consuming.reconsider(consuming.with_room.pop())
        if consuming.batch:
            batch, consuming.batch = consuming.batch, []
            self._active_at = time.monotonic()
            self._sink.on_deliveries(batch)
            self._delivered += len(batch)  # not before: who has read it would take them for done

    def probe(self) -> None:
        """Ask the broker whether it has a consumer on each queue; it may have lost one without a word.

        On a channel of its own, as answers carry nothing that tells one question from another, and without waiting. The
        answer says how many messages are ready, too, for which a queue that is paused is asked as well: last, as one
        that is gone meanwhile ends the channel. Of the queues that are silent one is consumed anew, which takes an
        answer.
        """
        consuming = self._opened()
        for queue in sorted(consuming.queues, key=lambda queue: queue.tag is None):
            if queue.state != "missing":
                self._ask(consuming, queue, queue.tag)
        consuming.renew_one(time.monotonic())

    def on_leave(self) -> None:
        """Let quorum queues take the last acknowledgements.

        RabbitMQ agrees to close a channel and forgets acknowledgements that a quorum queue has not taken yet: those
        messages are delivered again (its issue 10327). A cancelled consumer counts until everything of it is settled.
        A consumer of somebody else's cannot be told from that, and costs the whole time.
        """
        self._opened().channels.wait_settled((self._active_at or 0.0) + SETTLING_TIME)

    def on_lost(self, error: BaseException | None) -> None:  # noqa: ARG002 - the sink does not ask
        """Forget the channel."""
        self._consuming = self._left = None
        self._backlogs.forget_all()
        self._sink.on_connection_lost()

    def _meet(self, broker: BrokerFacts | None) -> None:
        if broker != self._met.now:
            log_ignored(self._declaration, broker)
        self._met = self._met.meeting(broker)
        self._suspects.connected_to(broker)

    def _ask(self, consuming: Consuming, queue: ConsumedQueue, tag: str | None) -> None:
        def answer(consumers: int, ready: int) -> None:
            if queue.state != "missing":  # since it was asked
                self._backlogs.note(queue.spec.name, ready)
            # A consumer that has been replaced or cancelled since is not missed.
            if not consumers and tag is not None and queue.tag == tag:
                self._missed += 1
                consuming.end(queue, "the broker has lost its consumer")

        consuming.probe.ask(queue.spec.name, answer)

    def _wanted(self, name: str) -> Admission:
        return self._admission(name) if self._left is None else "none"

    def _reconsider_all(self, consuming: Consuming) -> None:
        for queue in () if self._is_cancelled else consuming.queues:
            consuming.reconsider(queue)

    def _opened(self) -> Consuming:
        assert self._consuming is not None, "not open"  # noqa: S101 - the session calls only while it is
        return self._consuming
