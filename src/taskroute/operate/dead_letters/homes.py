"""Homes: which queues a letter may be given to. Pure.

A letter says itself where it failed, and may lie. So it goes only to a queue that the target owns or consumes.
"""

from __future__ import annotations

from collections.abc import Collection

from taskroute.operate.dead_letters.letter import Letter
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology


class Homes:
    """Where letters go back to.

    Args:
        topology: of the target.
        consumed: the queues that the target has handlers for: a passive one is a home, too, if it is among them.
    """

    def __init__(self, topology: Topology, consumed: Collection[str]) -> None:
        self._topology = topology
        self._consumed = consumed
        self._dead = {queue.dead_letter_queue for queue in topology.queues}

    def of(self, letter: Letter) -> QueueSpec | str:
        """Return the queue that a letter failed in, or its replacement; a text says why there is none for it."""
        name = letter.queue
        queue = self._replacement(name) or next((each for each in self._topology.queues if each.name == name), None)
        if name == letter.lies_in or letter.written_by == "publisher":
            return "nobody who is believed says which queue it failed in: move it to one"
        if queue is None:
            return f"it failed in {name!r}, which is no queue of this target: its owner can send it again"
        if queue.passive and queue.name not in self._consumed:
            return f"it failed in {name!r}, which somebody else owns, and which this target has no handler for"
        return queue

    def named(self, name: str) -> QueueSpec | str:
        """Return a queue that letters may be moved to; a text says why they may not.

        Raises:
            UnknownQueueError: the topology has none of that name.
        """
        queue = self._topology.queue(name)
        if queue.passive and queue.name not in self._consumed:
            return f"queue {name!r} is somebody else's, and this target has no handler for it"
        if queue.queue_type == "stream":
            return f"queue {name!r} is a stream"
        if queue not in self._topology.queues and name not in self._dead:
            return f"queue {name!r} is a wait queue: what is in it goes on to the queue that it serves"
        return queue

    def keeps_letters(self, name: str) -> bool:
        """Return whether a queue is a dead-letter queue, in which a letter stays a letter."""
        return name in self._dead

    def _replacement(self, name: str) -> QueueSpec | None:
        return next((each for each in self._topology.queues if getattr(each, "replaces", None) == name), None)
