"""Homes: which queues a letter may be given to. Pure.

A letter says itself where it failed, and may lie. So it goes only to a queue that the target owns, has retired or
consumes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from taskroute.operate.dead_letters.letter import Letter
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology


@dataclass(frozen=True, slots=True)
class Home:
    """A queue that may get a letter, or why there is none."""

    queue: str | None
    problem: str = ""


class Homes:
    """Where letters go back to.

    Args:
        topology: of the target.
        consumed: the queues that the target has handlers for: a passive one is a home, too, if it is among them.
    """

    def __init__(self, topology: Topology, consumed: Collection[str]) -> None:
        self._topology = topology
        self._consumed = consumed
        self._own = {queue.name: queue for queue in topology.queues}
        self._dead = {queue.dead_letter_queue for queue in topology.queues}

    def of(self, letter: Letter) -> Home:
        """Return the queue that a letter failed in, or the one that has replaced it."""
        name = letter.queue
        if name == letter.lies_in or letter.written_by == "publisher":
            return Home(None, "nobody who is believed says which queue it failed in: move it to one")
        if name in self._topology.retired_names:
            return Home(self._topology.replacement_of(name) or name)
        queue = self._own.get(name)
        if queue is None:
            return Home(None, f"it failed in {name!r}, which is no queue of this target: its owner can send it again")
        if self._is_foreign(queue):
            return Home(None, f"it failed in {name!r}, which somebody else owns, and this target has no handler for it")
        return Home(name)

    def named(self, name: str) -> Home:
        """Return a queue that letters may be moved to.

        Raises:
            UnknownQueueError: the topology has none of that name.
        """
        queue = self._topology.queue(name)
        if self._is_foreign(queue):
            return Home(None, f"queue {name!r} is somebody else's, and this target has no handler for it")
        if queue.queue_type == "stream":
            return Home(None, f"queue {name!r} is a stream")
        if name not in self._own and name not in self._dead:
            return Home(None, f"queue {name!r} is a wait queue: what is in it goes on to the queue that it serves")
        return Home(name)

    def keeps_letters(self, name: str) -> bool:
        """Return whether a queue is a dead-letter queue, in which a letter stays a letter."""
        return name in self._dead

    def _is_foreign(self, queue: QueueSpec) -> bool:
        return queue.passive and queue.name not in self._consumed
