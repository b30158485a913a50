"""Connecting: from a broker URL to one open connection, of RabbitMQ or of an embedded broker.

Both have the surface of `broker.amqp.Connection`; nothing above this module asks which one it is.
"""

from __future__ import annotations

import _socket
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from amqp.exceptions import ResourceError
from kombu.transport import pyamqp

from taskroute.broker.amqp import Connection, NoChannelLeftError
from taskroute.broker.dial import Progress, tell_nobody
from taskroute.broker.frames import Content, CooperativeTransport, PlainTransport, TlsTransport, frame_handler
from taskroute.broker.rabbitmq_channel import RabbitMQChannel
from taskroute.broker.url import BrokerUrl
from taskroute.foreign import Log

log = Log("taskroute.broker")

CONNECT_TIMEOUT: Final = 10.0
"""Seconds for each step of connecting."""

_ACKNOWLEDGE_TIMEOUT_MS: Final = 60_000


def connect(
    url: BrokerUrl,
    *,
    name: str,
    heartbeat: float,
    timeout: float | None = None,
    topology_digest: str | None = None,
    on_blocked: Callable[[str], object] = lambda _: None,
    on_unblocked: Callable[[], object] = lambda: None,
    on_created: Callable[[Connection], object] = lambda _: None,
    on_step: Progress = tell_nobody,
) -> Connection:
    """Open a connection; one attempt.

    Args:
        url: of the node.
        name: of the connection, for people.
        heartbeat: seconds that are asked for.
        timeout: seconds for each answer of the node; left out, what the heartbeat makes of it.
        topology_digest: tells people which topology this process has declared.
        on_blocked: called with the reason when the broker reads no publishes any more.
        on_unblocked: called when it reads them again.
        on_created: is given the connection before it is connected, which may take a while.
        on_step: is told what is waited for, here and at each later call that the broker must answer.

    Raises:
        BrokerUrlError: the embedded broker of that name follows another version.
        OSError: the node cannot be reached, or did not answer in time.
        amqp.AMQPError: it refused us.
        ssl.SSLError: its certificate is not trusted, or is for another host.
    """
    if url.scheme == "memory":
        return _embedded(url, on_created)
    version = sys.modules["taskroute"].__version__  # loaded before any module in it; an import would be a circle
    properties = {"connection_name": name, "product": "taskroute", "product_version": version}
    if topology_digest is not None:
        properties["topology_digest"] = topology_digest
    patience = max(heartbeat * 2, CONNECT_TIMEOUT) if timeout is None else timeout
    connection = RabbitMQConnection(
        on_created=on_created,
        on_step=on_step,
        on_blocked=on_blocked,
        on_unblocked=on_unblocked,
        host=f"{url.host}:{url.port}",
        userid=url.user,
        password=url.password,
        login_method="PLAIN",
        virtual_host=url.virtual_host,
        ssl=False if url.tls is None else {"context": url.tls, "server_hostname": url.host},
        client_properties=properties,
        heartbeat=heartbeat,
        connect_timeout=min(CONNECT_TIMEOUT, patience),
        # Ends a blocking read or write by itself, for an answer that never comes.
        read_timeout=patience,
        write_timeout=patience,
        # py-amqp's default kills a connection after one second without an acknowledgement by TCP.
        socket_settings={socket.TCP_USER_TIMEOUT: _ACKNOWLEDGE_TIMEOUT_MS},
    )
    connection.connect()
    return connection


def _embedded(url: BrokerUrl, on_created: Callable[[Connection], object]) -> Connection:
    # Pay for it only where it is used.
    from taskroute.broker.embedded.brokers import broker  # noqa: PLC0415
    from taskroute.broker.embedded.connection import EmbeddedConnection  # noqa: PLC0415

    connection: Any = EmbeddedConnection(broker(url.host, url.rabbitmq))
    try:
        on_created(connection)
    except BaseException:
        connection.close()
        raise
    opened: Connection = connection
    return opened


def sever(connection: Connection | None) -> None:
    """Shut the socket of a connection down, which may still be connecting. For another thread than its own."""
    # Not `connection.sock`: py-amqp connects anew when it is asked for one that it does not have.
    sock = getattr(getattr(connection, "_transport", None), "sock", None)
    if isinstance(sock, socket.socket):
        try:
            # Not the method of a TLS socket, which would have the thread go on in the clear.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            return


def collect(connection: Connection) -> None:
    """Drop a connection without a word to the broker, which may not be there to answer."""
    try:
        connection.collect()
    except Exception as error:  # noqa: BLE001 - nothing more can be done for it
        log.debug("collect_failed error=%s", type(error).__name__)


class RabbitMQConnection(pyamqp.Connection):
    """A connection with the surface of `broker.amqp.Connection`."""

    Channel = RabbitMQChannel
    frame_max = 0
    """As agreed with the broker."""

    def __init__(self, *, on_created: Callable[[Any], object], on_step: Progress, **options: Any) -> None:
        self.incoming: dict[int, Content] = {}
        super().__init__(frame_handler=partial(frame_handler, incoming=self.incoming), **options)
        self.on_step = on_step
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
        # Those of the process: gevent may have replaced them.
        plain = PlainTransport if issubclass(socket.socket, _socket.socket) else CooperativeTransport
        kind: Any = TlsTransport if ssl else plain
        options |= {"ssl": ssl} if ssl else {}
        transport = kind(
            host, connect_timeout=connect_timeout, read_timeout=read_timeout, write_timeout=write_timeout, **options
        )
        transport.on_step = self.on_step
        return transport

    def on_inbound_method(self, channel_id: int, method_sig: Any, payload: bytes, content: Any) -> None:
        """Like py-amqp's, but drops what the broker still sends on a channel that it has closed.

        RabbitMQ 4.3 delivers a message again on a channel that it closes as the acknowledgement is late.
        """
        channels = self.channels
        if channels is None:
            super().on_inbound_method(channel_id, method_sig, payload, content)
        elif (channel := channels.get(channel_id)) is not None:
            channel.dispatch_method(method_sig, payload, content)

    def _on_start(self, *arguments: Any) -> None:
        super()._on_start(*arguments)
        self.on_step("waiting for the broker's connection.tune, its answer to the login")

    def _on_tune(self, *arguments: Any) -> None:
        super()._on_tune(*arguments)
        self.on_step("waiting for the broker's connection.open-ok, its answer to the virtual host")

    def _get_free_channel_id(self) -> int:
        try:
            number: int = super()._get_free_channel_id()
        except ResourceError:
            raise NoChannelLeftError(
                f"the broker allows {self.channel_max} channels on a connection (channel_max), and one more is "
                f"needed: raise that limit in its configuration"
            ) from None
        return number
