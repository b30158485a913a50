"""Connecting: from a broker URL to one open connection, of RabbitMQ or of an embedded broker.

Both have the surface of `broker.amqp.Connection`; nothing above this module asks which one it is.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any, Final

from kombu.connection import Connection as Client
from kombu.transport import pyamqp

from taskroute.broker.amqp import Connection
from taskroute.broker.frames import PlainTransport, TlsTransport, frame_handler
from taskroute.broker.rabbitmq_channel import RabbitMQChannel
from taskroute.broker.url import BrokerUrl

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for each step of connecting."""

_ACKNOWLEDGE_TIMEOUT_MS: Final = 60_000


def connect(
    url: BrokerUrl,
    *,
    name: str,
    heartbeat: float,
    on_blocked: Callable[[str], object] = lambda _: None,
    on_unblocked: Callable[[], object] = lambda: None,
    on_created: Callable[[Connection], object] = lambda _: None,
) -> Connection:
    """Open a connection; one attempt. `on_created` is given it before it is connected, which may take a while.

    Raises:
        OSError: the node cannot be reached, or did not answer in time.
        amqp.AMQPError: it refused us.
        ssl.SSLError: its certificate is not trusted, or is for another host.
    """
    callbacks = {"on_blocked": on_blocked, "on_unblocked": on_unblocked, "on_created": on_created}
    connection: Connection = _client(url, name, heartbeat, callbacks).transport.establish_connection()
    return connection


def _client(url: BrokerUrl, name: str, heartbeat: float, callbacks: Mapping[str, object]) -> Any:
    if url.scheme == "memory":
        from taskroute.broker.embedded.transport import Transport  # noqa: PLC0415 - pay for it only where it is used

        return Client(hostname=url.host, transport=Transport)  # type: ignore[no-untyped-call]
    return Client(  # type: ignore[no-untyped-call]
        hostname=url.host,
        port=url.port,
        userid=url.user,
        password=url.password,
        virtual_host=url.virtual_host,
        ssl=False if url.tls is None else {"context": url.tls, "server_hostname": url.host},
        transport=_Transport,
        heartbeat=heartbeat,
        connect_timeout=CONNECT_TIMEOUT,
        transport_options={
            "client_properties": {"connection_name": name, "product": "taskroute"},
            **callbacks,
            # Ends a blocking read or write by itself, for an answer that never comes.
            "read_timeout": max(heartbeat * 2, CONNECT_TIMEOUT),
            "write_timeout": max(heartbeat * 2, CONNECT_TIMEOUT),
            # py-amqp's default kills a connection after one second without an acknowledgement by TCP.
            "socket_settings": {socket.TCP_USER_TIMEOUT: _ACKNOWLEDGE_TIMEOUT_MS},
        },
    )


class RabbitMQConnection(pyamqp.Connection):
    """A connection with the surface of `broker.amqp.Connection`."""

    Channel = RabbitMQChannel

    def __init__(self, *, on_created: Callable[[Any], None], **options: Any) -> None:
        super().__init__(frame_handler=frame_handler, **options)
        on_created(self)

    def drain_available(self, most: int) -> bool:
        """Handle what has come, `most` methods at most; return whether there may be more."""
        handled = 0
        for frame in self.transport.arrived():
            handled += self.on_inbound_frame(frame)
            if handled == most:
                return True
        return False

    def write_together(self, write: Callable[[], None]) -> None:
        """Call `write`, and send in one go what it has written."""
        self.transport.hold()
        write()
        self.transport.send_held()

    @property
    def bytes_recv(self) -> int:
        """Bytes read so far, for heartbeats. py-amqp counts frames, so that one big frame looks like silence."""
        return getattr(self._transport, "bytes_read", 0)

    def Transport(  # noqa: N802 - py-amqp's name
        self,
        host: str,
        connect_timeout: float,
        ssl: Any = False,
        read_timeout: float | None = None,
        write_timeout: float | None = None,
        **options: Any,
    ) -> Any:
        """Return the transport for a socket, as py-amqp asks for it."""
        kind = TlsTransport if ssl else PlainTransport
        options |= {"ssl": ssl} if ssl else {}
        return kind(
            host, connect_timeout=connect_timeout, read_timeout=read_timeout, write_timeout=write_timeout, **options
        )


class _Transport(pyamqp.Transport):
    Connection = RabbitMQConnection
