"""What the broker has to say to a channel: events become the calls and errors of py-amqp.

Every function runs on the thread that drains the connection, and calls what the channel's user has registered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import amqp
from amqp import spec
from amqp.exceptions import ChannelError, ConsumerCancelled, error_for_code

from taskroute.broker.embedded.engine_events import Cancelled, Confirmed, Delivered, Returned
from taskroute.broker.embedded.wire import copied_properties
from taskroute.message.delivery import Flaw


class Receiver(Protocol):
    """What events need of a channel, by py-amqp's names."""

    auto_decode: bool
    callbacks: dict[str, Callable[[Any], Any]]
    events: dict[str, set[Callable[..., Any]]]

    def basic_reject(self, delivery_tag: int, requeue: bool) -> None:
        """Put a delivery back, or have it dead-lettered."""

    def forget_consumer(self, consumer_tag: str) -> Callable[[str], Any] | None:
        """Call nothing for a consumer from now on; return what it wants called when it is cancelled."""


class Received(amqp.Message):  # type: ignore[misc]
    """A message as it is delivered."""

    malformed: Flaw | None = None
    """Always None: it was never encoded."""


def dispatch(event: Delivered | Confirmed | Returned | Cancelled, channel: Receiver) -> None:
    """Act on an event of a channel.

    Raises:
        amqp.AMQPError: a message was returned, or a consumer cancelled, and no callback is registered for that.
    """
    match event:
        case Delivered():
            _deliver(event, channel)
        case Confirmed():
            _confirm(event, channel)
        case Returned():
            _return(event, channel)
        case Cancelled():
            _cancel(event, channel)


def received(event: Delivered, channel: Receiver) -> Any:
    """Return the message of a delivery. Its properties are a copy, which the receiver may change."""
    stored = event.message
    properties = copied_properties(stored.properties)
    if event.counts:
        headers = properties.setdefault("application_headers", {})
        assert isinstance(headers, dict)  # noqa: S101 - copied_properties made it
        headers |= event.counts
    message = Received(stored.body, channel=channel)
    message.properties = properties  # as options they would be copied again
    message.delivery_info = {
        "consumer_tag": event.consumer_tag,
        "delivery_tag": event.delivery_tag,
        "redelivered": event.redelivered,
        "exchange": stored.exchange,
        "routing_key": stored.routing_key,
    }
    encoding = properties.get("content_encoding")
    if channel.auto_decode and isinstance(encoding, str):
        message.body = _text_or_bytes(stored.body, encoding)
    return message


def _deliver(event: Delivered, channel: Receiver) -> None:
    callback = channel.callbacks.get(event.consumer_tag)
    if callback is None:  # cancelled while the message was on its way
        channel.basic_reject(event.delivery_tag, requeue=True)
    else:
        callback(received(event, channel))


def _confirm(event: Confirmed, channel: Receiver) -> None:
    for callback in tuple(channel.events["basic_ack" if event.accepted else "basic_nack"]):
        callback(event.delivery_tag, False)


def _return(event: Returned, channel: Receiver) -> None:
    error = error_for_code(event.code, event.text, spec.Basic.Return, ChannelError)
    callbacks = channel.events["basic_return"]
    if not callbacks:
        raise error
    stored = event.message
    message = amqp.Message(stored.body, **copied_properties(stored.properties))
    for callback in tuple(callbacks):
        callback(error, stored.exchange, stored.routing_key, message)


def _cancel(event: Cancelled, channel: Receiver) -> None:
    on_cancel = channel.forget_consumer(event.consumer_tag)
    if on_cancel is None:
        raise ConsumerCancelled(event.consumer_tag, spec.Basic.Cancel)
    on_cancel(event.consumer_tag)


def _text_or_bytes(body: bytes, encoding: str) -> str | bytes:
    try:
        return body.decode(encoding)
    except (LookupError, ValueError):
        return body  # as py-amqp does
