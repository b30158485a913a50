"""UnusedQueues: deletes queues that nobody has used for the time of their ``x-expires``."""

from __future__ import annotations

from functools import partial

from taskroute.broker.embedded.queue import Host, Queue
from taskroute.broker.embedded.queues import Queues


class UnusedQueues:
    """Deletes unused queues when they are due. Not synchronized: the broker's lock is held around every call.

    A consumer, a declaration and a get are uses of a queue.
    """

    def __init__(self, queues: Queues, host: Host) -> None:
        self._queues = queues
        self._host = host
        self._due: dict[Queue, float] = {}

    def touch(self, queue: Queue) -> None:
        """Start the time of a queue that expires, or start it again. A queue with consumers has none."""
        expires = queue.settings.expires
        if expires is None or queue.consumers:
            return
        is_armed = queue in self._due
        due = self._due[queue] = self._host.now() + expires
        if not is_armed:
            self._look_at(queue, due)

    def forget(self, queue: Queue) -> None:
        """Stop the time of a queue, which is used or deleted."""
        self._due.pop(queue, None)

    def _look_at(self, queue: Queue, moment: float) -> None:
        self._host.call_at(moment, partial(self._delete_if_due, queue))

    def _delete_if_due(self, queue: Queue) -> None:
        due = self._due.get(queue)
        if due is None:
            return
        if self._host.now() < due and not queue.deleted:
            self._look_at(queue, due)
        else:
            self.forget(queue)
            self._queues.remove(queue)
