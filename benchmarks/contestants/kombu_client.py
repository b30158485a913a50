"""kombu: `Consumer` and `Producer`, and a ConsumerMixin as the tutorials write it."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.mixins import ConsumerMixin

from benchmarks.contestants.task import DEADLINE, EXCHANGE, KEYS, QUEUE, Meter, Task, messages, prepared, rate

exchange = Exchange(EXCHANGE, type="topic")
queue = Queue(QUEUE, exchange, routing_key="#", no_declare=True)


def consume_callbacks(task: Task) -> dict[str, float]:
    """`callbacks`, prefetch 200, each message decoded and acknowledged."""
    meter = Meter(task.count)

    def handle(body: Any, message: Any) -> None:
        message.ack()
        meter()

    with (
        Connection(task.url) as connection,
        Consumer(connection, [queue], callbacks=[handle], accept=["json"], prefetch_count=200, auto_declare=False),
    ):
        while not meter.done.is_set():
            connection.drain_events(timeout=DEADLINE)
    return meter.result()


def consume_on_message(task: Task) -> dict[str, float]:
    """`on_message`, prefetch 200, 50 messages acknowledged at a time, decoded by hand."""
    meter = Meter(task.count)

    def handle(message: Any) -> None:
        json.loads(message.body)
        if meter() % 50 == 0 or meter.done.is_set():
            message.ack(multiple=True)

    with (
        Connection(task.url) as connection,
        Consumer(connection, [queue], on_message=handle, prefetch_count=200, auto_declare=False),
    ):
        while not meter.done.is_set():
            connection.drain_events(timeout=DEADLINE)
    return meter.result()


def consume_mixin(task: Task) -> dict[str, float]:
    """A ConsumerMixin, prefetch 1, an if/elif ladder over the routing key."""
    meter = Meter(task.count)

    class Worker(ConsumerMixin):  # type: ignore[misc]
        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def get_consumers(self, Consumer: Any, channel: Any) -> list[Any]:  # noqa: N803 - kombu's name
            return [Consumer([queue], callbacks=[self.handle], accept=["json"], prefetch_count=1, auto_declare=False)]

        def handle(self, body: Any, message: Any) -> None:
            key = message.delivery_info["routing_key"]
            if key == KEYS[0] or key == KEYS[1] or key == KEYS[2] or key == KEYS[3]:
                pass
            message.ack()
            meter()
            self.should_stop = meter.done.is_set()

    with Connection(task.url) as connection:
        Worker(connection).run()
    return meter.result()


def publish_unconfirmed(task: Task) -> dict[str, float]:
    """Bodies that are bytes already; nobody knows whether they arrive."""
    return _publish(task, {})


def publish_confirmed(task: Task) -> dict[str, float]:
    """`confirm_publish`: each one waits for the broker."""
    return _publish(task, {"confirm_publish": True})


def _publish(task: Task, transport_options: dict[str, Any]) -> dict[str, float]:
    ready = prepared(messages(task.count))
    with Connection(task.url, transport_options=transport_options) as connection:
        producer = Producer(connection, exchange=exchange, auto_declare=False)
        began = time.perf_counter()
        for body, key in ready:
            producer.publish(
                body, routing_key=key, content_type="application/json", content_encoding="utf-8", mandatory=False
            )
        return rate(task.count, time.perf_counter() - began)


def consume_in_thread(url: str, handle: Any, stop: threading.Event) -> threading.Thread:
    """A bare consumer in a thread of its own, each message decoded and acknowledged."""

    def on_message(body: Any, message: Any) -> None:
        handle(body)
        message.ack()

    def run() -> None:
        with (
            Connection(url) as connection,
            Consumer(
                connection, [queue], callbacks=[on_message], accept=["json"], prefetch_count=200, auto_declare=False
            ),
        ):
            while not stop.is_set():
                try:
                    connection.drain_events(timeout=1)
                except TimeoutError:
                    continue

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
