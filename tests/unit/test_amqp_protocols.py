"""Connection and Channel: RabbitMQ's client and the embedded broker have all that the protocols say.

mypy cannot tell for RabbitMQ's, whose base classes have no types.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from taskroute.broker import amqp
from taskroute.broker.connection import RabbitMQConnection
from taskroute.broker.embedded.channel import Channel as EmbeddedChannel
from taskroute.broker.embedded.connection import EmbeddedConnection
from taskroute.broker.rabbitmq_channel import RabbitMQChannel

PAIRS = [
    (amqp.Connection, RabbitMQConnection),
    (amqp.Connection, EmbeddedConnection),
    (amqp.Channel, RabbitMQChannel),
    (amqp.Channel, EmbeddedChannel),
]
MEMBERS = [
    pytest.param(protocol, kind, name, id=f"{kind.__name__}.{name}")
    for protocol, kind in PAIRS
    for name, member in vars(protocol).items()
    if not name.startswith("_") and (inspect.isfunction(member) or isinstance(member, property))
]


@pytest.mark.parametrize(("protocol", "kind", "name"), MEMBERS)
def test_broker_takes_every_call_that_the_protocol_allows(protocol: Any, kind: Any, name: str) -> None:
    assert hasattr(kind, name)
    if isinstance(vars(protocol)[name], property):
        return
    offered = inspect.signature(getattr(kind, name))
    for parameters in calls(vars(protocol)[name]):
        positional = [None for each in parameters if each.kind is not each.KEYWORD_ONLY]
        by_name = {each.name: None for each in parameters if each.kind is each.KEYWORD_ONLY}
        offered.bind(*positional, **by_name)


def calls(method: Any) -> list[list[inspect.Parameter]]:
    """Return the parameters of a call that names everything, and of one that leaves out what has a default."""
    parameters = list(inspect.signature(method).parameters.values())
    return [parameters, [each for each in parameters if each.default is each.empty]]
