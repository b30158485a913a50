"""QueueSuspects: queues over which the broker has closed a connection, so that it is not closed over them for ever."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Final, NamedTuple

import amqp

from taskroute.broker.amqp import Channel
from taskroute.broker.declare import (
    QueueUnavailableError,
    closes_connection,
    is_refused_for_good,
    shows_life,
)
from taskroute.broker.remarks import Remarks
from taskroute.errors import BrokerError
from taskroute.foreign import Log
from taskroute.topology.broker_facts import BrokerFacts

log = Log("taskroute.broker")

FIRST_SUSPICION: Final = 5.0
LONGEST_SUSPICION: Final = 300.0
"""Seconds that a queue over which the broker has closed the connection is left alone, unless it shows life."""


class Suspicion(NamedTuple):
    """Of one queue: left alone for `pause` seconds, `until` then. `refused`: the broker does not take it at all."""

    pause: float
    until: float
    refused: BrokerError | None = None


class QueueSuspects:
    """The suspects of a role, kept from connection to connection. For the session's thread.

    What a broker refuses, it refuses for good: only another one is asked again.
    """

    def __init__(self) -> None:
        self._suspicions: dict[str, Suspicion] = {}
        self._broker: BrokerFacts | None = None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the queues."""
        return iter(self._suspicions)

    def connected_to(self, broker: BrokerFacts | None) -> None:
        """Take note of a new connection."""
        if broker != self._broker:
            self._suspicions = {name: each for name, each in self._suspicions.items() if each.refused is None}
        self._broker = broker

    def problem(self, name: str) -> BrokerError:
        """Return why a suspect is left alone."""
        refused = self._suspicions[name].refused
        if refused is not None:
            return copy(refused)  # the traceback of one that is raised leads to the connection
        return QueueUnavailableError(
            f"queue {name!r}: the broker has closed the connection over it, and it shows no life"
        )

    def check(self, name: str, channel: Channel) -> None:
        """Raise why a queue is left alone, if it is. One that shows life meanwhile is not, unless it was refused."""
        suspicion = self._suspicions.get(name)
        if suspicion is None:
            return
        if suspicion.refused is not None:
            raise self.problem(name)
        if time.monotonic() < suspicion.until and not shows_life(channel, name):
            raise self.problem(name)

    def clear_of(self, name: str) -> None:
        """Forget the suspicion of a queue that can be had."""
        self._suspicions.pop(name, None)

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Suspect a queue over which the broker closes the connection."""
        try:
            yield
        except (BrokerError, amqp.exceptions.InternalError, amqp.exceptions.ResourceError, TimeoutError) as error:
            if not isinstance(error, BrokerError) or closes_connection(error):
                before = self._suspicions.get(name, Suspicion(0, 0))
                pause = min(max(2 * before.pause, FIRST_SUSPICION), LONGEST_SUSPICION)
                refused: BrokerError | None = None
                if isinstance(error, BrokerError) and is_refused_for_good(error):
                    refused = type(error)(str(error))
                self._suspicions[name] = Suspicion(pause, time.monotonic() + pause, refused)
            raise

    def declare(
        self, name: str, declare: Callable[[], object], remarks: Remarks, *, fatal: tuple[type[BrokerError], ...] = ()
    ) -> BrokerError | None:
        """Declare a queue that nobody consumes here, or go on without it, say so, and return what is wrong with it.

        Args:
            name: of the queue.
            declare: does it.
            remarks: take what is wrong with it.
            fatal: what is raised; never that it cannot be had now.

        Raises:
            BrokerError: one of `fatal`.
            amqp.AMQPError: the broker has closed the connection over a queue that is left alone on the next one.
        """
        try:
            suspicion = self._suspicions.get(name)
            if suspicion is not None and (suspicion.refused is not None or time.monotonic() < suspicion.until):
                raise self.problem(name)
            with self.noting(name):
                declare()
            self.clear_of(name)
        except QueueUnavailableError as error:
            log.warning("queue_unavailable queue=%s error=%s", name, error)
            return None
        except BrokerError as error:
            if not isinstance(error, fatal) and closes_connection(error) and error.__cause__ is not None:
                raise error.__cause__ from None  # which another attempt mends
            remarks.differs("queue", name, error)
            if isinstance(error, fatal):
                raise
            return error
        return None
