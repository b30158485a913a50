"""Beside: what AsyncAPI and its bindings for AMQP have no place for, in fields named `x-taskroute`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from taskroute.graph.asyncapi.channels import Channel, ExchangeChannel, Operation, Sends
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy
from taskroute.topology.topology import Topology

FIELD: Final = "x-taskroute"


def beside_topology(topology: Topology) -> dict[str, Any]:
    """Return every exchange and queue as it is declared, wait and dead-letter queues included."""
    return {
        "exchanges": {each.name: _exchange(each) for each in sorted(topology.exchanges, key=str)},
        "queues": {each.name: _queue(each) for each in sorted(topology.all_queues, key=str)},
    }


def beside_channel(channel: Channel) -> dict[str, Any]:
    """Return the keys of a channel as the library and as the broker write them."""
    if isinstance(channel, ExchangeChannel):
        return {"pattern": str(channel.pattern), "binding_key": channel.pattern.binding_key}
    return {"queue": channel.queue}


def beside_operation(operation: Operation) -> dict[str, Any]:
    """Return which handler of which queue takes the messages, or how the event is published."""
    if isinstance(operation, Sends):
        return {"event": str(operation.event.pattern), "mandatory": True}
    handler = operation.handler
    fields: dict[str, Any] = {
        "handler": handler.name,
        "queue": operation.queue,
        "pattern": None if handler.is_fallback else str(handler.pattern),
        "fallback": handler.is_fallback,
    }
    if handler.timeout is not None:
        fields["timeout"] = handler.timeout
    if handler.retry is not None:
        fields["retry_delays"] = _delays(handler.retry or None)
    return fields


def _exchange(exchange: ExchangeSpec) -> dict[str, Any]:
    return {
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "passive": exchange.passive,
        "arguments": dict(sorted(exchange.broker_arguments.items())),
        "bindings": _bindings(exchange.bindings),
    }


def _queue(queue: QueueSpec) -> dict[str, Any]:
    return {
        "type": queue.queue_type,
        "durable": queue.durable,
        "exclusive": queue.exclusive,
        "auto_delete": queue.auto_delete,
        "passive": queue.passive,
        "arguments": dict(sorted(queue.broker_arguments.items())),
        "bindings": _bindings(queue.bindings),
        "retry_delays": _delays(queue.retry_policy),
        "dead_letter_queue": queue.dead_letter_queue,
    }


def _bindings(bindings: Iterable[BindingSpec]) -> list[dict[str, Any]]:
    return [
        {
            "exchange": each.exchange,
            "binding_key": each.binding_key,
            "arguments": dict(sorted(each.arguments.items())),
        }
        for each in sorted(bindings, key=lambda each: (each.exchange, each.binding_key, repr(sorted(each.arguments))))
    ]


def _delays(policy: RetryPolicy | None) -> list[float]:
    """Return the seconds before each further attempt."""
    return [delay.total_seconds() for delay in policy.delays] if policy else []
