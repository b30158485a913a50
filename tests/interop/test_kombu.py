"""Messages between taskroute and services on plain kombu: to a ConsumerMixin, and from a Producer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import kombu
import pytest
from kombu.mixins import ConsumerMixin
from tests.interop.shop import Order, orders, registry_recording, shop, taken_by_pika, topology
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute import HandlerRegistry, Publisher, Worker


class OldService(ConsumerMixin):
    """A consumer as kombu's documentation has it."""

    def __init__(self, connection: kombu.Connection, seen: Calls) -> None:
        self.connection = connection
        self._seen = seen
        self.should_stop = False

    def get_consumers(self, consumer: Any, channel: Any) -> Sequence[kombu.Consumer]:
        queue = kombu.Queue("orders", no_declare=True)  # this topology declares it, as a quorum queue
        return [consumer([queue], callbacks=[self.on_message], accept=["json"])]

    def on_message(self, body: Any, message: kombu.Message) -> None:
        message.ack()
        self._seen((body, message))


def test_published_message_is_decoded_by_a_kombu_consumer_mixin(rabbitmq_url: str) -> None:
    seen = Calls()

    with kombu.Connection(rabbitmq_url) as connection, Publisher(rabbitmq_url, topology) as publisher:
        publisher.publish(
            Order(id=7, customer="Jürgen"),
            "order.paid",
            exchange=shop,
            headers={"x-tenant": "acme"},
            message_id="m-1",
            correlation_id="c-1",
        )
        service = OldService(connection, seen)
        thread = threading.Thread(target=service.run)
        thread.start()
        try:
            ((body, message),) = seen.wait()
        finally:
            service.should_stop = True
            thread.join(DEADLINE)

    assert body == {"id": 7, "customer": "Jürgen"}
    assert message.headers == {"x-tenant": "acme"}
    assert message.content_type == "application/json"
    assert (message.properties["message_id"], message.properties["correlation_id"]) == ("m-1", "c-1")
    assert message.delivery_info["routing_key"] == "order.paid"


def test_message_of_a_kombu_producer_is_handled(rabbitmq_url: str) -> None:
    seen = Calls()

    with Worker(rabbitmq_url, topology, registry_recording(seen)), kombu.Connection(rabbitmq_url) as connection:
        connection.Producer().publish(
            {"id": 7, "customer": "Jürgen"},
            exchange="shop",
            routing_key="order.paid",
            headers={"x-tenant": "acme"},
            correlation_id="c-1",
        )
        ((order, action, tenant, message),) = seen.wait()

    assert (order, action, tenant) == (Order(id=7, customer="Jürgen"), "paid", "acme")
    assert (message.message_id, message.correlation_id, message.content_type) == (None, "c-1", "application/json")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"serializer": "pickle"}, "content_type: 'application/x-python-serialize'"),
        ({"compression": "zlib"}, "compression: 'application/x-gzip'"),
    ],
)
def test_pickled_or_compressed_kombu_message_is_dead_lettered_unread(
    options: dict[str, str], error: str, rabbitmq_url: str
) -> None:
    registry = HandlerRegistry()

    @registry.handler("order.{action}", queue=orders)
    def never(order: Order) -> None:
        raise AssertionError

    with Worker(rabbitmq_url, topology, registry), kombu.Connection(rabbitmq_url) as connection:
        connection.Producer().publish({"id": 7, "customer": "x"}, exchange="shop", routing_key="order.paid", **options)
        properties, _ = taken_by_pika(rabbitmq_url, "orders.dead")

    assert properties.headers["x-taskroute-reason"] == "unsupported_content"
    assert properties.headers["x-taskroute-error"] == error
