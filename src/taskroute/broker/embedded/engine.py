"""Broker: an AMQP 0-9-1 broker that behaves like RabbitMQ, in plain Python, with no network and no client library.

One lock guards all of it. The broker posts events to its connections while it holds the lock, so that the order of
the events is the order of what happened. Nothing that a user wrote runs under the lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.bindings import Binding, Bindings
from taskroute.broker.embedded.channel_state import ChannelState
from taskroute.broker.embedded.clock import Clock, SystemClock
from taskroute.broker.embedded.consumers import Consumers
from taskroute.broker.embedded.dead_lettering import DeadLettering
from taskroute.broker.embedded.engine_events import Closed, Confirmed, Delivered, Event, Returned
from taskroute.broker.embedded.operation import Operation
from taskroute.broker.embedded.publishing import accept
from taskroute.broker.embedded.queue import Depth, QueueCounts
from taskroute.broker.embedded.queue_settings import QueueDeclaration
from taskroute.broker.embedded.queues import Queues
from taskroute.broker.embedded.refusal import ACCESS_REFUSED, CONNECTION_FORCED, Refusal
from taskroute.broker.embedded.rules import NEWEST, Rules
from taskroute.broker.embedded.unused_queues import UnusedQueues
from taskroute.topology.routing import Destination

_NO_ROUTE: Final = 312


class Broker:
    """An embedded broker. Every public method is safe from any thread.

    A method raises `Refusal` where RabbitMQ would close the channel or the connection; the caller must close it.

    Args:
        name: for error texts, and for the thread of the clock.
        clock: what expiry is measured by; default: the machine's time.
        rules: of the version of RabbitMQ that it follows.
    """

    def __init__(self, name: str, clock: Clock | None = None, rules: Rules = NEWEST) -> None:
        self.name = name
        self.rules: Final = rules
        self._clock: Clock = clock or SystemClock(f"taskroute-broker-{name}")
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiters = 0
        self._connections: dict[object, Callable[[Event], None]] = {}
        self._closed = False
        self._operation = Operation(self._lock, self._clock, self._complete)
        # The parts of the model. None is synchronized: call them under the lock alone.
        self._bindings = Bindings(rules)
        self._queues = Queues(self._bindings, self._operation, rules)
        self._unused = UnusedQueues(self._queues, self._operation)
        self._consumers = Consumers(self._queues, self._unused)
        self._dead_lettering = DeadLettering(self._queues, self._clock, self._operation, rules)

    # Connections and channels

    def connect(self, owner: object, post: Callable[[Event], None]) -> None:
        """Accept a connection; `post` is called with the events that concern all of it.

        Raises:
            Refusal: 320, the broker is closed.
        """
        with self._lock:
            if self._closed:
                raise Refusal(CONNECTION_FORCED, f"the embedded broker '{self.name}' is gone")
            self._connections[owner] = post

    def disconnect(self, owner: object) -> None:
        """Forget a connection whose channels are closed, and delete its exclusive queues."""
        with self._operation:
            self._connections.pop(owner, None)
            self._queues.delete_exclusive(owner)

    def close_channels(self, channels: Collection[ChannelState]) -> None:
        """End the consumers of channels, and put their unsettled messages back: they come to none of these again."""
        with self._operation:
            for channel in channels:
                self._consumers.end_all(channel)
            for channel in channels:
                channel.lose(by_tag=self.rules.loses_by_tag)

    def close_connections(self) -> None:
        """Close every connection, as an operator would."""
        with self._lock:
            self._post_closed()

    def close(self) -> None:
        """Close every connection, forget every message, and accept no connection from now on."""
        with self._lock:
            self._closed = True
            self._post_closed()
            self._queues.clear()
            self._bindings.clear()
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
        """Create an exchange, or check that it is as declared; with `passive`, check only that it exists."""
        with self._operation:
            if passive:
                self._bindings.exchange(name)
                return
            self._bindings.declare(
                name, exchange_type, durable=durable, auto_delete=auto_delete, internal=internal, arguments=arguments
            )

    def delete_exchange(self, name: str, *, if_unused: bool) -> None:
        """Delete an exchange. One that does not exist is no error."""
        with self._operation:
            self._bindings.delete(name, if_unused=if_unused)

    def bind(self, channel: ChannelState, binding: Binding) -> None:
        """Bind a queue or an exchange to an exchange. An empty queue name: the queue that the channel declared last."""
        with self._operation:
            named = self._named(channel, binding)
            self._bindings.check_source(named)
            self._check_destination(named)
            self._bindings.check(named)
            self._check_accessible(channel, named)
            self._bindings.bind(named)

    def unbind(self, channel: ChannelState, binding: Binding) -> None:
        """Undo `bind`. A binding that does not exist is no error, and neither is one of what does not exist."""
        with self._operation:
            named = self._named(channel, binding)
            if self._bindings.has(named):
                self._check_accessible(channel, named)
            self._bindings.unbind(named)

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
        """Create a queue, or check that it is as declared; with `passive`, check only that it exists.

        An empty name: the broker makes one up, or with `passive` takes the queue that the channel declared last.
        """
        with self._operation:
            if passive:
                queue = self._queues.accessible(channel, name)
            else:
                declaration = QueueDeclaration(
                    durable=durable, exclusive=exclusive, auto_delete=auto_delete, arguments=arguments
                )
                queue = self._queues.declare(channel, name, declaration)
            channel.last_queue = queue.name
            self._unused.touch(queue)
            return queue.counts

    def delete_queue(self, channel: ChannelState, name: str, *, if_unused: bool, if_empty: bool) -> int:
        """Delete a queue; return how many messages were lost with it. One that does not exist is no error."""
        with self._operation:
            return self._queues.delete(channel, name, if_unused=if_unused, if_empty=if_empty)

    def purge_queue(self, channel: ChannelState, name: str) -> int:
        """Delete the ready messages of a queue; return how many there were."""
        with self._operation:
            return self._queues.accessible(channel, name).purge()

    # Publishing

    def select_confirms(self, channel: ChannelState) -> None:
        """Confirm every later publish on this channel."""
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
        """Route a message to its queues. A return comes before the confirm."""
        with self._operation:
            if channel.confirms:
                channel.published += 1
            self._check_publish(exchange)
            message = accept(exchange, routing_key, body, properties, self.rules)
            queues = self._queues.route(message)
            if mandatory and not queues:
                channel.post(Returned(channel, _NO_ROUTE, "NO_ROUTE", message))
            accepted = True
            for queue in queues:
                accepted = queue.enqueue(message) and accepted
            if channel.confirms:
                channel.post(Confirmed(channel, channel.published, accepted))

    def check_publish(self, exchange: str) -> None:
        """Refuse what `publish` refuses before it looks at the message."""
        with self._lock:
            self._check_publish(exchange)

    # Consuming

    def limit_prefetch(self, channel: ChannelState, count: int) -> None:
        """Set the prefetch of consumers that start later on this channel; 0: unlimited."""
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
        """Start a consumer; return its tag, made up if `tag` is empty."""
        with self._operation:
            return self._consumers.start(channel, queue, tag, no_ack=no_ack, exclusive=exclusive, arguments=arguments)

    def cancel(self, channel: ChannelState, tag: str) -> None:
        """End a consumer. Its deliveries can still be settled."""
        with self._operation:
            self._consumers.end(channel, tag)

    def get(self, channel: ChannelState, queue: str, *, no_ack: bool) -> Delivered | None:
        """Take one message; None when nothing is ready."""
        with self._operation:
            found = self._queues.accessible(channel, queue)
            found.check_get()
            self._unused.touch(found)
            entry = found.pop()
            if entry is None:
                return None
            return channel.deliver(entry, found, None, no_ack=no_ack, remaining=found.ready)

    def acknowledge(self, channel: ChannelState, delivery_tag: int, *, multiple: bool) -> None:
        """Settle a delivery, or with `multiple` all up to it (0: all)."""
        with self._operation:
            channel.settle(channel.tags(delivery_tag, multiple=multiple))

    def reject(self, channel: ChannelState, delivery_tag: int, *, requeue: bool) -> None:
        """Put a delivery back to its place, or dead-letter it."""
        with self._operation:
            tags = channel.tags(delivery_tag, multiple=False)
            if requeue:
                channel.requeue(tags, "reject")
            else:
                channel.reject(tags, "reject")

    def nack(self, channel: ChannelState, delivery_tag: int, *, multiple: bool, requeue: bool) -> None:
        """Put a delivery back to its place or dead-letter it, or with `multiple` all up to it (0: all)."""
        with self._operation:
            tags = channel.tags(delivery_tag, multiple=multiple)
            if requeue:
                channel.requeue(tags, "nack")
            else:
                channel.reject(tags, "nack")

    def recover(self, channel: ChannelState) -> None:
        """Put every unsettled delivery of the channel back to its place."""
        with self._operation:
            channel.requeue(list(channel.unsettled), "recover")

    # Looking, as an operator does

    def depths(self, queues: Iterable[str]) -> dict[str, Depth]:
        """Return what each of `queues` holds; one that does not exist holds nothing."""
        with self._lock:
            return {name: self._depth(name) for name in queues}

    def wait_empty(self, queues: Iterable[str], timeout: float) -> bool:
        """Wait up to `timeout` seconds for `queues` to hold nothing; return whether they do. Never polls."""
        names = tuple(queues)
        with self._changed:
            self._waiters += 1
            try:
                return self._changed.wait_for(lambda: not any(map(self._holds, names)), timeout)
            finally:
                self._waiters -= 1

    def peek(self, queue: str) -> tuple[StoredMessage, ...]:
        """Return the ready messages of a queue, in their order, and leave them there."""
        with self._lock:
            found = self._queues.get(queue)
            return () if found is None else found.peek()

    # What follows runs under the lock.

    def _post_closed(self) -> None:
        for post in self._connections.values():
            post(Closed(None, Refusal(CONNECTION_FORCED, "closed by the broker")))

    def _check_publish(self, exchange: str) -> None:
        if exchange and self._bindings.exchange(exchange).internal:
            raise Refusal(ACCESS_REFUSED, f"cannot publish to internal exchange '{exchange}' in vhost '/'")

    def _named(self, channel: ChannelState, binding: Binding) -> Binding:
        if binding.destination == ("queue", ""):
            return replace(binding, destination=Destination("queue", self._queues.named(channel, "")))
        return binding

    def _check_destination(self, binding: Binding) -> None:
        kind, name = binding.destination
        if kind == "queue":
            self._queues.existing(name)

    def _check_accessible(self, channel: ChannelState, binding: Binding) -> None:
        kind, name = binding.destination
        if kind == "queue":
            self._queues.accessible(channel, name)

    def _depth(self, name: str) -> Depth:
        queue = self._queues.get(name)
        return Depth(0, 0) if queue is None else queue.depth

    def _holds(self, name: str) -> bool:
        queue = self._queues.get(name)
        return queue is not None and not queue.is_empty

    def _complete(self) -> None:
        """End an operation: dead-letter what its queues have discarded, and wake the threads in `wait_empty`."""
        discarded = self._operation.discarded
        while discarded:
            self._dead_lettering.place(*discarded.popleft())
        if self._waiters:
            self._changed.notify_all()
