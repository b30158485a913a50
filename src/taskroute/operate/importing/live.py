"""What a live virtual host has, as found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskroute.operate.importing.found import Found, FoundBinding, FoundExchange, FoundQueue
from taskroute.operate.importing.policies import policy_note
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import Observed, ObservedQueue, observe_all


def find_live(api: ManagementApi, virtual_host: str) -> Found:
    """Return what a virtual host has. Queues that belong to one connection are left out, and noted.

    Raises:
        BrokerUnavailableError: it cannot be asked.
    """
    observed = observe_all(api, virtual_host)
    return Found(
        exchanges=tuple(
            FoundExchange(
                each.name,
                each.type,
                each.durable,
                each.auto_delete,
                each.internal,
                each.arguments,
                tuple(_policy(each.policy)),
            )
            for each in observed.exchanges.values()
        ),
        queues=tuple(map(_queue, _kept(observed))),
        bindings=tuple(_bindings(observed)),
        notes=(*_connections_own(observed), *_policies(api, virtual_host)),
    )


def _kept(observed: Observed) -> list[ObservedQueue]:
    return [queue for queue in observed.queues.values() if not queue.exclusive]


def _queue(queue: ObservedQueue) -> FoundQueue:
    kind = queue.type or "classic"
    return FoundQueue(
        queue.name, kind, queue.durable, queue.auto_delete, queue.arguments, tuple(_policy(queue.policy or ""))
    )


def _bindings(observed: Observed) -> Iterator[FoundBinding]:
    kept = {queue.name for queue in _kept(observed)}
    for each in observed.bindings:
        if each.destination_type == "exchange" or each.destination in kept:
            yield FoundBinding(each.source, each.destination, each.destination_type, each.routing_key, each.arguments)


def _connections_own(observed: Observed) -> Iterator[str]:
    for queue in observed.queues.values():
        if queue.exclusive:
            yield f"queue {queue.name!r} is left out: it is exclusive, its connection declares it"


def _policy(name: str) -> Iterator[str]:
    if name:
        yield f"policy {name!r} is in effect on it"


def _policies(api: ManagementApi, virtual_host: str) -> Iterator[str]:
    for policy in api.each("policies", virtual_host):
        if isinstance(policy, Mapping):
            yield policy_note(policy)
