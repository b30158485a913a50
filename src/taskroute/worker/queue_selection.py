"""Which queues a worker consumes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from taskroute.errors import ConfigurationError, TopologyError
from taskroute.graph.routes import Routes
from taskroute.quoting import shown
from taskroute.suggestion import did_you_mean
from taskroute.topology.queue import QueueSpec


def select_queues(routes: Routes, queues: Iterable[QueueSpec | str] | None) -> dict[str, QueueSpec]:
    """Return the queues to consume, by name. None: those that a handler or fallback names.

    Raises:
        UnknownQueueError: the topology does not have a queue.
        ConfigurationError: one queue instead of a list.
        TopologyError: no queue at all; one has no handler, is a stream, or lacks its dead-letter queue.
    """
    topology = routes.topology
    if isinstance(queues, str | QueueSpec):
        raise ConfigurationError(f"queues={shown(queues)} is not a list: queues=[queue]")
    asked = routes.handled_queues if queues is None else queues
    names = tuple(dict.fromkeys(topology.queue(queue).name for queue in asked))
    if not names:
        raise TopologyError("no queue to consume: name a queue in a handler, or pass queues=")
    handled = {handler.queue for handler in routes.handlers}
    for name in names:
        queue = topology.queue(name)
        if not handled & {None, name}:
            raise TopologyError(f"queue {name!r} has no handler: every message of it would be a dead letter; add one")
        if queue.queue_type == "stream":
            raise TopologyError(f"queue {name!r} is a stream, which a worker does not consume yet")
        target = queue.dead_letter_queue
        known = {each.name for each in topology.all_queues}
        if target is not None and target not in known:
            hint = did_you_mean(target, sorted(known), "add its spec")
            raise TopologyError(f"queue {name!r}: dead_letter: the topology has no queue {target!r}; {hint}")
    return {name: topology.queue(name) for name in names}
