"""Alterations: single changes of what a broker has, on a connection for that. The caller's thread owns it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import amqp

from taskroute.broker.amqp import Channel, Connection
from taskroute.broker.connection import collect
from taskroute.broker.declare import Declaration, closes_connection, naming
from taskroute.broker.denied import DeniedError, is_denied
from taskroute.broker.link import describe_error
from taskroute.broker.once import connect_once
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerError, BrokerUnavailableError, TopologyMismatchError
from taskroute.topology.broker_facts import facts_of
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec
from taskroute.topology.topology import Topology

_NAMELESS: Final = "amq.default"
"""What the default exchange is called where rights are granted."""


class Alterations:
    """Declares, binds and deletes one at a time. The first call connects.

    Every call raises BrokerError if the broker refuses it, DeniedError if that is for want of a right, and
    BrokerUnavailableError if it is away.

    Args:
        nodes: the first one that can be reached is told.
        topology: that the specs are of.
        name: of the connection, for people.
    """

    def __init__(self, nodes: Sequence[BrokerUrl], topology: Topology, name: str) -> None:
        self._nodes = nodes
        self._topology = topology
        self._name = name
        self._connection: Connection | None = None

    def create_exchange(self, exchange: ExchangeSpec) -> None:
        """Declare an exchange without its bindings."""
        takes = f"exchange {exchange.name!r}: it takes the right to configure it"
        if exchange.alternate_exchange is not None:
            takes += ", to read it, and to write to its alternate exchange"
        with self._altering(takes) as (channel, declaration):
            declaration.exchange_on(channel, exchange, _raise)

    def create_queue(self, queue: QueueSpec) -> None:
        """Declare a queue without its bindings."""
        takes = f"queue {queue.name!r}: it takes the right to configure it"
        if "x-dead-letter-exchange" in queue.broker_arguments:
            dead_letter_exchange = queue.broker_arguments["x-dead-letter-exchange"] or _NAMELESS
            takes += f", to read it, and to write to exchange {dead_letter_exchange!r}"
        with self._altering(takes) as (channel, declaration):
            declaration.queue_on(channel, queue.model_copy(update={"bindings": (), "replaces": None, "after": None}))

    def bind_queue(self, queue: str, binding: BindingSpec) -> None:
        """Bind a queue."""
        subject = _subject("queue", queue, binding)
        with self._altering(_takes_to_bind(subject)) as (channel, _), naming(subject):
            channel.queue_bind(queue, binding.exchange, binding.binding_key, arguments=dict(binding.arguments))

    def bind_exchange(self, exchange: str, binding: BindingSpec) -> None:
        """Bind an exchange to another one."""
        subject = _subject("exchange", exchange, binding)
        with self._altering(_takes_to_bind(subject)) as (channel, _), naming(subject):
            channel.exchange_bind(exchange, binding.exchange, binding.binding_key, arguments=dict(binding.arguments))

    def delete_queue(self, queue: str) -> None:
        """Delete a queue, whatever is in it."""
        subject = f"queue {queue!r}"
        with self._altering(f"{subject}: it takes the right to configure it") as (channel, _), naming(subject):
            channel.queue_delete(queue)

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError, amqp.AMQPError):
                connection.close()
            collect(connection)

    @contextmanager
    def _altering(self, takes: str) -> Iterator[tuple[Channel, Declaration]]:
        """Yield a channel for one change. `takes`: what is changed, and which right that takes."""
        if self._connection is None:
            self._connection = connect_once(self._nodes, self._name)
        broker = facts_of(self._connection.server_properties)
        try:
            channel = self._connection.channel()
            yield channel, Declaration(self._topology, "create", broker=broker)
            channel.close()
        except BrokerError as error:
            if closes_connection(error):
                self.close()
            if isinstance(error, TopologyMismatchError) and is_denied(error.__cause__):
                told = " ".join(str(getattr(error.__cause__, "reply_text", "")).split())
                raise DeniedError(f"{takes}: grant what is missing ({told})") from None
            raise
        except (OSError, amqp.AMQPError) as error:
            self.close()
            raise BrokerUnavailableError(f"the connection was lost: {describe_error(error)}") from None


def _subject(kind: str, name: str, binding: BindingSpec) -> str:
    return f"{kind} {name!r}, binding {binding.binding_key!r} from exchange {binding.exchange!r}"


def _takes_to_bind(subject: str) -> str:
    return f"{subject}: it takes the right to write to the one, and to read the other"


def _raise(_: ExchangeSpec, error: BrokerError) -> None:
    raise error
