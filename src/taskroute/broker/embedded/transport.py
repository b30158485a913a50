"""Transport: embedded brokers by name, for kombu: ``Connection(hostname="NAME", transport=Transport)``."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, Final

import amqp
from amqp.exceptions import ChannelError, error_for_code
from amqp.exceptions import ConnectionError as AmqpConnectionError
from kombu.transport import base

from taskroute.broker.embedded import engine, engine_events
from taskroute.broker.embedded.channel import Channel
from taskroute.broker.embedded.channel_state import ChannelState
from taskroute.broker.embedded.clock import Clock
from taskroute.broker.embedded.event_stream import EventStream
from taskroute.broker.embedded.refusal import Refusal

_DEFAULT_NAME: Final = "default"


class _Brokers:
    """The process's embedded brokers, by name: what the network is to other brokers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._brokers: dict[str, engine.Broker] = {}

    def get(self, name: str) -> engine.Broker:
        with self._lock:
            broker = self._brokers.get(name)
            if broker is None:
                broker = self._brokers[name] = engine.Broker(name)
            return broker

    def create(self, name: str, clock: Clock) -> engine.Broker:
        with self._lock:
            if name in self._brokers:
                raise ValueError(f"the embedded broker {name!r} exists already; drop it first")
            broker = self._brokers[name] = engine.Broker(name, clock)
            return broker

    def drop(self, name: str) -> None:
        with self._lock:
            broker = self._brokers.pop(name, None)
        if broker is not None:
            broker.close()


_BROKERS: Final = _Brokers()


def broker(name: str = _DEFAULT_NAME) -> engine.Broker:
    """Return the process's embedded broker of that name; it comes into being with its first use."""
    return _BROKERS.get(name)


def create(name: str, clock: Clock) -> engine.Broker:
    """Make an embedded broker with a clock of its own.

    Raises:
        ValueError: there is one of that name.
    """
    return _BROKERS.create(name, clock)


def drop(name: str = _DEFAULT_NAME) -> None:
    """Forget an embedded broker with all it holds; whoever is connected is told that the connection is closed."""
    _BROKERS.drop(name)


class EmbeddedConnection:
    """A connection to an embedded broker, with the surface of py-amqp's. One thread uses it."""

    heartbeat = 0
    bytes_recv = 0
    """Nothing is read ahead: whatever there is makes the descriptor readable."""

    def __init__(self, embedded_broker: engine.Broker) -> None:
        self.broker = embedded_broker
        self.client: Any = None
        self._stream: EventStream[engine_events.Event] = EventStream()
        self._channels: dict[object, Channel] = {}
        self._channel_ids = itertools.count(1)
        self._open = True
        try:
            embedded_broker.connect(self, self._stream.put)
        except Refusal as refusal:
            self._stream.close()
            raise _error(refusal) from None

    @property
    def connected(self) -> bool:
        """Whether it can be used."""
        return self._open

    @property
    def sock(self) -> Any:
        """Something with a `fileno` that is readable while there are events."""
        return self._stream

    def channel(self, channel_id: int | None = None) -> Channel:
        """Open a channel."""
        self.check_open()
        return Channel(self, channel_id or next(self._channel_ids))

    def drain_events(self, timeout: float | None = None) -> None:
        """Handle one event; wait for it up to `timeout` seconds, None for as long as it takes.

        Raises:
            TimeoutError: there was none.
            amqp.AMQPError: the broker has closed the channel, a consumer or the connection.
        """
        self.check_open()
        event = self._stream.take(timeout)
        if isinstance(event, engine_events.Closed):
            if event.channel is None:
                self.closed_by_broker()
                raise _error(event.refusal)
            raise error_for_code(event.refusal.code, str(event.refusal), (0, 0), ChannelError)
        channel = self._channels.get(event.channel)
        if channel is not None:  # else it was closed since, and the event is void
            channel.dispatch(event)

    def drain_available(self, most: int) -> bool:
        """Handle the events there are, `most` at most; whether there may be more."""
        try:
            for _ in range(most):
                self.drain_events(timeout=0)
        except TimeoutError:
            return False
        return True

    def write_together(self, write: Callable[[], None]) -> None:
        """Call `write`."""
        write()

    def heartbeat_tick(self, rate: int = 2) -> None:
        """Nothing: there is no network that could fail."""

    def close(self, *_: object, **__: object) -> None:
        """Close every channel; unsettled messages go back, exclusive queues are deleted."""
        if self._open:
            self.closed_by_broker()
        self._stream.close()

    collect = close

    def closed_by_broker(self) -> None:
        """Take note that the broker has closed the connection; its file descriptor stays until `close`."""
        for channel in tuple(self._channels.values()):
            channel.close()
        self._open = False
        self.broker.disconnect(self)

    def open(self, channel: Channel) -> ChannelState:
        """Return the broker's side of a channel; what it posts is given to `channel`, until `forget`."""
        state = ChannelState(self, self._stream.put)
        self._channels[state] = channel
        return state

    def forget(self, state: ChannelState) -> None:
        """Take note that a channel is closed: what was posted for it is void."""
        self._channels.pop(state, None)

    def check_open(self) -> None:
        """Raise what py-amqp raises once the connection is closed."""
        if not self._open:
            raise amqp.RecoverableConnectionError("connection already closed")


def _error(refusal: Refusal) -> Exception:
    error: Exception = error_for_code(refusal.code, str(refusal), (0, 0), AmqpConnectionError)
    return error


class Transport(base.Transport):
    """kombu's transport over embedded brokers. The host name names the broker."""

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
        connection = EmbeddedConnection(broker(client.hostname or _DEFAULT_NAME))
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
        """Whether a connection can be used."""
        return connection.connected
