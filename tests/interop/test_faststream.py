"""Messages between FastStream and taskroute, both ways, and queues that either side declares."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from tests.interop.shop import Order, orders, registry_recording, shop, taken_by_pika, topology
from tests.kit.calls import Calls
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE

from taskroute import ExchangeSpec, HandlerRegistry, Message, Publisher, QueueSpec, Topology, Worker

exchange = RabbitExchange("shop", type=ExchangeType.TOPIC)


def publish(url: str, body: object, **options: Any) -> None:
    """Publish as FastStream does it by itself: JSON by pydantic, confirmed."""

    async def publish() -> None:
        async with RabbitBroker(url, logger=None) as broker:
            await broker.publish(body, "order.paid", exchange, **options)

    asyncio.run(publish())


def test_faststream_message_is_handled_with_all_its_properties(rabbitmq_url: str) -> None:
    seen, moment = Calls(), datetime(2024, 2, 29, 12, 30, 15, tzinfo=UTC)

    with Worker(rabbitmq_url, topology, registry_recording(seen)):
        publish(
            rabbitmq_url,
            Order(id=7, customer="Jürgen"),
            headers={"x-tenant": "acme"},
            message_id="m-1",
            correlation_id="c-1",
            timestamp=moment,
            message_type="order",
            reply_to="answers",
            priority=3,
        )
        ((order, action, tenant, message),) = seen.wait()

    assert (order, action, tenant) == (Order(id=7, customer="Jürgen"), "paid", "acme")
    assert message == Message(
        body=message.body,
        routing_key="order.paid",
        exchange="shop",
        queue="orders",
        headers={"x-tenant": "acme"},
        message_id="m-1",
        correlation_id="c-1",
        type="order",
        content_type="application/json",
        timestamp=moment,
        reply_to="answers",
        priority=3,
    )


def test_faststream_message_without_options_is_handled(rabbitmq_url: str) -> None:
    seen, before = Calls(), datetime.now(UTC).replace(microsecond=0)

    with Worker(rabbitmq_url, topology, registry_recording(seen)):
        publish(rabbitmq_url, Order(id=7, customer="x"))
        ((order, _, tenant, message),) = seen.wait()

    assert (order, tenant) == (Order(id=7, customer="x"), "none")
    assert message.content_type == "application/json"
    assert message.message_id
    assert message.correlation_id
    assert before <= message.timestamp <= datetime.now(UTC)


def test_faststream_message_is_retried_then_dead_lettered_unchanged(rabbitmq_url: str) -> None:
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler("order.{action}", queue=orders)
    def fail(order: Order, message: Message) -> None:
        seen(message)
        raise LookupError(order.id)

    with Worker(rabbitmq_url, topology, registry):
        publish(rabbitmq_url, Order(id=7, customer="Jürgen"), headers={"x-tenant": "acme"}, correlation_id="c-1")
        first, second = seen.wait(2)
        properties, body = taken_by_pika(rabbitmq_url, "orders.dead")

    assert (first.attempt, second.attempt) == (1, 2)
    assert first.body == second.body == body
    assert Order.model_validate_json(body) == Order(id=7, customer="Jürgen")
    assert (first.routing_key, first.exchange) == (second.routing_key, second.exchange) == ("order.paid", "shop")
    assert (properties.content_type, properties.correlation_id) == ("application/json", "c-1")
    assert properties.headers["x-tenant"] == second.headers["x-tenant"] == "acme"
    assert properties.headers["x-taskroute-reason"] == "handler_error"
    assert properties.headers["x-taskroute-attempt"] == 2


def test_published_message_is_read_by_a_faststream_subscriber(rabbitmq_url: str) -> None:
    """The subscriber consumes a queue of this topology: `declare=False`."""

    async def consume() -> tuple[Order, RabbitMessage]:
        broker = RabbitBroker(rabbitmq_url, logger=None)
        received: asyncio.Future[tuple[Order, RabbitMessage]] = asyncio.get_running_loop().create_future()

        @broker.subscriber(RabbitQueue("orders", routing_key="order.{action}", declare=False), exchange)
        async def handle(order: Order, message: RabbitMessage) -> None:
            received.set_result((order, message))

        async with broker:
            await broker.start()
            await publisher.publish_async(
                Order(id=7, customer="Jürgen"),
                "order.paid",
                exchange=shop,
                message_id="m-1",
                headers={"x-tenant": "acme"},
            )
            return await asyncio.wait_for(received, DEADLINE)

    with Publisher(rabbitmq_url, topology) as publisher:
        order, message = asyncio.run(consume())

    assert order == Order(id=7, customer="Jürgen")
    assert message.headers == {"x-tenant": "acme"}
    assert message.message_id == "m-1"
    assert message.content_type == "application/json"


def test_queue_declared_by_faststream_can_be_declared_again(rabbitmq_url: str) -> None:
    """FastStream's plain durable queue is `type="classic"` here; either service may start first."""
    queue = QueueSpec(name="plain", type="classic", bindings=[shop.bind("order.*")])
    seen = Calls()
    registry = registry_of(lambda order, action: seen((order, action)), "order.{action}", queue=queue)

    async def declare() -> None:
        async with RabbitBroker(rabbitmq_url, logger=None) as broker:
            await broker.declare_exchange(exchange)
            await broker.declare_queue(RabbitQueue("plain"))

    asyncio.run(declare())
    with Worker(rabbitmq_url, Topology(exchanges=[shop], queues=[queue]), registry):
        asyncio.run(declare())
        publish(rabbitmq_url, {"id": 7})
        assert seen.wait() == [({"id": 7}, "paid")]


def test_queue_owned_by_faststream_is_consumed_as_passive(rabbitmq_url: str) -> None:
    """The worker declares the dead-letter queue of a passive queue, and not the queue."""
    owned = QueueSpec(name="owned", passive=True, retry=False)
    passive_topology = Topology(exchanges=[ExchangeSpec(name="shop", passive=True)], queues=[owned])
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler("order.{action}", queue=owned)
    def handle(order: Order, action: str) -> None:
        seen((order, action))

    async def declare() -> None:
        async with RabbitBroker(rabbitmq_url, logger=None) as broker:
            bound_to = await broker.declare_exchange(exchange)
            theirs = await broker.declare_queue(RabbitQueue("owned", arguments={"x-max-length": 1000}))
            await theirs.bind(bound_to, "order.*")

    asyncio.run(declare())
    with Worker(rabbitmq_url, passive_topology, registry):
        publish(rabbitmq_url, Order(id=7, customer="x"))
        publish(rabbitmq_url, {"id": "none"})
        assert seen.wait() == [(Order(id=7, customer="x"), "paid")]
        properties, _ = taken_by_pika(rabbitmq_url, "owned.dead")

    assert properties.headers["x-taskroute-reason"] == "invalid_body"
