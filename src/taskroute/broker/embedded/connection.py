"""EmbeddedConnection: a connection to an embedded broker, with the surface of py-amqp's."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import amqp
from amqp.exceptions import ChannelError, error_for_code
from amqp.exceptions import ConnectionError as AmqpConnectionError

from taskroute.broker.embedded.channel import Channel
from taskroute.broker.embedded.channel_state import ChannelState
from taskroute.broker.embedded.engine import Broker
from taskroute.broker.embedded.engine_events import Closed, Event
from taskroute.broker.embedded.event_stream import EventStream
from taskroute.broker.embedded.incoming import dispatch
from taskroute.broker.embedded.refusal import Refusal


class EmbeddedConnection:
    """A connection to an embedded broker. One thread uses it.

    The broker's events wait in its stream until that thread drains them.
    """

    heartbeat = 0
    frame_max = 131_072
    """What RabbitMQ's is by default. Nothing here is cut into frames."""
    channel_max = 65_535
    bytes_recv = 0
    """Always 0: nothing is read ahead, and every event makes the descriptor readable."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.server_properties: dict[str, object] = {"product": "RabbitMQ", "version": broker.rules.release}
        self.client: Any = None
        self._stream: EventStream[Event] = EventStream()
        self._channels: dict[object, Channel] = {}
        self._channel_ids = itertools.count(1)
        self._open = True
        try:
            broker.connect(self, self._stream.put)
        except Refusal as refusal:
            self._stream.close()
            raise _error(refusal, AmqpConnectionError) from None

    @property
    def connected(self) -> bool:
        """Whether it can be used."""
        return self._open

    @property
    def sock(self) -> Any:
        """An object whose `fileno` is readable while there are events."""
        return self._stream

    def channel(self, channel_id: int | None = None) -> Channel:
        """Open a channel."""
        self.check_open()
        return Channel(self, channel_id or next(self._channel_ids))

    def drain_events(self, timeout: float | None = None) -> None:
        """Handle one event; wait up to `timeout` seconds for it, without limit if it is None.

        Raises:
            TimeoutError: there was none in time.
            amqp.AMQPError: the broker has closed the channel, a consumer or the connection.
        """
        self.check_open()
        event = self._stream.take(timeout)
        if isinstance(event, Closed):
            raise self._closed(event)
        channel = self._channels.get(event.channel)
        if channel is not None:  # else it was closed since, and the event is void
            dispatch(event, channel)

    def drain_available(self, most: int) -> bool:
        """Handle the events that there are, `most` at most; return whether there may be more."""
        try:
            for _ in range(most):
                self.drain_events(timeout=0)
        except TimeoutError:
            return False
        return True

    def write_together(self, write: Callable[[], None]) -> None:
        """Call `write`: nothing here gains by being sent together."""
        write()

    def heartbeat_tick(self, rate: int = 2) -> None:
        """Do nothing: there is no network that could fail."""

    def close(self, *_: object, **__: object) -> None:
        """Close every channel; unsettled messages go back to their queues, exclusive queues are deleted."""
        if self._open:
            self.closed_by_broker()
        self._stream.close()

    collect = close

    def closed_by_broker(self) -> None:
        """Close every channel and leave the broker. The file descriptor stays until `close`."""
        channels = tuple(self._channels.values())
        self.broker.close_channels([channel.state for channel in channels])  # none gets what another one has lost
        for channel in channels:
            channel.close()
        self._open = False
        self.broker.disconnect(self)

    def open(self, channel: Channel) -> ChannelState:
        """Return the broker's side of a channel. Its events go to `channel`, until `forget`."""
        state = ChannelState(self, self._stream.put)
        self._channels[state] = channel
        return state

    def forget(self, state: ChannelState) -> None:
        """Make the events of a closed channel void."""
        self._channels.pop(state, None)

    def hears(self, state: ChannelState) -> bool:
        """Return whether the events of a channel still count."""
        return state in self._channels

    def check_open(self) -> None:
        """Raise what py-amqp raises once the connection is closed."""
        if not self._open:
            raise amqp.RecoverableConnectionError("connection already closed")

    def _closed(self, event: Closed) -> Exception:
        if event.channel is not None:
            return _error(event.refusal, ChannelError)
        self.closed_by_broker()
        return _error(event.refusal, AmqpConnectionError)


def _error(refusal: Refusal, default: type[Exception]) -> Exception:
    error: Exception = error_for_code(refusal.code, str(refusal), (0, 0), default)
    return error
