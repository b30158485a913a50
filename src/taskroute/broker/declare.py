"""Declaring: specs to broker entities. A mismatch names the entity and the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import amqp.exceptions

from taskroute.broker.amqp import Channel, Connection
from taskroute.errors import ConfigurationError, TopologyMismatchError, UnsupportedFeatureError
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

DeclareMode = Literal["create", "verify", "skip"]

_INEQUIVALENT = re.compile(r"inequivalent arg '([^']+)'")
_EXPLANATIONS = {
    403: "this user may not do that; grant the right, or use declare='verify' for what others create",
    404: "the broker does not have it; create it first, or use declare='create'",
    405: "another connection holds it exclusively",
}


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

        Raises:
            TopologyMismatchError: the broker has something else, lacks it, or does not let us.
            UnsupportedFeatureError: the broker cannot do what a spec asks for.
        """
        if self.mode == "skip":
            return
        queues = [queue for queue in self.topology.all_queues if not queue.exclusive or queue.name in self.exclusive]
        for exchange in self.topology.exchanges:
            with _naming("exchange", exchange.name):
                _declare_exchange(channel, exchange, passive=exchange.passive or self.mode == "verify")
        for queue in queues:
            # An exclusive queue is this connection's own, so nobody else can have created it.
            is_foreign = queue.passive or (self.mode == "verify" and not queue.exclusive)
            with _naming("queue", queue.name):
                _declare_queue(channel, queue, passive=is_foreign)
        if self.mode == "create":
            _bind(channel, self.topology.exchanges, queues)

    def queue_on(self, channel: Channel, name: str) -> None:
        """Declare one queue again, with its bindings, if it is ours to create. Called by the session's thread.

        Raises:
            TopologyMismatchError, UnsupportedFeatureError: as `on`.
        """
        queue = next((queue for queue in self.topology.all_queues if queue.name == name), None)
        if queue is None or queue.passive or self.mode != "create":
            return
        with _naming("queue", name):
            _declare_queue(channel, queue, passive=False)
        _bind(channel, (), [queue])


def count_messages(channel: Channel, queue: str) -> int:
    """Return the number of messages ready in a queue. Called by the session's thread."""
    return channel.queue_declare(queue, passive=True).message_count


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


def _bind(channel: Channel, exchanges: Iterable[ExchangeSpec], queues: Iterable[QueueSpec]) -> None:
    for exchange in exchanges:
        for binding in exchange.bindings:
            with _naming("exchange", exchange.name, binding):
                channel.exchange_bind(
                    exchange.name, binding.exchange, binding.binding_key, arguments=dict(binding.arguments)
                )
    for queue in queues:
        for binding in () if queue.passive else queue.bindings:
            with _naming("queue", queue.name, binding):
                channel.queue_bind(queue.name, binding.exchange, binding.binding_key, arguments=dict(binding.arguments))


@contextmanager
def _naming(kind: str, name: str, binding: BindingSpec | None = None) -> Iterator[None]:
    """Turn the broker's refusal into an error that names the entity and, where the broker says it, the field."""
    subject = f"{kind} {name!r}"
    if binding is not None:
        subject += f", binding {binding.binding_key!r} from exchange {binding.exchange!r}"
    try:
        yield
    except amqp.exceptions.AMQPNotImplementedError as error:
        raise UnsupportedFeatureError(f"{subject}: {error.reply_text}") from None
    except (amqp.exceptions.ChannelError, amqp.exceptions.AccessRefused, amqp.exceptions.NotAllowed) as error:
        raise TopologyMismatchError(f"{subject}: {_explain(error)}") from None


def _explain(error: Any) -> str:
    text = str(error.reply_text or error)
    field = _INEQUIVALENT.search(text)
    if field:
        return f"the broker has it with another {field[1]}: {text}; change the spec, or delete it on the broker"
    explanation = _EXPLANATIONS.get(error.reply_code)
    return f"{explanation} ({text})" if explanation else text
