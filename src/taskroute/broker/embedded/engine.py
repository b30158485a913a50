"""Broker: an AMQP 0-9-1 broker as RabbitMQ behaves, in plain Python, with no network and no client library.

One lock guards it all. What it has to tell a connection goes to that connection's `post` while the lock is held, so
that the order of events is the order of what happened; nothing a user wrote ever runs under the lock.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.bindings import Binding, Bindings
from taskroute.broker.embedded.channel_state import ChannelConsumer, ChannelState
from taskroute.broker.embedded.clock import Clock, SystemClock
from taskroute.broker.embedded.dead_letter import Reason, dead_letter, is_cycle
from taskroute.broker.embedded.engine_events import Closed, Confirmed, Delivered, Event, Returned
from taskroute.broker.embedded.queue import Queue
from taskroute.broker.embedded.queue_settings import QueueSettings
from taskroute.broker.embedded.refusal import (
    ACCESS_REFUSED,
    CONNECTION_FORCED,
    NOT_ALLOWED,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    PRECONDITION_FAILED,
    RESOURCE_LOCKED,
    Refusal,
)
from taskroute.topology.routing import Destination, all_routing_keys

USER: Final = "guest"
"""Whom connections are; a message that says another `user_id` is refused."""

PARKED_RETRY: Final = 1.0
"""Seconds between attempts to place an at-least-once dead letter whose target is full or missing."""

_NO_ROUTE: Final = 312


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The answer to a queue declaration."""

    name: str
    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class Depth:
    """What a queue holds: messages that are ready, or parked for their target, and those delivered and not settled."""

    ready: int
    unsettled: int


class Broker:
    """An embedded broker. Every public method is safe from any thread.

    Methods raise `Refusal` where RabbitMQ would close the channel or the connection; the caller closes it.

    Args:
        name: for people.
        clock: time, for expiry; left out, the machine's.
    """

    def __init__(self, name: str, clock: Clock | None = None) -> None:
        self.name = name
        self._clock: Clock = clock or SystemClock(f"taskroute-broker-{name}")
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiters = 0
        self._operation = _Operation(self._lock, self.complete)
        self._bindings = Bindings()
        self._queues: dict[str, Queue] = {}
        self._connections: dict[object, Callable[[Event], None]] = {}
        self._dead: deque[tuple[Queue, StoredMessage, Reason]] = deque()
        self._parked: list[_Parked] = []
        self._numbers = itertools.count(1)
        self._idle_since: dict[str, float] = {}
        self._closed = False

    # Connections and channels

    def connect(self, owner: object, post: Callable[[Event], None]) -> None:
        """Take a connection; `post` gets what concerns it as a whole.

        Raises:
            Refusal: 320, the broker has been closed.
        """
        with self._lock:
            if self._closed:
                raise Refusal(CONNECTION_FORCED, f"the embedded broker '{self.name}' is gone")
            self._connections[owner] = post

    def disconnect(self, owner: object) -> None:
        """Forget a connection, whose channels are closed, and delete its exclusive queues."""
        with self._operation:
            self._connections.pop(owner, None)
            for queue in [queue for queue in self._queues.values() if queue.owner is owner]:
                self._delete_queue(queue)

    def close_channel(self, channel: ChannelState) -> None:
        """End its consumers and put back, in their places, the messages it has not settled."""
        with self._operation:
            for consumer in tuple(channel.consumers.values()):
                self._remove_consumer(consumer, deal=False)
            channel.requeue(list(channel.unsettled))

    def close_connections(self) -> None:
        """Have every connection told that it is closed, as an operator would."""
        with self._lock:
            for post in self._connections.values():
                post(Closed(None, Refusal(CONNECTION_FORCED, "closed by the broker")))

    def close(self) -> None:
        """End: close every connection, forget every message, accept nothing more."""
        self.close_connections()
        with self._lock:
            self._closed = True
            for queue in self._queues.values():
                queue.deleted = True
            self._queues.clear()
            self._parked.clear()
            self._bindings = Bindings()
            self._changed.notify_all()
        self._clock.close()

    # Exchanges and bindings

    def declare_exchange(
        self,
        name: str,
        exchange_type: str,
        *,
        passive: bool,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Mapping[str, object],
    ) -> None:
        """Create an exchange, or check it; `passive`: only that it exists."""
        with self._operation:
            if passive:
                self._bindings.exchange(name)
                return
            self._bindings.declare(
                name, exchange_type, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
            )

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """Delete an exchange; one that is not there is no error."""
        with self._operation:
            self._bindings.delete(name, if_unused=if_unused)

    def bind_exchange(self, destination: str, source: str, key: str, arguments: Mapping[str, object]) -> None:
        """Bind an exchange to an exchange."""
        with self._operation:
            self._bindings.bind(Binding.of(source, Destination("exchange", destination), key, arguments))

    def unbind_exchange(self, destination: str, source: str, key: str, arguments: Mapping[str, object]) -> None:
        """Undo `bind_exchange`."""
        with self._operation:
            self._bindings.unbind(Binding.of(source, Destination("exchange", destination), key, arguments))

    def bind_queue(
        self, channel: ChannelState, queue: str, source: str, key: str, arguments: Mapping[str, object]
    ) -> None:
        """Bind a queue to an exchange."""
        with self._operation:
            name = self._accessible(channel, queue).name
            self._bindings.bind(Binding.of(source, Destination("queue", name), key, arguments))

    def unbind_queue(
        self, channel: ChannelState, queue: str, source: str, key: str, arguments: Mapping[str, object]
    ) -> None:
        """Undo `bind_queue`."""
        with self._operation:
            name = self._accessible(channel, queue).name
            self._bindings.unbind(Binding.of(source, Destination("queue", name), key, arguments))

    # Queues

    def declare_queue(
        self,
        channel: ChannelState,
        name: str,
        *,
        passive: bool,
        durable: bool,
        exclusive: bool,
        auto_delete: bool,
        arguments: Mapping[str, object],
    ) -> QueueCounts:
        """Create a queue, or check it; `passive`: only that it exists. No name: the broker makes one up."""
        with self._operation:
            if passive:
                queue = self._accessible(channel, name)
            else:
                settings = QueueSettings.of(
                    name, durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments
                )
                queue = self._declare_queue(channel, name, settings)
            channel.last_queue = queue.name
            self._touch(queue)
            return QueueCounts(queue.name, queue.ready, len(queue.consumers))

    def delete_queue(self, channel: ChannelState, name: str, *, if_unused: bool, if_empty: bool) -> int:
        """Delete a queue; return how many messages were lost with it. One that is not there is no error."""
        with self._operation:
            queue = self._queues.get(name or channel.last_queue)
            if queue is None:
                return 0
            self._check_owner(channel, queue)
            if if_unused and queue.consumers:
                raise Refusal(PRECONDITION_FAILED, f"queue '{name}' in vhost '/' in use")
            if if_empty and queue.ready:
                raise Refusal(PRECONDITION_FAILED, f"queue '{name}' in vhost '/' not empty")
            return self._delete_queue(queue)

    def purge_queue(self, channel: ChannelState, name: str) -> int:
        """Forget what is ready in a queue; return how many messages that was."""
        with self._operation:
            return self._accessible(channel, name).purge()

    # Publishing

    def select_confirms(self, channel: ChannelState) -> None:
        """Have every later publish on this channel confirmed."""
        with self._lock:
            channel.confirms = True

    def publish(
        self,
        channel: ChannelState,
        *,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: Mapping[str, object],
        mandatory: bool,
    ) -> None:
        """Route a message and hand it to its queues. A return comes before the confirm."""
        with self._operation:
            if channel.confirms:
                channel.published += 1
            message = self._accepted(exchange, routing_key, body, properties)
            queues = self._route(message)
            if mandatory and not queues:
                channel.post(Returned(channel, _NO_ROUTE, "NO_ROUTE", message))
            accepted = True
            for queue in queues:
                accepted = queue.enqueue(message) and accepted
            if channel.confirms:
                channel.post(Confirmed(channel, channel.published, accepted))

    # Consuming

    def limit_prefetch(self, channel: ChannelState, count: int) -> None:
        """Set the prefetch of consumers to come on this channel; 0: unlimited."""
        with self._lock:
            channel.prefetch = count

    def consume(
        self,
        channel: ChannelState,
        queue: str,
        tag: str,
        *,
        no_ack: bool,
        exclusive: bool,
        arguments: Mapping[str, object],
    ) -> str:
        """Start a consumer; return its tag."""
        with self._operation:
            if "x-priority" in arguments:
                raise Refusal(NOT_IMPLEMENTED, "the embedded broker has no consumer priorities (x-priority)")
            tag = tag or f"amq.ctag-{next(self._numbers)}"
            if tag in channel.consumers:
                raise Refusal(NOT_ALLOWED, f"attempt to reuse consumer tag '{tag}'")
            found = self._accessible(channel, queue)
            if (exclusive and found.consumers) or any(other.exclusive for other in found.consumers):
                raise Refusal(ACCESS_REFUSED, f"queue '{found.name}' in vhost '/' in exclusive use")
            consumer = ChannelConsumer(tag, found, channel, no_ack=no_ack, exclusive=exclusive)
            channel.consumers[tag] = consumer
            found.consumers.append(consumer)
            self._idle_since.pop(found.name, None)
            found.deal()
            return tag

    def cancel(self, channel: ChannelState, tag: str) -> None:
        """End a consumer. What it was given can still be settled."""
        with self._operation:
            consumer = channel.consumers.get(tag)
            if consumer is not None:
                self._remove_consumer(consumer)

    def get(self, channel: ChannelState, queue: str, *, no_ack: bool) -> Delivered | None:
        """Take one message, None when nothing is ready."""
        with self._operation:
            found = self._accessible(channel, queue)
            self._touch(found)
            entry = found.pop()
            if entry is None:
                return None
            return channel.deliver(entry, found, None, no_ack=no_ack, remaining=found.ready)

    def acknowledge(self, channel: ChannelState, delivery_tag: int, *, multiple: bool) -> None:
        """Forget a delivery, or with `multiple` all up to it (0: all)."""
        with self._operation:
            channel.settle(channel.tags(delivery_tag, multiple=multiple))

    def reject(self, channel: ChannelState, delivery_tag: int, *, requeue: bool) -> None:
        """Put a delivery back to its place, or have it dead-lettered."""
        with self._operation:
            tags = channel.tags(delivery_tag, multiple=False)
            if requeue:
                channel.requeue(tags)
            else:
                channel.reject(tags)

    def recover(self, channel: ChannelState) -> None:
        """Put back every delivery that the channel has not settled."""
        with self._operation:
            channel.requeue(list(channel.unsettled))

    # Looking, as an operator does

    def depths(self, queues: Iterable[str]) -> dict[str, Depth]:
        """Return what each of `queues` holds; one that is not there holds nothing."""
        with self._lock:
            return {name: self._depth(name) for name in queues}

    def wait_empty(self, queues: Iterable[str], timeout: float) -> bool:
        """Wait until `queues` hold nothing, `timeout` seconds at most; whether that came to pass. Never polls."""
        names = tuple(queues)
        with self._changed:
            self._waiters += 1
            try:
                return self._changed.wait_for(lambda: not any(map(self._holds, names)), timeout)
            finally:
                self._waiters -= 1

    def peek(self, queue: str) -> tuple[StoredMessage, ...]:
        """Return the messages that are ready in a queue, in their order, and leave them there."""
        with self._lock:
            found = self._queues.get(queue)
            return () if found is None else found.peek()

    # What follows runs under the lock.

    def _depth(self, name: str) -> Depth:
        queue = self._queues.get(name)
        return Depth(0, 0) if queue is None else Depth(queue.ready + queue.parked, queue.unsettled)

    def _holds(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and bool(queue.ready or queue.parked or queue.unsettled)

    def now(self) -> float:
        """For queues: seconds, monotonic."""
        return self._clock.now()

    def call_at(self, moment: float, call: Callable[[], None]) -> None:
        """For queues: have `call` run at `moment` as an operation of its own."""

        def operate() -> None:
            with self._operation:
                call()

        self._clock.call_at(moment, operate)

    def bury(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        """For queues: note a message that leaves `queue` dead."""
        self._dead.append((queue, message, reason))

    def complete(self) -> None:
        """For operations: place every message that was buried, and tell who waits for a change."""
        while self._dead:
            self._dead_letter(*self._dead.popleft())
        if self._waiters:
            self._changed.notify_all()

    def _accepted(
        self, exchange: str, routing_key: str, body: bytes, properties: Mapping[str, object]
    ) -> StoredMessage:
        if exchange and self._bindings.exchange(exchange).internal:
            raise Refusal(ACCESS_REFUSED, f"cannot publish to internal exchange '{exchange}' in vhost '/'")
        user, expiration = properties.get("user_id", USER), properties.get("expiration")
        if user != USER:
            raise Refusal(PRECONDITION_FAILED, f"user_id property set to '{user}' but authenticated user was '{USER}'")
        if expiration is not None and not (str(expiration).isascii() and str(expiration).isdigit()):
            raise Refusal(PRECONDITION_FAILED, f"invalid expiration '{expiration}'")
        headers = properties.get("application_headers")
        copy_keys: tuple[str, ...] = ()
        if headers and isinstance(headers, dict):
            try:
                copy_keys = all_routing_keys(routing_key, headers)[1:]
            except ValueError as error:
                raise Refusal(PRECONDITION_FAILED, str(error)) from None
            if "BCC" in headers:
                visible = {name: value for name, value in headers.items() if name != "BCC"}
                properties = {**properties, "application_headers": visible}
        return StoredMessage(exchange, routing_key, body, properties, copy_keys)

    def _route(self, message: StoredMessage) -> list[Queue]:
        if message.exchange:
            names = self._bindings.queues(message.exchange, message.routing_keys, message.headers)
        else:
            names = set(message.routing_keys)
        return [self._queues[name] for name in names if name in self._queues]

    def _accessible(self, channel: ChannelState, name: str) -> Queue:
        name = name or channel.last_queue
        queue = self._queues.get(name)
        if queue is None:
            raise Refusal(NOT_FOUND, f"no queue '{name}' in vhost '/'")
        self._check_owner(channel, queue)
        return queue

    def _check_owner(self, channel: ChannelState, queue: Queue) -> None:
        if queue.owner is not None and queue.owner is not channel.owner:
            raise Refusal(
                RESOURCE_LOCKED,
                f"cannot obtain exclusive access to locked queue '{queue.name}' in vhost '/': "
                f"it belongs to another connection",
            )

    def _declare_queue(self, channel: ChannelState, name: str, settings: QueueSettings) -> Queue:
        if name.startswith("amq."):
            raise Refusal(ACCESS_REFUSED, f"queue name '{name}' contains reserved prefix 'amq.*'")
        name = name or f"amq.gen-{next(self._numbers)}"
        queue = self._queues.get(name)
        if queue is None:
            owner = channel.owner if settings.exclusive else None
            queue = self._queues[name] = Queue(name, settings, owner, self)
            return queue
        self._check_owner(channel, queue)
        if difference := queue.settings.difference(settings):
            field, current, received = difference
            raise Refusal(
                PRECONDITION_FAILED,
                f"inequivalent arg '{field}' for queue '{name}' in vhost '/': "
                f"received '{received}' but current is '{current}'",
            )
        return queue

    def _delete_queue(self, queue: Queue) -> int:
        del self._queues[queue.name]
        self._idle_since.pop(queue.name, None)
        self._bindings.forget(Destination("queue", queue.name))
        self._parked = [parked for parked in self._parked if parked.queue is not queue]
        return queue.delete()

    def _remove_consumer(self, consumer: ChannelConsumer, *, deal: bool = True) -> None:
        consumer.channel.consumers.pop(consumer.tag, None)
        queue = consumer.queue
        queue.consumers.remove(consumer)
        if queue.consumers:
            if deal:
                queue.deal()
        elif queue.settings.auto_delete:
            self._delete_queue(queue)
        else:
            self._touch(queue)

    def _dead_letter(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        settings = queue.settings
        if settings.dead_letter_exchange is None or queue.deleted:
            return
        letter = dead_letter(
            message,
            queue=queue.name,
            reason=reason,
            at=self._clock.wall(),
            exchange=settings.dead_letter_exchange,
            routing_key=settings.dead_letter_routing_key,
        )
        parked = _Parked(queue, letter)
        if not self._place(parked) and settings.is_at_least_once:
            queue.parked += 1
            queue.parked_bytes += len(letter.body)
            self._parked.append(parked)
            if len(self._parked) == 1:
                self.call_at(self.now() + PARKED_RETRY, self._retry_parked)

    def _place(self, parked: _Parked) -> bool:
        """Hand a dead letter to the queues it goes to; False while one of them rejects it, or there is none."""
        letter = parked.letter
        reachable = self._route(letter) if not letter.exchange or letter.exchange in self._bindings else []
        targets = [
            target for target in reachable if target.name not in parked.taken_by and not is_cycle(letter, target.name)
        ]
        rejecting = False
        for target in targets:
            if target.enqueue(letter):
                parked.taken_by.add(target.name)
            else:
                rejecting = True
        return bool(parked.taken_by or len(targets) < len(reachable)) and not rejecting

    def _retry_parked(self) -> None:
        waiting, self._parked = self._parked, []
        for parked in waiting:
            if self._place(parked):
                parked.queue.parked -= 1
                parked.queue.parked_bytes -= len(parked.letter.body)
            else:
                self._parked.append(parked)
        if self._parked and not self._closed:
            self.call_at(self.now() + PARKED_RETRY, self._retry_parked)

    def _touch(self, queue: Queue) -> None:
        """Start, or start again, the time after which an unused queue is deleted."""
        if queue.settings.expires is None or queue.consumers:
            return
        is_armed = queue.name in self._idle_since
        self._idle_since[queue.name] = self.now()
        if not is_armed:
            self.call_at(self.now() + queue.settings.expires, lambda: self._delete_unused(queue))

    def _delete_unused(self, queue: Queue) -> None:
        idle_since = self._idle_since.get(queue.name)
        if idle_since is None or queue.deleted or queue.settings.expires is None:
            return
        due = idle_since + queue.settings.expires
        if self.now() >= due:
            self._delete_queue(queue)
        else:
            self.call_at(due, lambda: self._delete_unused(queue))


class _Operation:
    """Holds the lock; what died meanwhile is placed before it is released."""

    __slots__ = ("_complete", "_lock")

    def __init__(self, lock: threading.Lock, complete: Callable[[], None]) -> None:
        self._lock = lock
        self._complete = complete

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        try:
            self._complete()
        finally:
            self._lock.release()


class _Parked:
    """An at-least-once dead letter that could not be placed everywhere yet."""

    __slots__ = ("letter", "queue", "taken_by")

    def __init__(self, queue: Queue, letter: StoredMessage) -> None:
        self.queue = queue
        self.letter = letter
        self.taken_by: set[str] = set()
