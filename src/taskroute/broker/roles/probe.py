"""Probe: how many consumers and messages queues have, asked without waiting for the answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import amqp

from taskroute.broker.amqp import Channel, Connection
from taskroute.foreign import Log

log = Log("taskroute.broker")


class Probe:
    """Asks on a channel of its own, as answers carry nothing that tells one question from another.

    The broker closes that channel over a queue that is gone, whose consumer's end is told, and over one that this user
    may not look at: that one is not asked for again, as the answers of others are lost with the channel.

    For the session's thread.

    Args:
        connection: that was just opened.
        on_denied: is told the name of a queue that this user may not look at.
        on_gone: is told the name of a queue that is not there.
    """

    def __init__(
        self, connection: Connection, on_denied: Callable[[str], object], on_gone: Callable[[str], object]
    ) -> None:
        self._connection = connection
        self._on_denied = on_denied
        self._on_gone = on_gone
        self._asked: deque[str] = deque()  # not answered yet, in their order
        self._denied: set[str] = set()
        self._channel: Channel | None = self._open()  # now: while a long frame comes in, it would take its time

    @property
    def channel(self) -> Channel:
        """The channel, another one if the broker has closed it."""
        if self._channel is None:
            self._channel = self._open()
        return self._channel

    def ask(self, queue: str, answer: Callable[[int, int], object]) -> None:
        """Ask how many consumers and messages a queue has, and go on; `answer` gets the numbers later, or never."""
        if queue in self._denied:
            return

        def tell(_: str, consumers: int, ready: int = 0) -> None:
            if self._asked:
                self._asked.popleft()
            answer(consumers, ready)

        channel = self.channel
        self._asked.append(queue)
        try:
            channel.ask_consumers(queue, tell)
        except amqp.exceptions.ChannelError as error:  # an embedded broker answers at once, and the channel stays
            self._note(error)

    def _open(self) -> Channel:
        channel = self._connection.channel()
        channel.on_closed = self._on_closed
        return channel

    def _on_closed(self, error: Exception) -> None:
        self._channel = None
        self._note(error)

    def _note(self, error: Exception) -> None:
        """Take note that there are no answers. It is the oldest question that the broker would not answer."""
        log.debug("probe_failed error=%s", error)
        queue = self._asked.popleft() if self._asked else None
        self._asked.clear()
        if queue is not None and isinstance(error, amqp.exceptions.AccessRefused):
            self._denied.add(queue)
            self._on_denied(queue)
        elif queue is not None:
            self._on_gone(queue)
