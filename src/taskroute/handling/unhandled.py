"""Unhandled: what becomes of a message that no handler of its queue takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from taskroute.errors import DefinitionError
from taskroute.message.delivery import Delivery
from taskroute.message.headers import ORIGINAL_PREFIX, QUEUE
from taskroute.message.outcome import Failed
from taskroute.topology.topology import Topology


def no_handler(delivery: Delivery) -> Failed:
    """Return the outcome of a message that every worker of this version leaves unhandled."""
    return Failed("no_handler", f"no handler of queue {delivery.queue!r} takes this routing key")


def unhandled(delivery: Delivery, topology: Topology) -> Failed:
    """Return the outcome: final for a key that the worker's topology routes to the queue, retryable for any other.

    Such a key was bound by somebody else. While a new version is rolled out that is the new one, which has a handler.
    """
    if _is_routed(delivery, topology):
        return no_handler(delivery)
    problem = (
        f"no binding of this topology brings this routing key to queue {delivery.queue!r}, and no handler takes it"
    )
    return Failed("unknown_key", problem, retryable=True)


def _is_routed(delivery: Delivery, topology: Topology) -> bool:
    """Return whether the topology brings a message to its queue."""
    headers = delivery.headers
    own = (delivery.queue, topology.queue(delivery.queue).replaces)
    if delivery.is_retry and headers.get(QUEUE) not in own:
        return True  # the dead letter of another queue: no binding has brought it here
    try:
        return delivery.queue in topology.route(
            delivery.routing_key, exchange=delivery.exchange, headers=_as_published(delivery, headers)
        )
    except DefinitionError:  # of an exchange that the topology does not have
        return False


def _as_published(delivery: Delivery, headers: Mapping[str, object]) -> Mapping[str, object]:
    """Return the headers with the further routing keys of the first attempt, which a retry does not carry as such."""
    keys = headers.get(ORIGINAL_PREFIX + "cc") if delivery.is_retry else None
    return headers if keys is None else {**headers, "CC": keys}
