"""RabbitMQ definitions: what a topology has declared, in the form that RabbitMQ imports. Pure.

An import gives what declaring gives. What nobody declares from a topology for good is left out: entities that are
somebody else's, those that a broker has by itself, and exclusive queues, which end with their connection.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology


def definitions_of(topology: Topology, virtual_host: str = "/") -> dict[str, list[dict[str, Any]]]:
    """Return the exchanges, queues and bindings, wait and dead-letter queues included.

    Each names its virtual host, as ``rabbitmqctl import_definitions`` and ``POST /api/definitions`` need it.

    Example:
        >>> shop = ExchangeSpec(name="shop")
        >>> found = definitions_of(Topology(queues=[QueueSpec(name="jobs", bindings=[shop.bind("a.#")], retry=False)]))
        >>> [queue["name"] for queue in found["queues"]], found["bindings"][0]["routing_key"]
        (['jobs', 'jobs.dead'], 'a.#')
    """
    exchanges = [_exchange(each, virtual_host) for each in topology.exchanges if not each.passive]
    queues = [_queue(each, virtual_host) for each in topology.all_queues if _is_declared(each)]
    return {"exchanges": exchanges, "queues": queues, "bindings": list(_bindings(topology, virtual_host))}


def remarks_on(topology: Topology) -> Iterator[str]:
    """Yield what is not in the definitions, and what to know of an import, for people."""
    for exchange in topology.exchanges:
        if exchange.passive:
            owner = "the broker's own" if exchange.name.startswith("amq.") else "somebody else's"
            yield f"exchange {exchange.name!r} is left out: it is {owner}, and must be there"
    for queue in topology.queues:
        if queue.passive:
            yield f"queue {queue.name!r} is left out: it is somebody else's, and must be there"
        elif queue.exclusive:
            yield f"queue {queue.name!r} is left out: it is exclusive, its connection declares it"
        elif queue.replaces is not None:
            way_out = "while that is there, have `taskroute apply` bind it, or each message comes to both"
            yield f"queue {queue.name!r} replaces {queue.replaces!r}, and an import binds it at once: {way_out}"


def _is_declared(queue: QueueSpec) -> bool:
    return not queue.passive and not queue.exclusive


def _exchange(exchange: ExchangeSpec, virtual_host: str) -> dict[str, Any]:
    return {
        "name": exchange.name,
        "vhost": virtual_host,
        "type": exchange.type,
        "durable": exchange.durable,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": dict(exchange.broker_arguments),
    }


def _queue(queue: QueueSpec, virtual_host: str) -> dict[str, Any]:
    return {
        "name": queue.name,
        "vhost": virtual_host,
        "durable": queue.durable,
        "auto_delete": queue.auto_delete,
        "arguments": dict(queue.broker_arguments),
    }


def _bindings(topology: Topology, virtual_host: str) -> Iterator[dict[str, Any]]:
    """Yield the bindings, each once, as a broker has them. A worker binds somebody else's exchanges, too."""
    for exchange in topology.exchanges:
        yield from _once(_binding(each, "exchange", exchange.name, virtual_host) for each in exchange.bindings)
    for queue in topology.queues:
        if _is_declared(queue):
            yield from _once(_binding(each, "queue", queue.name, virtual_host) for each in queue.bindings)


def _once(bindings: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    return {json.dumps(each, sort_keys=True): each for each in bindings}.values()


def _binding(binding: BindingSpec, kind: str, destination: str, virtual_host: str) -> dict[str, Any]:
    return {
        "source": binding.exchange,
        "vhost": virtual_host,
        "destination": destination,
        "destination_type": kind,
        "routing_key": binding.binding_key,
        "arguments": dict(binding.arguments),
    }
