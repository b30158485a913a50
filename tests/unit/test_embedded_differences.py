"""What docs/embedded.md says that the embedded broker refuses, or does otherwise than RabbitMQ: each of it is so."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import amqp
import pytest
from amqp.exceptions import AMQPNotImplementedError, FrameSyntaxError, NotFound

from taskroute.broker.embedded import transport
from taskroute.broker.embedded.clock import ManualClock
from taskroute.broker.embedded.connection import EmbeddedConnection
from taskroute.broker.embedded.dead_lettering import PARKED_RETRY
from taskroute.broker.url import Version

PAGE = Path(__file__).parents[2] / "docs" / "embedded.md"
QUORUM = {"x-queue-type": "quorum"}
HOUR = 3600.0


class Broker:
    """An embedded broker whose time is moved by hand, and one channel in confirm mode."""

    def __init__(self, version: Version | None = None) -> None:
        self.name = f"test-{uuid.uuid4().hex}"
        self.clock = ManualClock()
        transport.create(self.name, self.clock, version)
        self.connection = self.connect()
        self.channel: Any = self.connection.channel()
        self.outcomes: list[str] = []
        self.channel.confirm_select()
        self.channel.events["basic_ack"].add(lambda *_: self.outcomes.append("ack"))
        self.channel.events["basic_nack"].add(lambda *_: self.outcomes.append("nack"))

    def connect(self) -> EmbeddedConnection:
        return EmbeddedConnection(transport.broker(self.name))

    def close(self) -> None:
        self.connection.close()
        transport.drop(self.name)

    def queue(self, name: str = "q", **arguments: Any) -> Any:
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self.channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)

    def publish(self, body: bytes, queue: str = "q", **properties: Any) -> None:
        self.channel.basic_publish(amqp.Message(body, **properties), "", queue)
        self.connection.drain_available(100)

    def ready(self, queue: str = "q") -> int:
        count: int = self.channel.queue_declare(queue, passive=True).message_count
        return count


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


def refused(what: str, ask: Callable[[Broker], object]) -> Callable[[Broker], None]:
    def check(broker: Broker) -> None:
        with pytest.raises(AMQPNotImplementedError, match=what):
            ask(broker)

    return check


def global_prefetch(_: Broker) -> None:
    older_versions: tuple[Version, ...] = ("3.10", "4.0")
    for version in older_versions:
        older = Broker(version)
        with pytest.raises(AMQPNotImplementedError, match="global"):
            older.channel.basic_qos(0, 5, True)
        older.close()


def one_process(broker: Broker) -> None:
    broker.queue()
    transport.drop(broker.name)

    again = EmbeddedConnection(transport.broker(broker.name))
    with pytest.raises(NotFound):
        again.channel().queue_declare("q", passive=True)
    again.close()


def users(broker: Broker) -> None:
    broker.queue()
    broker.publish(b"x", user_id="guest")
    assert broker.ready() == 1


def confirms(broker: Broker) -> None:
    broker.queue()
    for _ in range(3):
        broker.channel.basic_publish(amqp.Message(b"x"), "", "q")
    broker.connection.drain_events(timeout=0)
    assert broker.outcomes == ["ack"]  # one for each


def taken_by_tag(broker: Broker, tag: str) -> list[bytes]:
    bodies: list[bytes] = []
    broker.channel.basic_consume("q", tag, callback=lambda message: bodies.append(message.body))
    broker.connection.drain_available(100)
    return bodies


def single_active_tags(broker: Broker) -> None:
    broker.queue(**QUORUM, x_single_active_consumer=True)
    broker.publish(b"1")
    taken_by_tag(broker, "a")
    broker.channel.basic_cancel("a")
    taken_by_tag(broker, "b")
    again = taken_by_tag(broker, "a")
    broker.channel.basic_cancel("b")
    broker.publish(b"2")
    assert again == [b"2"]


def open_tags(_: Broker) -> None:
    broker = Broker("3.10")
    broker.queue(**QUORUM)
    broker.publish(b"1")
    taken_by_tag(broker, "a")
    broker.channel.basic_cancel("a")
    again = taken_by_tag(broker, "a")
    broker.publish(b"2")
    assert again == [b"2"]
    broker.close()


def quorum_limits(broker: Broker) -> None:
    broker.queue(**QUORUM, x_max_length=1, x_overflow="reject-publish")
    for _ in range(3):
        broker.publish(b"x")
    assert broker.outcomes == ["ack", "nack", "nack"]


def quorum_bytes(broker: Broker) -> None:
    broker.queue(**QUORUM, x_max_length_bytes=20)
    broker.publish(b"x" * 20, application_headers={"long": "header" * 20})
    assert broker.ready() == 1


def quorum_expires(broker: Broker) -> None:
    broker.queue(**QUORUM, x_expires=1000)
    broker.clock.advance(1)
    with pytest.raises(NotFound):
        broker.ready()


def quorum_prefetch(_: Broker) -> None:
    broker = Broker("3.10")
    broker.queue(**QUORUM, x_delivery_limit=0)
    for body in (b"1", b"2", b"3"):
        broker.publish(body)
    broker.channel.basic_qos(0, 1, False)
    broker.channel.basic_consume("q")

    broker.channel.basic_reject(1, requeue=True)

    assert broker.ready() == 1
    broker.close()


def replaced_queues(broker: Broker) -> None:
    broker.queue()
    broker.publish(b"x")
    broker.channel.basic_get("q")
    broker.channel.queue_delete("q")
    broker.queue(**QUORUM)
    broker.publish(b"y")
    assert broker.channel.basic_get("q").body == b"y"


def parked_dead_letters(broker: Broker) -> None:
    broker.queue(
        **QUORUM,
        x_message_ttl=0,
        x_dead_letter_exchange="",
        x_dead_letter_routing_key="later",
        x_dead_letter_strategy="at-least-once",
        x_overflow="reject-publish",
    )
    broker.publish(b"x")
    broker.queue("later")
    broker.clock.advance(PARKED_RETRY)
    assert broker.ready("later") == 1


def consumer_timeout(broker: Broker) -> None:
    broker.queue()
    broker.publish(b"x")
    message = broker.channel.basic_get("q")
    broker.clock.advance(HOUR)
    broker.channel.basic_ack(message.delivery_tag)
    broker.connection.drain_available(1)
    assert broker.ready() == 0


def alarms(broker: Broker) -> None:
    broker.queue()
    broker.publish(b"x", application_headers={"long": "x" * 2 * broker.connection.frame_max})
    assert broker.ready() == 1


def encoding_errors(broker: Broker) -> None:
    for properties in (
        {"priority": 256},
        {"delivery_mode": -1},
        {"timestamp": 2**64},
        {"message_id": "x" * 256},
        {"application_headers": {"n": 2**63}},
        {"application_headers": {"n": [-(2**63) - 1]}},
    ):
        with pytest.raises(FrameSyntaxError):
            broker.channel.basic_publish(amqp.Message(b"", **properties), "", "q")
    with pytest.raises(FrameSyntaxError):
        broker.channel.basic_qos(0, 65_536, False)


def answers(broker: Broker) -> None:
    answer = broker.channel.queue_declare("q", durable=True, auto_delete=False, nowait=True)
    assert answer.queue == "q"
    assert broker.channel.queue_bind("q", "amq.topic", "a") is None
    broker.publish(b"")
    assert broker.channel.basic_get("q").body == b""


def texts(broker: Broker) -> None:
    with pytest.raises(amqp.PreconditionFailed, match="whole number"):
        broker.queue(x_message_ttl="soon")


DIFFERENCES: Final[dict[str, Callable[[Broker], None]]] = {
    "streams": refused("streams", lambda broker: broker.queue(x_queue_type="stream")),
    "exchange-types": refused("x-delayed", lambda broker: broker.channel.exchange_declare("e", "x-delayed-message")),
    "consumer-priorities": refused(
        "x-priority",
        lambda broker: (broker.queue(), broker.channel.basic_consume("q", arguments={"x-priority": 1})),
    ),
    "global-prefetch": global_prefetch,
    "delayed-retries": refused("delays no retries", lambda broker: broker.queue(**QUORUM, x_delayed_retry_type="all")),
    "transactions": refused("transactions", lambda broker: broker.channel.tx_select()),
    "direct-reply-to": refused("reply-to", lambda broker: broker.channel.basic_consume("amq.rabbitmq.reply-to")),
    "one-process": one_process,
    "users": users,
    "confirms": confirms,
    "single-active-tags": single_active_tags,
    "open-tags": open_tags,
    "quorum-limits": quorum_limits,
    "quorum-bytes": quorum_bytes,
    "quorum-expires": quorum_expires,
    "quorum-prefetch": quorum_prefetch,
    "replaced-queues": replaced_queues,
    "parked-dead-letters": parked_dead_letters,
    "consumer-timeout": consumer_timeout,
    "alarms": alarms,
    "encoding-errors": encoding_errors,
    "answers": answers,
    "texts": texts,
}
"""By the name that the page gives a difference, what shows it."""


def test_page_names_each_difference_that_is_shown_here() -> None:
    named = re.findall(r"^- `([a-z-]+)`:", PAGE.read_text(), re.MULTILINE)
    assert sorted(named) == sorted(DIFFERENCES)


@pytest.mark.parametrize("name", DIFFERENCES)
def test_difference_is_as_the_page_says(broker: Broker, name: str) -> None:
    DIFFERENCES[name](broker)
