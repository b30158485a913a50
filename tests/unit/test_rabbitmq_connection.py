"""RabbitMQConnection: what it does otherwise than py-amqp's."""

from __future__ import annotations

import amqp
import pytest
from amqp import spec

from taskroute.broker.connection import RabbitMQConnection
from taskroute.broker.dial import tell_nobody


@pytest.fixture
def connection() -> RabbitMQConnection:
    return RabbitMQConnection(on_created=lambda _: None, on_step=tell_nobody)


def test_what_still_comes_on_a_closed_channel_is_dropped(connection: RabbitMQConnection) -> None:
    """As RabbitMQ 4.3 delivers after it has closed a channel over an acknowledgement that is late."""
    connection.on_inbound_method(7, spec.Basic.Deliver, b"", None)


def test_what_comes_on_a_closed_connection_raises(connection: RabbitMQConnection) -> None:
    connection.collect()

    with pytest.raises(amqp.RecoverableConnectionError):
        connection.on_inbound_method(7, spec.Basic.Deliver, b"", None)
