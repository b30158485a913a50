"""DeadLettering: places dead letters in the queues that they go to; `dead_letter` makes what is placed."""

from __future__ import annotations

from typing import Final

from taskroute.broker.embedded.backlog import StoredMessage
from taskroute.broker.embedded.clock import Clock
from taskroute.broker.embedded.dead_letter import Reason, dead_letter, is_cycle
from taskroute.broker.embedded.queue import Host, Queue
from taskroute.broker.embedded.queues import Queues
from taskroute.broker.embedded.rules import Rules

PARKED_RETRY: Final = 1.0
"""Seconds between attempts to place an at-least-once dead letter whose target is full or missing."""


class DeadLettering:
    """Places dead letters. Not synchronized: the broker's lock is held around every call.

    An at-least-once letter that a target rejects, or that has no target, is parked: it counts against the limits of the
    queue that it comes from, and is tried again every second, until it is placed or that queue is deleted.
    """

    def __init__(self, queues: Queues, clock: Clock, host: Host, rules: Rules) -> None:
        self._queues = queues
        self._clock = clock
        self._host = host
        self._rules = rules
        self._parked: list[_Parked] = []

    def place(self, queue: Queue, message: StoredMessage, reason: Reason) -> None:
        """Dead-letter a message that `queue` has discarded, if the queue has a dead-letter exchange."""
        settings = queue.settings
        if settings.dead_letter_exchange is None or queue.deleted:
            return
        letter = dead_letter(
            message,
            queue=queue.name,
            reason=reason,
            at=self._clock.wall(),
            exchange=settings.dead_letter_exchange,
            routing_key=settings.dead_letter_routing_key,
            rules=self._rules,
        )
        parked = _Parked(queue, letter)
        if not self._place(parked) and settings.is_at_least_once:
            queue.parked += 1
            queue.parked_bytes += len(letter.body)
            self._park(parked)

    def _place(self, parked: _Parked) -> bool:
        """Give a letter to its targets; return False while one of them rejects it, or there is none."""
        letter = parked.letter
        reachable = self._queues.route(letter)
        targets = [
            target
            for target in reachable
            if target.name not in parked.taken_by and not is_cycle(letter, target.name, self._rules)
        ]
        rejecting = False
        for target in targets:
            if target.enqueue(letter):
                parked.taken_by.add(target.name)
            else:
                rejecting = True
        return bool(parked.taken_by or len(targets) < len(reachable)) and not rejecting

    def _park(self, parked: _Parked) -> None:
        self._parked.append(parked)
        if len(self._parked) == 1:
            self._host.call_at(self._host.now() + PARKED_RETRY, self._retry)

    def _retry(self) -> None:
        waiting, self._parked = self._parked, []
        for parked in waiting:
            if parked.queue.deleted:
                continue
            if self._place(parked):
                parked.queue.parked -= 1
                parked.queue.parked_bytes -= len(parked.letter.body)
            else:
                self._park(parked)


class _Parked:
    """A dead letter that is not placed everywhere yet."""

    __slots__ = ("letter", "queue", "taken_by")

    def __init__(self, queue: Queue, letter: StoredMessage) -> None:
        self.queue = queue
        self.letter = letter
        self.taken_by: set[str] = set()
