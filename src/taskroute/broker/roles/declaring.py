"""Declaring: what is declared for the consumers of one connection, and what is looked for again later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from taskroute.broker.amqp import Channel, Connection
from taskroute.broker.declare import Declaration, closes_connection, upstream_of
from taskroute.broker.remarks import Remarks
from taskroute.broker.roles.consumed_queue import ConsumedQueue
from taskroute.broker.roles.consumed_queues import ConsumedQueues
from taskroute.broker.roles.missing_queues import MissingQueues
from taskroute.broker.roles.queue_suspects import QueueSuspects
from taskroute.errors import BrokerError, TopologyMismatchError, UnsupportedFeatureError
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec

_FATAL_OF_HELPERS: Final = (TopologyMismatchError, UnsupportedFeatureError)
_FATAL_OF_OTHERS: Final = (UnsupportedFeatureError,)
"""What is an error on the first connection."""


class Declaring:
    """Declares, each time on a channel for that: the broker may close it over what it refuses. Session's thread.

    Args:
        connection: that was just opened.
        declaration: what must be there.
        queues: to consume.
        missing: take what is wrong with one of these.
        suspects: queues over which the broker has closed a connection. Kept from connection to connection.
        remarks: take what is wrong with what is not consumed here. Kept from connection to connection.
        is_first: whether it is the first connection.
    """

    def __init__(
        self,
        connection: Connection,
        declaration: Declaration,
        queues: ConsumedQueues,
        *,
        missing: MissingQueues,
        suspects: QueueSuspects,
        remarks: Remarks,
        is_first: bool,
    ) -> None:
        self._connection = connection
        self._declaration = declaration
        self._queues = queues
        self._missing = missing
        self._suspects = suspects
        self._remarks = remarks
        self._is_first = is_first

    def declare(self) -> None:
        """Declare everything.

        On the first connection a mismatch of what is consumed here is an error, of its wait and dead-letter queues,
        and of the exchanges that its messages come through. Any other is a remark. Of several queues the one that is
        consumed is raised: what serves it follows from its spec.

        Raises:
            TopologyMismatchError, UnsupportedFeatureError: as `Declaration.on`.
        """
        self._missing.leave_suspects_alone()
        there = self._missing.leave_unanswered_alone(self._declaration.queues)
        with self._channel() as channel:
            on_problem = self._raise_or_remark if self._is_first else self._remark
            self._declaration.exchanges_on(channel, on_problem)
            self._declaration.exchange_bindings_on(channel, on_problem)
            problems = self._declare_queues(channel, there)
            self._look_for_replaced(channel)
        if self._is_first:
            self._missing.raise_what_is_wrong()
        if problems:
            raise problems[0]

    def declare_anew(self, queue: ConsumedQueue) -> None:
        """Declare a queue that is there. Raises what `Declaration.queue_on` does."""
        with self._channel() as channel:
            self._declaration.queue_on(channel, queue.spec)

    def find(self, queue: ConsumedQueue) -> bool:
        """Declare a missing queue and what serves it. Return False if it is replaced, and gone for good.

        Raises:
            BrokerError: it cannot be had now.
        """
        with self._channel() as channel:
            self._suspects.check(queue.spec.name, channel)
            if queue.is_replaced and not self._look_for(queue, channel):
                return False
            if self._declaration.mode == "create":
                # One that is auto-delete went with the last binding.
                self._declaration.exchanges_on(channel, self._remark)
                self._declaration.exchange_bindings_on(channel, self._remark)
            self._declaration.queue_on(channel, queue.spec)
            for helper in self._declaration.helpers_of(queue.spec):
                self._declaration.helper_on(channel, helper)
        return True

    def _declare_queues(self, channel: Channel, specs: Iterable[QueueSpec]) -> list[BrokerError]:
        """Declare queues, and return what is to be raised of those that are not consumed here."""
        consumed = [queue.spec for queue in self._queues]
        helpers = {helper.name for spec in consumed for helper in self._declaration.helpers_of(spec)}
        problems: list[BrokerError] = []
        for spec in specs:
            queue = self._queues.by_name.get(spec.name)
            if queue is None:
                try:
                    self._declare_other(channel, spec, _FATAL_OF_HELPERS if spec.name in helpers else _FATAL_OF_OTHERS)
                except BrokerError as error:
                    if closes_connection(error):
                        raise
                    problems.append(error)
            elif queue.state != "missing":
                with self._missing.losing(queue):
                    self._declaration.queue_on(channel, spec)
        return problems

    def _declare_other(self, channel: Channel, spec: QueueSpec, fatal: tuple[type[BrokerError], ...]) -> None:
        """Declare a queue that is not consumed here. Raises what is fatal on the first connection."""
        on_it = partial(self._declaration.queue_on, channel, spec)
        self._suspects.declare(spec.name, on_it, self._remarks, fatal=fatal if self._is_first else ())

    def _look_for_replaced(self, channel: Channel) -> None:
        for queue in list(self._queues):
            if queue.is_replaced and queue.state != "missing":
                with self._missing.losing(queue):
                    self._look_for(queue, channel)

    def _look_for(self, queue: ConsumedQueue, channel: Channel) -> bool:
        """Look whether a queue that another one replaces is there. When it is gone, that other one is bound.

        It is not looked for any more. A new connection looks again: an older worker may have declared it anew.
        """
        if self._declaration.is_there(channel, queue.spec):
            return True
        self._declaration.queue_on(channel, self._declaration.topology.queue(queue.serves))
        self._queues.remove(queue)
        return False

    def _remark(self, exchange: ExchangeSpec, error: BrokerError) -> None:
        self._remarks.differs("exchange", exchange.name, error)

    def _raise_or_remark(self, exchange: ExchangeSpec, error: BrokerError) -> None:
        consumed = [queue.spec for queue in self._queues]
        is_upstream = exchange.name in upstream_of(consumed, self._declaration.topology.exchanges)
        self._remark(exchange, error)
        if is_upstream or isinstance(error, UnsupportedFeatureError):
            raise error

    @contextmanager
    def _channel(self) -> Iterator[Channel]:
        """Open a channel for as long as the block takes."""
        channel = self._connection.channel()
        try:
            yield channel
        except BrokerError as error:
            if not closes_connection(error):
                channel.close()
            raise
        channel.close()
