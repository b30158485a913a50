"""Transport: embedded brokers by name, for kombu: ``Connection(hostname="NAME", transport=Transport)``."""

from __future__ import annotations

from typing import Any

import amqp
from kombu.transport import base

from taskroute.broker.embedded.brokers import DEFAULT_NAME, broker, create, drop
from taskroute.broker.embedded.channel import Channel
from taskroute.broker.embedded.connection import EmbeddedConnection

__all__ = ["Transport", "broker", "create", "drop"]


class Transport(base.Transport):
    """kombu's transport over embedded brokers. The host name names the broker.

    The option ``rabbitmq`` (``transport_options={"rabbitmq": "3.10"}``) is the version of RabbitMQ that it follows.
    """

    Connection = EmbeddedConnection

    connection_errors = amqp.Connection.connection_errors
    channel_errors = amqp.Connection.channel_errors
    recoverable_connection_errors = amqp.Connection.recoverable_connection_errors
    recoverable_channel_errors = amqp.Connection.recoverable_channel_errors

    driver_name = "taskroute"
    driver_type = "memory"

    def establish_connection(self) -> EmbeddedConnection:
        """Connect to the broker that the host name names."""
        client: Any = self.client
        version = client.transport_options.get("rabbitmq")
        connection = EmbeddedConnection(broker(client.hostname or DEFAULT_NAME, version))
        connection.client = client
        return connection

    def create_channel(self, connection: EmbeddedConnection) -> Channel:
        """Open a channel."""
        return connection.channel()

    def drain_events(self, connection: EmbeddedConnection, **options: Any) -> None:
        """Handle one event of a connection."""
        connection.drain_events(**options)

    def close_connection(self, connection: EmbeddedConnection) -> None:
        """Close a connection."""
        connection.client = None
        connection.close()

    def verify_connection(self, connection: EmbeddedConnection) -> bool:
        """Return whether a connection can be used."""
        return connection.connected
