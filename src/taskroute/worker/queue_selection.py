"""Which queues a worker consumes. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from taskroute.errors import TopologyError
from taskroute.graph.routes import Routes
from taskroute.topology.queue import QueueSpec


def select_queues(routes: Routes, queues: Iterable[QueueSpec | str] | None) -> dict[str, QueueSpec]:
    """Return the queues to consume, by name. None: those that a handler or fallback names.

    Raises:
        UnknownQueueError: the topology does not have a queue.
        TopologyError: no queue at all; one has no handler, is a stream, or lacks its dead-letter queue.
    """
    topology = routes.topology
    names = routes.handled_queues if queues is None else tuple(dict.fromkeys(str(queue) for queue in queues))
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
        if target is not None and target not in {known.name for known in topology.all_queues}:
            raise TopologyError(f"queue {name!r}: dead_letter: the topology has no queue {target!r}; add its spec")
    return {name: topology.queue(name) for name in names}
