"""ConsumedQueues: the queues of one connection, and which of them others replace. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from taskroute.broker.roles.consumed_queue import ConsumedQueue
from taskroute.topology.queue import QueueSpec


class ConsumedQueues:
    """The state of each queue. The session's thread makes every call; others may read the properties.

    One that another queue replaces is among them until it is gone: consumed together with that one, or before it.

    Args:
        queues: to consume, and those that they replace.
    """

    def __init__(self, queues: Iterable[ConsumedQueue]) -> None:
        self.by_name: Mapping[str, ConsumedQueue] = {queue.spec.name: queue for queue in queues}
        """Replaced, never changed: other threads go through it."""

    def __iter__(self) -> Iterator[ConsumedQueue]:
        """Iterate over those that are there now."""
        return iter(self.by_name.values())

    @property
    def consumed(self) -> frozenset[str]:
        """The queues that have a consumer."""
        return frozenset(queue.spec.name for queue in self if queue.tag is not None)

    @property
    def missing(self) -> Mapping[str, str]:
        """The queues that cannot be had now, and why."""
        missing = (queue for queue in self if queue.is_missing and not queue.is_replaced)
        return {queue.spec.name: str(queue.problem) for queue in missing}

    @property
    def awaiting(self) -> frozenset[str]:
        """The queues that are left to themselves until the one that they replace, which can be had, is gone."""
        awaited = {queue.spec.name: self.awaited_by(queue) for queue in self}
        return frozenset(name for name, old in awaited.items() if old is not None and old.state != "missing")

    @property
    def replaced(self) -> Mapping[str, str]:
        """By the name of a queue that is consumed until it is gone, a sentence."""
        by_name = self.by_name
        replaced = (queue for queue in by_name.values() if queue.is_replaced)
        return {queue.spec.name: _describe(queue, by_name[queue.serves].spec) for queue in replaced}

    def serving(self, name: str) -> list[ConsumedQueue]:
        """Return the queues whose messages are those of a queue: it, and one that it replaces."""
        return [queue for queue in self if queue.serves == name]

    def awaited_by(self, queue: ConsumedQueue) -> ConsumedQueue | None:
        """Return the queue that must be gone before another one is consumed, None if there is none."""
        return self.by_name.get(queue.spec.replaces or "") if queue.spec.after == "empty" else None

    def remove(self, queue: ConsumedQueue) -> None:
        """Take note that a queue is gone for good."""
        self.by_name = {name: one for name, one in self.by_name.items() if one is not queue}


def _describe(queue: ConsumedQueue, by: QueueSpec) -> str:
    name = queue.spec.name
    if by.after == "empty" and queue.state != "missing":
        return (
            f"queue {name!r} is consumed before {by.name!r}, which replaces it, until it is empty, unbound and deleted"
        )
    why = f", and is not consumed now: {queue.problem}" if queue.state == "missing" else " and is consumed with it"
    return f"queue {name!r} is replaced by {by.name!r}{why}, until it is empty, unbound and deleted"
