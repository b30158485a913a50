"""The embedded broker's channel: its checks before the broker sees a call, and its end with its broker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from amqp import ConnectionForced, Message, RecoverableConnectionError
from amqp.exceptions import ChannelError, FrameSyntaxError, MessageNacked
from kombu import Connection

from taskroute.broker.embedded.transport import Transport, drop

LONG_KEY = "k" * 256
"""One byte more than a short string holds."""


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex}"
    yield name
    drop(name)


@pytest.fixture
def connection(name: str) -> Iterator[Any]:
    connection = Connection(hostname=name, transport=Transport).transport.establish_connection()
    yield connection
    connection.close()


@pytest.mark.parametrize(
    "use",
    [
        lambda channel: channel.queue_bind("q", "amq.topic", LONG_KEY),
        lambda channel: channel.queue_unbind("q", "amq.topic", LONG_KEY),
        lambda channel: channel.exchange_bind("amq.fanout", "amq.topic", LONG_KEY),
        lambda channel: channel.exchange_unbind("amq.fanout", "amq.topic", LONG_KEY),
    ],
    ids=["queue_bind", "queue_unbind", "exchange_bind", "exchange_unbind"],
)
def test_binding_key_over_255_bytes_is_refused(connection: Any, use: Callable[[Any], None]) -> None:
    """The client's side refuses it, as py-amqp does, and the channel stays open."""
    channel = connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)

    with pytest.raises(FrameSyntaxError, match="routing_key is not a string of at most 255 bytes"):
        use(channel)

    assert channel.queue_declare("q", passive=True).message_count == 0


def test_dropped_broker_with_auto_delete_queue_closes_its_consumers(name: str, connection: Any) -> None:
    """The queue is gone with its broker, so the end of its last consumer has nothing to delete."""
    channel = connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=True)
    channel.basic_consume("q", callback=print)

    drop(name)

    with pytest.raises(ConnectionForced):
        connection.drain_events(timeout=0)
    assert not connection.connected


@pytest.mark.parametrize(
    "use",
    [
        lambda channel: channel.queue_declare("q", durable=True),
        lambda channel: channel.basic_ack(1),
        lambda channel: channel.basic_qos(prefetch_size=1, prefetch_count=0),
        lambda channel: channel.basic_recover(requeue=False),
        lambda channel: channel.basic_publish(Message(b""), "", "q", immediate=True),
    ],
    ids=["queue_declare", "basic_ack", "basic_qos", "basic_recover", "basic_publish"],
)
def test_closed_channel_raises_recoverable_error(connection: Any, use: Callable[[Any], None]) -> None:
    """A closed channel raises it also for a call that the embedded broker does not implement."""
    channel = connection.channel()
    channel.close()

    with pytest.raises(RecoverableConnectionError, match="channel closed"):
        use(channel)


def test_confirmed_publish_returns_once_confirmed_and_raises_otherwise(connection: Any) -> None:
    """As with py-amqp, what no queue takes is raised, and so is what a full queue rejects."""
    channel = connection.channel()
    channel.queue_declare("q", durable=True, auto_delete=False)
    full = {"x-max-length": 0, "x-overflow": "reject-publish"}
    channel.queue_declare("full", durable=True, auto_delete=False, arguments=full)

    channel.basic_publish_confirm(Message(b"1"), "", "q", mandatory=True)
    assert channel.basic_get("q", no_ack=True).body == b"1"

    with pytest.raises(MessageNacked):
        channel.basic_publish_confirm(Message(b"2"), exchange="", routing_key="full")
    with pytest.raises(ChannelError, match="NO_ROUTE"):
        channel.basic_publish_confirm(Message(b"3"), "", "nowhere", mandatory=True)
