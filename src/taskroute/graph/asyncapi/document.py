"""Document: a topology and its handlers as AsyncAPI 3.0.0. Pure.

It describes the application that runs the handlers and publishes the events. What AsyncAPI has no place for stands
beside it, in fields named `x-taskroute`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from taskroute.graph.asyncapi import amqp
from taskroute.graph.asyncapi.address import Address, address_of, address_of_key
from taskroute.graph.asyncapi.channels import Channel, Operation, QueueChannel, Sends, receives_of, sends_of
from taskroute.graph.asyncapi.identifiers import Naming, identifiers
from taskroute.handlers.handler import Handler
from taskroute.message.content import JSON
from taskroute.topology.topology import Topology

BESIDE: Final = "x-taskroute"


def asyncapi_document(topology: Topology, handlers: Iterable[Handler], *, title: str, version: str) -> dict[str, Any]:
    """Return the document of a topology and its handlers, of what JSON can say.

    Args:
        topology: whose exchanges, queues and events.
        handlers: for its queues.
        title: of the application.
        version: of the application's messages.

    Example:
        >>> asyncapi_document(Topology(), (), title="shop", version="1.0")["asyncapi"]
        '3.0.0'
    """
    used: tuple[Operation, ...] = (*sends_of(topology), *receives_of(topology, handlers))
    channels = tuple(dict.fromkeys(each.channel for each in used))
    names = identifiers({channel: _naming(channel) for channel in channels})
    operations = identifiers({each: _naming_of(each) for each in used})
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        "defaultContentType": JSON,
        "channels": _sorted({names[channel]: _channel(channel, topology) for channel in channels}),
        "operations": _sorted({name: _operation(each, names) for each, name in operations.items()}),
    }


def _sorted(fields: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(fields.items()))


def _address(channel: Channel) -> Address:
    return address_of_key(channel.queue) if isinstance(channel, QueueChannel) else address_of(channel.pattern)


def _naming(channel: Channel) -> Naming:
    if isinstance(channel, QueueChannel):
        return Naming((channel.queue,), ("queue", channel.queue))
    identity = ("exchange", channel.exchange, *map(".".join, channel.keys))
    return Naming((channel.exchange, *_address(channel).words), identity)


def _naming_of(operation: Operation) -> Naming:
    parts, identity = _naming(operation.channel)
    if isinstance(operation, Sends):
        return Naming(("send", *parts), ("send", *identity, operation.event.body_name))
    handler = operation.handler
    kind = "fallback" if handler.is_fallback else str(handler.pattern)
    own = ("receive", operation.queue, str(handler.queue), kind)
    return Naming(("receive", operation.queue, *parts), (*own, *identity))


def _channel(channel: Channel, topology: Topology) -> dict[str, Any]:
    address = _address(channel)
    described: dict[str, Any] = {"address": address.text}
    if address.parameters:
        described["parameters"] = {name: {"description": text} for name, text in address.parameters.items()}
    if isinstance(channel, QueueChannel):
        known = {queue.name: queue for queue in topology.all_queues}
        return {**described, "bindings": amqp.queue_binding(channel.queue, known.get(channel.queue))}
    exchange = topology.exchange(channel.exchange) if channel.exchange else None
    return {
        **described,
        "bindings": amqp.exchange_binding(exchange),
        BESIDE: {"pattern": str(channel.pattern), "binding_key": channel.pattern.binding_key},
    }


def _operation(operation: Operation, names: Mapping[Channel, str]) -> dict[str, Any]:
    channel = {"$ref": f"#/channels/{names[operation.channel]}"}
    if isinstance(operation, Sends):
        return {"action": "send", "channel": channel, "bindings": amqp.SEND, BESIDE: {"mandatory": True}}
    handler = operation.handler
    return {
        "action": "receive",
        "channel": channel,
        "title": handler.name,
        "bindings": amqp.RECEIVE,
        BESIDE: {
            "queue": operation.queue,
            "pattern": None if handler.is_fallback else str(handler.pattern),
            "fallback": handler.is_fallback,
            "handler": handler.name,
        },
    }
