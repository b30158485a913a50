"""Once: a connection for one errand, to the first node that can be reached. The caller's thread owns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import amqp

from taskroute.broker.amqp import Connection
from taskroute.broker.connection import connect
from taskroute.broker.endings import is_login_refused
from taskroute.broker.link import MEND_LOGIN, describe_error
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerUnavailableError

HEARTBEAT: Final = 30.0


def connect_once(nodes: Sequence[BrokerUrl], name: str, timeout: float | None = None) -> Connection:
    """Open a connection; one attempt at each node.

    Args:
        nodes: the first one that can be reached is taken.
        name: of the connection, for people.
        timeout: seconds for each answer of a node; left out, as for `connect`.

    Raises:
        BrokerUnavailableError: no node can be reached.
    """
    problems, refusals = [], 0
    for node in nodes:
        try:
            return connect(node, name=name, heartbeat=HEARTBEAT, timeout=timeout)
        except (OSError, amqp.AMQPError) as error:
            problems.append(f"{node}: {describe_error(error)}")
            if isinstance(error, amqp.AMQPError) and is_login_refused(error.reply_code, str(error.reply_text)):
                refusals += 1
    way_out = f"; {MEND_LOGIN}" if refusals == len(nodes) else ""
    raise BrokerUnavailableError(f"no connection to {'; '.join(problems)}{way_out}")
