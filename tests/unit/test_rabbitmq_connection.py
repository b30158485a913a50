"""RabbitMQConnection: what it does otherwise than py-amqp's."""

from __future__ import annotations

import struct
from typing import Any

import amqp
import pytest
from amqp import spec

from taskroute.broker.connection import RabbitMQConnection
from taskroute.broker.dial import tell_nobody
from taskroute.broker.rabbitmq_channel import RabbitMQChannel


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


def test_channel_is_receiving_until_its_message_is_complete(connection: Any) -> None:
    on_frame = connection.frame_handler_cls(connection, connection.on_inbound_method)  # as its `connect` does
    channel, other = (RabbitMQChannel(connection, number) for number in (5, 6))
    channel.callbacks["c"] = lambda _: None
    method = struct.pack(">HH", 60, 60) + b"\x01c" + struct.pack(">Q", 7) + b"\x01" + b"\x01e" + b"\x01k"

    seen = []
    for frame in ((1, 5, method), (2, 5, struct.pack(">HHQH", 60, 0, 4, 0)), (3, 5, b"ab"), (3, 5, b"cd")):
        on_frame(frame)
        seen.append(channel.is_receiving)

    assert seen == [True, True, True, False]
    assert not other.is_receiving
