"""Depths: how much is in each of some queues, asked once, on a connection for that. The caller's thread owns it.

It looks, by passive declarations, and creates nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import amqp

from taskroute.broker.amqp import Connection
from taskroute.broker.connection import collect
from taskroute.broker.endings import Ending, ending_of
from taskroute.broker.link import describe_error
from taskroute.broker.once import connect_once
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerUnavailableError

Absence = Literal["absent", "denied", "unavailable"]

_ABSENCES: Final[Mapping[Ending, Absence]] = {
    "mismatch": "absent",
    "denied": "denied",
    "refused": "denied",
    "unavailable": "unavailable",
}


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue as it was a moment ago.

    Attributes:
        ready: messages that wait for a consumer.
        consumers: how many there are.
    """

    ready: int
    consumers: int


def ask_depths(
    nodes: Sequence[BrokerUrl], queues: Iterable[str], *, name: str = "taskroute", timeout: float | None = None
) -> dict[str, Depth | Absence]:
    """Return the depth of each queue, or why it has none for us.

    Args:
        nodes: the first one that can be reached is asked.
        queues: names.
        name: of the connection, for people.
        timeout: seconds for each answer of a node; left out, as for `connect`.

    Raises:
        BrokerUnavailableError: no node can be reached, or the connection was lost.
    """
    pending = list(queues)
    found: dict[str, Depth | Absence] = {}
    while pending:
        connection = connect_once(nodes, name, timeout)
        try:
            found |= _ask(connection, pending)
            connection.close()
        except (OSError, amqp.AMQPError) as error:
            raise BrokerUnavailableError(f"the connection was lost: {describe_error(error)}") from None
        finally:
            collect(connection)
        pending = [queue for queue in pending if queue not in found]
    return found


def ask_exchanges(nodes: Sequence[BrokerUrl], exchanges: Iterable[str], *, name: str) -> dict[str, Absence | None]:
    """Return for each exchange why it is not there for us, None if it is. Arguments and errors as `ask_depths`."""
    found: dict[str, Absence | None] = {}
    connection = connect_once(nodes, name)
    try:
        channel = connection.channel()
        for exchange in exchanges:
            try:
                channel.exchange_declare(
                    exchange, "topic", passive=True, durable=True, auto_delete=False, internal=False, arguments={}
                )
            except amqp.ChannelError as error:
                ending = ending_of(error.reply_code, str(error.reply_text))
                if ending is None:
                    raise
                found[exchange] = _ABSENCES[ending]
            else:
                found[exchange] = None
        connection.close()
    except (OSError, amqp.AMQPError) as error:
        raise BrokerUnavailableError(f"the connection was lost: {describe_error(error)}") from None
    finally:
        collect(connection)
    return found


def _ask(connection: Connection, queues: Iterable[str]) -> dict[str, Depth | Absence]:
    """Return what was found until the last queue, or until the broker closed the connection over one."""
    found: dict[str, Depth | Absence] = {}
    channel = connection.channel()
    for queue in queues:
        try:
            declared = channel.queue_declare(queue, passive=True)
        except amqp.AMQPError as error:
            ending = ending_of(error.reply_code, str(error.reply_text))
            if ending is None:
                raise
            found[queue] = _ABSENCES[ending]
            if not isinstance(error, amqp.ChannelError):
                return found
        else:
            found[queue] = Depth(declared.message_count, declared.consumer_count)
    return found
