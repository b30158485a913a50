"""Declaring: specs to broker entities. A mismatch names the entity and the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, get_args

import amqp.exceptions

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
    """Return `mode`, if it is one.

    Raises:
        ConfigurationError: it is none.
    """
    if mode not in get_args(DeclareMode):
        raise ConfigurationError(f"declare={mode!r} is not one of {', '.join(get_args(DeclareMode))}")
    return mode


def declare(channel: Any, topology: Topology, mode: DeclareMode, *, exclusive: Iterable[str] = ()) -> None:
    """Declare a topology, or verify that the broker has it. Called by the session's thread.

    Args:
        channel: of the connection that asks.
        topology: what to declare.
        mode: ``create``; ``verify`` existence only; ``skip``.
        exclusive: the exclusive queues that belong to this connection; others are left to theirs.

    Raises:
        TopologyMismatchError: the broker has something else, lacks it, or does not let us.
        UnsupportedFeatureError: the broker cannot do what a spec asks for.
    """
    if mode == "skip":
        return
    own = set(exclusive)
    queues = [queue for queue in topology.all_queues if not queue.exclusive or queue.name in own]
    for exchange in topology.exchanges:
        with _naming("exchange", exchange.name):
            _declare_exchange(channel, exchange, passive=exchange.passive or mode == "verify")
    for queue in queues:
        # An exclusive queue is this connection's own, so that nobody else can have created it for us.
        with _naming("queue", queue.name):
            _declare_queue(channel, queue, passive=queue.passive or (mode == "verify" and not queue.exclusive))
    if mode == "create":
        _bind(channel, topology.exchanges, queues)


def count_messages(channel: Any, queue: str) -> int:
    """Messages ready in a queue. Called by the session's thread."""
    count: int = channel.queue_declare(queue, passive=True).message_count
    return count


def count_consumers(channel: Any, queue: str) -> int:
    """Consumers of a queue. Called by the session's thread."""
    count: int = channel.queue_declare(queue, passive=True).consumer_count
    return count


def count_each(connection: Any, queues: Iterable[str]) -> dict[str, int]:
    """Messages ready in each of the queues that the broker has, and lets us see. Called by the session's thread.

    On a channel of its own, which the broker closes over a queue that it does not have, and the client opens again.
    """
    counts = {}
    channel = connection.channel()
    for queue in queues:
        with suppress(amqp.exceptions.NotFound, amqp.exceptions.ResourceLocked):
            counts[queue] = count_messages(channel, queue)
    channel.close()
    return counts


def _declare_exchange(channel: Any, exchange: ExchangeSpec, *, passive: bool) -> None:
    channel.exchange_declare(
        exchange.name,
        exchange.type,
        passive=passive,
        durable=exchange.durable,
        auto_delete=exchange.auto_delete,
        arguments=dict(exchange.broker_arguments),
        internal=exchange.internal,
    )


def _declare_queue(channel: Any, queue: QueueSpec, *, passive: bool) -> None:
    channel.queue_declare(
        queue.name,
        passive=passive,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=dict(queue.broker_arguments),
    )


def _bind(channel: Any, exchanges: Iterable[ExchangeSpec], queues: Iterable[QueueSpec]) -> None:
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
