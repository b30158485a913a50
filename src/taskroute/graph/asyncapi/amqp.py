"""AMQP: the bindings of AsyncAPI for AMQP, version 0.3.0, with nothing that it does not define."""

from __future__ import annotations

from typing import Any, Final

from taskroute.errors import UnknownQueueError
from taskroute.graph.asyncapi.channels import Channel, QueueChannel
from taskroute.topology.topology import Topology

VERSION: Final = {"bindingVersion": "0.3.0"}

RECEIVE: Final = {"amqp": {"ack": True, **VERSION}}
SEND: Final = {"amqp": {"deliveryMode": 2, **VERSION}}
"""The version gives `mandatory` to operations that receive, so it stands beside."""


def channel_binding(channel: Channel, topology: Topology, vhost: str | None) -> dict[str, Any]:
    """Return the binding of a channel. What a passive spec says of flags is left out: nobody compares it.

    Args:
        channel: to describe.
        topology: that has it.
        vhost: of all servers, None for the usual one.
    """
    where = {} if vhost is None else {"vhost": vhost}
    if isinstance(channel, QueueChannel):
        return {"amqp": {"is": "queue", "queue": {**_queue(channel.queue, topology), **where}, **VERSION}}
    return {"amqp": {"is": "routingKey", "exchange": {**_exchange(channel.exchange, topology), **where}, **VERSION}}


def _exchange(name: str, topology: Topology) -> dict[str, Any]:
    if name == "":
        return {"name": "", "type": "default"}
    exchange = topology.exchange(name)
    fields = {"name": name, "type": exchange.type}
    return fields if exchange.passive else {**fields, "durable": exchange.durable, "autoDelete": exchange.auto_delete}


def _queue(name: str, topology: Topology) -> dict[str, Any]:
    try:
        queue = topology.queue(name)
    except UnknownQueueError:  # another service's, to which this one publishes
        return {"name": name}
    if queue.passive:
        return {"name": name}
    flags = {"durable": queue.durable, "exclusive": queue.exclusive, "autoDelete": queue.auto_delete}
    return {"name": name, **flags}
