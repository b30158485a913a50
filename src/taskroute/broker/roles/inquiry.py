"""Inquiry: asking whether queues can be had, of a broker that may take more than a minute to answer."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import amqp.exceptions

from taskroute.broker.amqp import Channel, Connection, NoChannelLeftError
from taskroute.broker.declare import QueueUnavailableError
from taskroute.broker.endings import ending_of
from taskroute.topology.queue import QueueSpec

ANSWER_TIME: Final = 3.0
"""Seconds that a fresh connection waits for answers. A broker that can answer does within milliseconds."""

_METHODS_AT_ONCE: Final = 256
_HEARTBEAT_CHECKS: Final = 4
"""Checks in a heartbeat interval: a short one is over before the answers are given up."""


def may_stay_unanswered(queue: QueueSpec) -> bool:
    """Return whether the broker may leave every question about a queue unanswered for more than a minute.

    It asks the process of a classic queue, which may hang; and from RabbitMQ's version 4 on it takes that for one that
    lives if its node was killed.
    """
    return queue.queue_type == "classic" and queue.durable and not queue.exclusive


class Inquiry:
    """Questions whether queues are there, each on a channel of its own, which is stuck until the broker answers.

    So nothing else has to wait for that. For the session's thread.

    Args:
        connection: that was just opened.
        on_answer: called when there are `answers`.
    """

    def __init__(self, connection: Connection, on_answer: Callable[[], object]) -> None:
        self._connection = connection
        self._on_answer = on_answer
        self._asked: dict[str, Channel] = {}
        self._answers: dict[str, QueueUnavailableError | None] = {}
        self._answered: list[Channel] = []

    def __contains__(self, queue: str) -> bool:
        """Return whether a queue was asked for, and there is no answer yet."""
        return queue in self._asked

    @property
    def has_answers(self) -> bool:
        """Whether there are `answers`."""
        return bool(self._answers)

    def ask(self, queue: str) -> None:
        """Ask for a queue, unless there is no answer yet to the last time, and go on."""
        if queue in self._asked:
            return
        try:
            channel = self._connection.channel()
        except NoChannelLeftError:
            self._answers[queue] = None  # whoever declares it next waits for the broker
            return
        channel.on_closed = partial(self._on_closed, queue)
        self._asked[queue] = channel
        try:
            channel.ask_consumers(queue, lambda *_: self._answer(queue, None))
        except amqp.exceptions.ChannelError as error:  # an embedded broker answers at once
            self._on_closed(queue, error)

    def survey(self, queues: Iterable[str]) -> dict[str, QueueUnavailableError]:
        """Ask for queues, and wait a moment. Return why some cannot be had now; those without an answer stay asked.

        Nothing may be consumed yet, as it reads what comes.
        """
        for queue in queues:
            self.ask(queue)
        self._wait(ANSWER_TIME)
        problems = {name: problem for name, problem in self.answers().items() if problem is not None}
        unanswered = "the broker does not answer for it: the node that a classic queue lives on may be down"
        return problems | {name: QueueUnavailableError(f"queue {name!r}: {unanswered}") for name in self._asked}

    def answers(self) -> dict[str, QueueUnavailableError | None]:
        """Return what was answered since the last call, by queue: why it cannot be had now, None if it says nothing.

        One that is not there, or that this user may not look at, can be declared: the broker answers that.
        """
        answers, self._answers = self._answers, {}
        answered, self._answered = self._answered, []
        for channel in answered:
            channel.close()
        return answers

    def _on_closed(self, queue: str, error: Exception) -> None:
        text = str(getattr(error, "reply_text", error))
        is_unavailable = ending_of(getattr(error, "reply_code", None), text) == "unavailable"
        self._answer(queue, QueueUnavailableError(f"queue {queue!r}: {text}") if is_unavailable else None)

    def _answer(self, queue: str, problem: QueueUnavailableError | None) -> None:
        self._answered.append(self._asked.pop(queue))
        self._answers[queue] = problem
        self._on_answer()

    def _wait(self, seconds: float) -> None:
        """Read until every question has its answer, so long at most, and keep the connection alive meanwhile."""
        until = time.monotonic() + seconds
        heartbeat = self._connection.heartbeat / _HEARTBEAT_CHECKS
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection.sock, selectors.EVENT_READ)
            while self._asked and (left := until - time.monotonic()) > 0:
                if not self._connection.drain_available(_METHODS_AT_ONCE) and self._asked:
                    selector.select(min(left, heartbeat or left))
                if heartbeat:
                    self._connection.heartbeat_tick()
