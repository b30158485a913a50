"""ClosedAddresses: what cannot be published to, as the broker has it otherwise than declared, or does not take it."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Final

from taskroute.broker.amqp import Channel
from taskroute.broker.declare import Declaration, QueueUnavailableError
from taskroute.errors import BrokerError
from taskroute.foreign import Log
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec

log = Log("taskroute.broker")

Fatal = tuple[type[BrokerError], ...]

LOOK_EVERY: Final = 5.0
"""Seconds between looks whether somebody has mended them."""


class ClosedAddresses:
    """Exchanges that differ, and queues that could not be declared, which the default exchange leads to.

    For the session's thread.
    """

    def __init__(self) -> None:
        self.look_at: float | None = None
        """When to look again, None while there are none."""
        self._exchanges: dict[str, BrokerError] = {}  # on this connection
        self._queues: dict[str, BrokerError] = {}
        self._declaration: Declaration | None = None

    def __bool__(self) -> bool:
        return bool(self._exchanges or self._queues)

    def problem(self, exchange: str, routing_key: str) -> BrokerError | None:
        """Return why nothing can be published to an address, None if it can."""
        return self._exchanges.get(exchange) if exchange else self._queues.get(routing_key)

    def declare(self, declaration: Declaration, channel: Channel, *, fatal: Fatal) -> None:
        """Declare the exchanges and what binds them to each other, on a fresh connection.

        Raises:
            BrokerError: one of `fatal`.
        """
        self._exchanges.clear()
        self._declaration = declaration
        declaration.exchanges_on(channel, partial(self._close, fatal=fatal))
        declaration.exchange_bindings_on(channel, partial(self._remark, fatal=fatal))

    def close_queue(self, name: str, problem: BrokerError) -> None:
        """Take note of a queue that the broker does not take."""
        self._queues[name] = _bare(problem)

    def plan(self, now: float) -> None:
        """Plan the next look."""
        self.look_at = now + LOOK_EVERY if self else None

    def look(self, channel: Channel) -> None:
        """Look again at what was wrong."""
        declaration = self._declaration
        if declaration is None:
            return
        for exchange in [declaration.topology.exchange(name) for name in self._exchanges]:
            del self._exchanges[exchange.name]
            declaration.exchange_on(channel, exchange, self._close)
            if exchange.name not in self._exchanges:
                declaration.exchange_bindings_on(channel, self._remark)
                declaration.remarks.clear_of("exchange", exchange.name)
                log.info("address_opened exchange=%s", exchange.name)
        for queue in [declaration.topology.queue(name) for name in self._queues]:
            with suppress(QueueUnavailableError):
                if declaration.is_there(channel, queue):
                    self.open_queue(queue)

    def open_queue(self, queue: QueueSpec) -> None:
        """Take note of a queue that is there."""
        if self._queues.pop(queue.name, None) is not None:
            log.info("address_opened queue=%s", queue.name)

    def lose(self) -> None:
        """Forget the exchanges with their connection."""
        self._exchanges.clear()
        self.look_at = None

    def _close(self, exchange: ExchangeSpec, error: BrokerError, fatal: Fatal = ()) -> None:
        self._remark(exchange, error, fatal)
        self._exchanges[exchange.name] = _bare(error)

    def _remark(self, exchange: ExchangeSpec, error: BrokerError, fatal: Fatal = ()) -> None:
        if isinstance(error, fatal):
            raise error
        assert self._declaration is not None  # noqa: S101 - it asks
        self._declaration.remarks.differs("exchange", exchange.name, error)


def _bare(error: BrokerError) -> BrokerError:
    """Return the same error without its frames, which hold the connection."""
    return type(error)(str(error))
