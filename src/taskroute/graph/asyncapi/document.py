"""Document: a topology and its handlers as AsyncAPI 3.0.0. Pure.

It describes the application that runs the handlers and publishes the events. Equal topologies and handlers have equal
documents, whatever their order.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from taskroute.graph.asyncapi import amqp
from taskroute.graph.asyncapi.address import Address, address_of, address_of_key
from taskroute.graph.asyncapi.beside import FIELD, beside_channel, beside_operation, beside_topology
from taskroute.graph.asyncapi.catalogue import Catalogue, catalogue_of
from taskroute.graph.asyncapi.channels import Channel, Operation, QueueChannel, Sends, operations_of
from taskroute.graph.asyncapi.identifiers import Naming, identifiers
from taskroute.graph.asyncapi.servers import Server, common_vhost, servers_described
from taskroute.handlers.handler import Handler
from taskroute.message.content import JSON
from taskroute.topology.topology import Topology


def asyncapi_document(
    topology: Topology, handlers: Iterable[Handler], *, title: str, version: str, servers: Iterable[Server] = ()
) -> dict[str, Any]:
    """Return the document of a topology and its handlers, of what JSON can say.

    Args:
        topology: whose exchanges, queues and events.
        handlers: for its queues.
        title: of the application.
        version: of the application.
        servers: where it runs; nothing else in the document says it.

    Example:
        >>> asyncapi_document(Topology(), (), title="shop", version="1.0")["asyncapi"]
        '3.0.0'
    """
    used = operations_of(topology, handlers)
    catalogue = catalogue_of(used)
    channels = identifiers({each.channel: _naming(each.channel) for each in used})
    operations = identifiers({each: _naming_of(each, catalogue) for each in used})
    where = tuple(servers)
    described = servers_described(where)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": version},
        **({"servers": described} if described else {}),
        "defaultContentType": JSON,
        "channels": _sorted(
            {name: _channel(each, topology, catalogue, common_vhost(where)) for each, name in channels.items()}
        ),
        "operations": _sorted({name: _operation(each, channels, catalogue) for each, name in operations.items()}),
        "components": {"messages": catalogue.messages, "schemas": catalogue.schemas},
        FIELD: beside_topology(topology),
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


def _naming_of(operation: Operation, catalogue: Catalogue) -> Naming:
    parts, identity = _naming(operation.channel)
    if isinstance(operation, Sends):  # two types may have one name, and their messages have not
        return Naming(("send", *parts), ("send", *identity, *catalogue.by_operation[operation]))
    handler = operation.handler
    kind = "fallback" if handler.is_fallback else str(handler.pattern)
    own = ("receive", operation.queue, str(handler.queue), kind)
    return Naming(("receive", operation.queue, *parts), (*own, *identity))


def _channel(channel: Channel, topology: Topology, catalogue: Catalogue, vhost: str | None) -> dict[str, Any]:
    address = _address(channel)
    described: dict[str, Any] = {"address": address.text}
    if address.parameters:
        described["parameters"] = {name: {"description": text} for name, text in address.parameters.items()}
    described["messages"] = {name: {"$ref": f"#/components/messages/{name}"} for name in catalogue.in_channel[channel]}
    described["bindings"] = amqp.channel_binding(channel, topology, vhost)
    return {**described, FIELD: beside_channel(channel)}


def _operation(operation: Operation, channels: Mapping[Channel, str], catalogue: Catalogue) -> dict[str, Any]:
    channel = f"#/channels/{channels[operation.channel]}"
    described: dict[str, Any] = {"action": "send" if isinstance(operation, Sends) else "receive"}
    described["channel"] = {"$ref": channel}
    if isinstance(operation, Sends):
        described["bindings"] = amqp.SEND
    else:
        described["title"] = operation.handler.name
        if text := _docstring(operation.handler):
            described["description"] = text
        described["bindings"] = amqp.RECEIVE
    described["messages"] = [{"$ref": f"{channel}/messages/{name}"} for name in catalogue.by_operation[operation]]
    return {**described, FIELD: beside_operation(operation)}


def _docstring(handler: Handler) -> str | None:
    """Return what a handler's function says of itself; other objects have the docstring of their class."""
    return inspect.getdoc(handler.function) if inspect.isroutine(handler.function) else None
