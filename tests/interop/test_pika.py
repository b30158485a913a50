"""Messages between pika and taskroute, both ways, and a queue that both sides declare."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pika
import pytest
from tests.interop.shop import Order, orders, pika_channel, registry_recording, shop, taken_by_pika, topology
from tests.kit.calls import Calls
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE

from taskroute import HandlerRegistry, Message, Publisher, QueueSpec, Topology, Worker

MOMENT = datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)


def test_pika_message_with_every_property_is_handled(rabbitmq_url: str) -> None:
    seen = Calls()
    body = json.dumps({"id": 7, "customer": "Jürgen"}).encode()
    headers = {"x-tenant": "acme", "n": -5, "yes": True, "none": None, "raw": b"\xff", "at": MOMENT, "in": {"a": [1]}}
    properties = pika.BasicProperties(
        content_type="application/json",
        content_encoding="utf-8",
        headers=headers,
        delivery_mode=pika.DeliveryMode.Persistent.value,
        message_id="m-1",
        correlation_id="c-1",
        type="order",
        reply_to="answers",
        priority=3,
        timestamp=int(MOMENT.timestamp()),
        app_id="legacy",
    )

    with Worker(rabbitmq_url, topology, registry_recording(seen)), pika_channel(rabbitmq_url) as channel:
        channel.basic_publish("shop", "order.paid", body, properties, mandatory=True)
        ((order, action, tenant, message),) = seen.wait()

    assert (order, action, tenant) == (Order(id=7, customer="Jürgen"), "paid", "acme")
    # AMQP's timestamps have no time zone: in a header they are UTC and do not say so.
    assert dict(message.headers) == {**headers, "at": MOMENT.replace(tzinfo=None)}
    assert message == Message(
        body=body,
        routing_key="order.paid",
        exchange="shop",
        queue="orders",
        headers=message.headers,
        message_id="m-1",
        correlation_id="c-1",
        type="order",
        content_type="application/json",
        timestamp=MOMENT,
        reply_to="answers",
        priority=3,
    )


def test_pika_message_without_properties_is_handled_as_json(rabbitmq_url: str) -> None:
    seen = Calls()

    with Worker(rabbitmq_url, topology, registry_recording(seen)), pika_channel(rabbitmq_url) as channel:
        channel.basic_publish("shop", "order.paid", b'{"id": 7, "customer": "x"}', mandatory=True)
        ((order, action, tenant, message),) = seen.wait()

    assert (order, action, tenant) == (Order(id=7, customer="x"), "paid", "none")
    assert (message.message_id, message.content_type, message.timestamp) == (None, None, None)
    assert dict(message.headers) == {}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b' {"id" : "many", "customer": "J\xc3\xbcrgen"}', "invalid_body"),
        (b' {"id" : 7, "customer": "J\\u00FCrgen"}\n', "handler_error"),
    ],
)
def test_pika_message_is_dead_lettered_with_body_and_properties(body: bytes, reason: str, rabbitmq_url: str) -> None:
    registry = HandlerRegistry()

    @registry.handler("order.{action}", queue=orders)
    def fail(order: Order) -> None:
        raise LookupError(order.id)

    properties = pika.BasicProperties(
        content_type="application/json", headers={"x-tenant": "acme"}, correlation_id="c-1", app_id="legacy"
    )

    with Worker(rabbitmq_url, topology, registry), pika_channel(rabbitmq_url) as channel:
        channel.basic_publish("shop", "order.paid", body, properties, mandatory=True)
        dead, dead_body = taken_by_pika(rabbitmq_url, "orders.dead")

    assert dead_body == body
    assert (dead.content_type, dead.correlation_id, dead.app_id) == ("application/json", "c-1", "legacy")
    expected: dict[str, Any] = {
        "x-tenant": "acme",
        "x-taskroute-reason": reason,
        "x-taskroute-attempt": 1 if reason == "invalid_body" else 2,
        "x-taskroute-queue": "orders",
        "x-taskroute-exchange": "shop",
        "x-taskroute-routing-key": "order.paid",
    }
    assert {name: dead.headers[name] for name in expected} == expected


def test_published_message_is_read_by_pika_with_its_properties(rabbitmq_url: str) -> None:
    with Publisher(rabbitmq_url, topology) as publisher:
        receipt = publisher.publish(
            Order(id=7, customer="Jürgen"),
            "order.paid",
            exchange="shop",
            headers={"x-tenant": "acme", "n": 5},
            correlation_id="c-1",
            type="order",
            timestamp=MOMENT,
            expiration=60,
            timeout=DEADLINE,
        )
        properties, body = taken_by_pika(rabbitmq_url, "orders")

    assert json.loads(body) == {"id": 7, "customer": "Jürgen"}
    assert vars(properties) == vars(
        pika.BasicProperties(
            content_type="application/json",
            headers={"x-tenant": "acme", "n": 5},
            delivery_mode=2,
            correlation_id="c-1",
            expiration="60000",
            message_id=receipt.message_id,
            timestamp=int(MOMENT.timestamp()),
            type="order",
        )
    )


def test_queue_declared_by_pika_can_be_declared_again(rabbitmq_url: str) -> None:
    plain = QueueSpec(name="plain", type="classic", bindings=[shop.bind("order.*")])
    seen = Calls()
    registry = registry_of(lambda order, action: seen((order, action)), "order.{action}", queue=plain)

    with pika_channel(rabbitmq_url) as channel:
        channel.queue_declare("plain", durable=True)
        with Worker(rabbitmq_url, Topology(exchanges=[shop], queues=[plain]), registry):
            channel.queue_declare("plain", durable=True)
            channel.basic_publish("shop", "order.paid", b'{"id": 7}', mandatory=True)
            assert seen.wait() == [({"id": 7}, "paid")]
