"""Declaring: specs to broker entities. A mismatch names the entity and the field.

What the broker answers about one queue is that queue's affair (`endings`), unless it has closed the connection.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import amqp.exceptions

from taskroute.broker.amqp import Channel, Connection
from taskroute.broker.endings import ending_of
from taskroute.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    TopologyMismatchError,
    UnsupportedFeatureError,
)
from taskroute.foreign import Log
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

log = Log("taskroute.broker")

DeclareMode = Literal["create", "verify", "skip"]

_INEQUIVALENT = re.compile(r"inequivalent arg '([^']+)'")
_EXPLANATIONS = {
    403: "this user may not do that; grant the right, or use declare='verify' for what others create",
    404: "the broker does not have it; create it first, or use declare='create'",
    405: "another connection holds it exclusively",
    541: "the broker does not permit it; declare the queue durable, or exclusive",
}


class QueueUnavailableError(BrokerUnavailableError):
    """One queue cannot be had now, while its broker can: it is waited for."""


def checked_mode(mode: DeclareMode) -> DeclareMode:
    """Return `mode` if it is a `DeclareMode`.

    Raises:
        ConfigurationError: it is not.
    """
    if mode not in get_args(DeclareMode):
        raise ConfigurationError(f"declare={mode!r} is not one of {', '.join(get_args(DeclareMode))}")
    return mode


@dataclass(frozen=True, slots=True)
class Declaration:
    """What must be on the broker before a connection is used.

    `mode`: ``create``; ``verify`` existence only; ``skip``. `exclusive`: the exclusive queues that belong to this
    connection; others are left to theirs.
    """

    topology: Topology
    mode: DeclareMode
    exclusive: frozenset[str] = frozenset()

    def on(self, channel: Channel) -> None:
        """Declare it, or verify that the broker has it. Called by the session's thread.

        What cannot be had now is left out, and logged.

        Raises:
            TopologyMismatchError: the broker has something else, lacks it, or does not let us.
            UnsupportedFeatureError: the broker cannot do what a spec asks for.
        """
        self.exchanges_on(channel)
        for queue in self.queues:
            self.helper_on(channel, queue)

    @property
    def queues(self) -> list[QueueSpec]:
        """The queues to declare, helper queues included."""
        return [queue for queue in self.topology.all_queues if not queue.exclusive or queue.name in self.exclusive]

    def exchanges_on(self, channel: Channel) -> None:
        """Declare the exchanges and what binds them to each other, or verify them.

        Raises:
            TopologyMismatchError, UnsupportedFeatureError: as `on`.
        """
        if self.mode == "skip":
            return
        for exchange in self.topology.exchanges:
            with naming(f"exchange {exchange.name!r}"):
                _declare_exchange(channel, exchange, passive=exchange.passive or self.mode == "verify")
        if self.mode == "create":
            for exchange in self.topology.exchanges:
                for binding in exchange.bindings:
                    with naming(f"exchange {exchange.name!r}", binding):
                        channel.exchange_bind(
                            exchange.name, binding.exchange, binding.binding_key, arguments=dict(binding.arguments)
                        )

    def queue_on(self, channel: Channel, queue: QueueSpec) -> None:
        """Declare one queue and its bindings, or verify it.

        Raises:
            QueueUnavailableError: it cannot be had now.
            TopologyMismatchError, UnsupportedFeatureError: as `on`.
        """
        if self.mode == "skip":
            return
        # An exclusive queue is this connection's own, so nobody else can have created it.
        is_foreign = queue.passive or (self.mode == "verify" and not queue.exclusive)
        with naming(f"queue {queue.name!r}"):
            _declare_queue(channel, queue, passive=is_foreign)
        if self.mode == "create" and not queue.passive:
            for binding in queue.bindings:
                with naming(f"queue {queue.name!r}", binding):
                    channel.queue_bind(
                        queue.name, binding.exchange, binding.binding_key, arguments=dict(binding.arguments)
                    )

    def helper_on(self, channel: Channel, queue: QueueSpec) -> None:
        """Declare one queue as `queue_on` does, and go on without it where it cannot be had now."""
        try:
            self.queue_on(channel, queue)
        except QueueUnavailableError as error:
            log.warning("queue_unavailable queue=%s error=%s", queue.name, error)

    def helpers_of(self, queue: QueueSpec) -> list[QueueSpec]:
        """Return the queues that serve another one: its wait queues, and its dead-letter queue."""
        names = {helper.name for helper in queue.helper_queues()} | {queue.dead_letter_queue}
        return [other for other in self.queues if other.name in names]


def count_messages(channel: Channel, queue: str) -> int:
    """Return the number of messages ready in a queue. Called by the session's thread."""
    return channel.queue_declare(queue, passive=True).message_count


def shows_life(channel: Channel, queue: str) -> bool:
    """Return whether a queue has messages or consumers, or is gone: one without a leader seems to be there and empty.

    Raises:
        BrokerError: it cannot be had.
    """
    try:
        with naming(f"queue {queue!r}"):
            counts = channel.queue_declare(queue, passive=True)
    except TopologyMismatchError:
        return True
    return bool(counts.message_count or counts.consumer_count)


def count_consumers(channel: Channel, queue: str) -> int:
    """Return the number of consumers of a queue. Called by the session's thread."""
    return channel.queue_declare(queue, passive=True).consumer_count


def count_each(connection: Connection, queues: Iterable[str]) -> dict[str, int]:
    """Return the messages ready in each queue that the broker has, and lets us see. Called by the session's thread.

    On a channel of its own, which the broker closes over a queue that it does not have, and the client opens again.
    """
    counts = {}
    channel = connection.channel()
    for queue in queues:
        with suppress(amqp.exceptions.NotFound, amqp.exceptions.ResourceLocked):
            counts[queue] = count_messages(channel, queue)
    channel.close()
    return counts


def _declare_exchange(channel: Channel, exchange: ExchangeSpec, *, passive: bool) -> None:
    channel.exchange_declare(
        exchange.name,
        exchange.type,
        passive=passive,
        durable=exchange.durable,
        auto_delete=exchange.auto_delete,
        arguments=dict(exchange.broker_arguments),
        internal=exchange.internal,
    )


def _declare_queue(channel: Channel, queue: QueueSpec, *, passive: bool) -> None:
    channel.queue_declare(
        queue.name,
        passive=passive,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=dict(queue.broker_arguments),
    )


@contextmanager
def naming(subject: str, binding: BindingSpec | None = None) -> Iterator[None]:
    """Turn the broker's refusal into an error that names the entity and, where the broker says it, the field."""
    if binding is not None:
        subject += f", binding {binding.binding_key!r} from exchange {binding.exchange!r}"
    try:
        yield
    except amqp.AMQPError as error:
        named = _named(subject, error)
        if named is None:
            raise
        raise named from error


def closes_connection(error: BrokerError) -> bool:
    """Return whether the broker has closed the connection, and not only the channel, with an answer."""
    return isinstance(error.__cause__, amqp.exceptions.ConnectionError)


def _named(subject: str, error: Any) -> BrokerError | None:
    """Return what is told of an answer of the broker, None if it says nothing about what was asked for."""
    ending = ending_of(error.reply_code, str(error.reply_text))
    if ending is None:
        return None
    if ending == "unavailable":
        text = f"{subject}: {error.reply_text}"
        # A connection that was closed over it is made anew; there is nothing to go on with.
        return QueueUnavailableError(text) if isinstance(error, amqp.exceptions.ChannelError) else None
    if isinstance(error, amqp.exceptions.AMQPNotImplementedError):
        return UnsupportedFeatureError(f"{subject}: {error.reply_text}")
    return TopologyMismatchError(f"{subject}: {_explain(error)}")


def _explain(error: Any) -> str:
    text = str(error.reply_text or error)
    field = _INEQUIVALENT.search(text)
    if field:
        return f"the broker has it with another {field[1]}: {text}; change the spec, or delete it on the broker"
    explanation = _EXPLANATIONS.get(error.reply_code)
    return f"{explanation} ({text})" if explanation else text
