"""MissingQueues: queues that cannot be had now: what is told of that, and when each is looked for again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from taskroute.broker.amqp import Connection
from taskroute.broker.declare import QueueUnavailableError, closes_connection
from taskroute.broker.remarks import Remarks
from taskroute.broker.roles.backlog import Backlogs
from taskroute.broker.roles.consumed_queue import ConsumedQueue
from taskroute.broker.roles.consumed_queues import ConsumedQueues
from taskroute.broker.roles.inquiry import Inquiry, may_stay_unanswered
from taskroute.broker.roles.queue_suspects import QueueSuspects
from taskroute.errors import BrokerError
from taskroute.foreign import Log
from taskroute.topology.queue import QueueSpec

log = Log("taskroute.broker")


class MissingQueues:
    """The missing ones among the queues of one connection. For the session's thread.

    Args:
        connection: that was just opened.
        queues: to consume.
        suspects: queues over which the broker has closed a connection. Kept from connection to connection.
        remarks: take what is wrong with a queue. Kept from connection to connection.
        backlogs: take what the broker says of the queues.
    """

    def __init__(
        self,
        connection: Connection,
        queues: ConsumedQueues,
        *,
        suspects: QueueSuspects,
        remarks: Remarks,
        backlogs: Backlogs,
    ) -> None:
        self.next_search: float | None = None
        """When to `search` again, by the monotonic clock."""
        self._queues = queues
        self._suspects = suspects
        self._remarks = remarks
        self._backlogs = backlogs
        self._inquiry = Inquiry(connection, self.plan)

    # On a fresh connection:

    def leave_suspects_alone(self) -> None:
        """Have the suspects be missing until they show life."""
        for name in self._suspects:
            if (queue := self._queues.by_name.get(name)) is not None:
                queue.lose(self._suspects.problem(name), time.monotonic())

    def leave_unanswered_alone(self, declared: Sequence[QueueSpec]) -> list[QueueSpec]:
        """Return the queues to declare, without those that would keep whoever declares or consumes them waiting."""
        specs = [*declared, *(queue.spec for queue in self._queues)]
        missing = self._queues.missing
        asked = dict.fromkeys(spec.name for spec in specs if may_stay_unanswered(spec) and spec.name not in missing)
        problems = self._inquiry.survey(asked)
        for name, problem in problems.items():
            if (queue := self._queues.by_name.get(name)) is not None:
                self.lose(queue, problem)
            else:
                log.warning("queue_unavailable queue=%s error=%s", name, problem)
        return [spec for spec in declared if spec.name not in problems]

    def raise_what_is_wrong(self) -> None:
        """Raise why a queue is missing, unless it is only to be waited for."""
        for queue in self._queues:
            is_wrong = queue.state == "missing" and not isinstance(queue.problem, QueueUnavailableError)
            if is_wrong and not queue.is_replaced:
                raise queue.problem

    # As long as it lasts:

    def search(self, now: float, find: Callable[[ConsumedQueue], object]) -> None:
        """Have the queues that are due be found, once the broker answers for them."""
        answers = self._inquiry.answers()
        for name, queue in self._queues.by_name.items():
            if queue.state != "missing" or name in self._inquiry or (queue.due > now and name not in answers):
                continue
            if name not in answers and may_stay_unanswered(queue.spec):
                self._inquiry.ask(name)
                continue
            with self.losing(queue):
                if (problem := answers.get(name)) is not None:
                    raise problem
                find(queue)
        self.plan()

    @contextmanager
    def losing(self, queue: ConsumedQueue) -> Iterator[None]:
        """Have what is wrong with a queue be its own affair."""
        try:
            with self._suspects.noting(queue.spec.name):
                yield
        except BrokerError as error:
            if closes_connection(error):
                raise
            self.lose(queue, error)

    def lose(self, queue: ConsumedQueue, problem: BrokerError) -> None:
        """Take note that a queue has no consumer, and cannot have one now."""
        queue.lose(problem, time.monotonic())
        self._backlogs.forget(queue.spec.name)
        if not queue.is_replaced or not isinstance(problem, QueueUnavailableError):  # that one may be gone at any time
            self._remarks.lost(queue.spec.name, queue.pause, problem)
        self.plan()

    def note_consumed(self, queue: ConsumedQueue) -> None:
        """Take note that a queue has a consumer."""
        self._suspects.clear_of(queue.spec.name)
        self._remarks.found(queue.spec.name)

    def plan(self) -> None:
        """Plan when to `search` again: at once when there is an answer, and not for a queue of which one is awaited."""
        missing = (queue for queue in self._queues if queue.state == "missing")
        due = (queue.due for queue in missing if queue.spec.name not in self._inquiry)
        self.next_search = 0.0 if self._inquiry.has_answers else min(due, default=None)
