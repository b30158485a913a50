"""AMQP: the bindings of AsyncAPI for AMQP, version 0.3.0, with nothing that it does not define."""

from __future__ import annotations

from typing import Final

from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec

VERSION: Final = {"bindingVersion": "0.3.0"}

RECEIVE: Final = {"amqp": {"ack": True, **VERSION}}
SEND: Final = {"amqp": {"deliveryMode": 2, **VERSION}}
"""The version gives `mandatory` to operations that receive, so it stands beside."""


def exchange_binding(exchange: ExchangeSpec | None) -> dict[str, object]:
    """Return the binding of a channel that is an exchange, None for the default one."""
    if exchange is None:
        fields: dict[str, object] = {"name": "", "type": "default"}
    else:
        fields = {"name": exchange.name, "type": exchange.type}
        if not exchange.passive:  # nobody compares these with an exchange of somebody else's
            fields |= {"durable": exchange.durable, "autoDelete": exchange.auto_delete}
    return {"amqp": {"is": "routingKey", "exchange": fields, **VERSION}}


def queue_binding(name: str, queue: QueueSpec | None) -> dict[str, object]:
    """Return the binding of a channel that is a queue, None for one that the topology does not have."""
    fields: dict[str, object] = {"name": name}
    if queue is not None and not queue.passive:
        fields |= {"durable": queue.durable, "exclusive": queue.exclusive, "autoDelete": queue.auto_delete}
    return {"amqp": {"is": "queue", "queue": fields, **VERSION}}
