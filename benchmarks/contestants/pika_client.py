"""pika: `BlockingConnection`, as its examples have it."""

from __future__ import annotations

import json
import time
from typing import Any

import pika

from benchmarks.contestants.task import EXCHANGE, QUEUE, Meter, Task, messages, prepared, rate


def consume(task: Task) -> dict[str, float]:
    """`start_consuming`, prefetch 200, each message decoded and acknowledged."""
    meter = Meter(task.count)

    def handle(channel: Any, method: Any, properties: Any, body: bytes) -> None:
        json.loads(body)
        channel.basic_ack(method.delivery_tag)
        meter()
        if meter.done.is_set():
            channel.stop_consuming()

    with pika.BlockingConnection(pika.URLParameters(task.url)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=200)
        channel.basic_consume(QUEUE, handle)
        channel.start_consuming()
    return meter.result()


def publish_unconfirmed(task: Task) -> dict[str, float]:
    """Nobody knows whether they arrive."""
    return _publish(task, confirmed=False)


def publish_confirmed(task: Task) -> dict[str, float]:
    """`confirm_delivery`: each one waits for the broker."""
    return _publish(task, confirmed=True)


def _publish(task: Task, *, confirmed: bool) -> dict[str, float]:
    ready = prepared(messages(task.count))
    properties = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    with pika.BlockingConnection(pika.URLParameters(task.url)) as connection:
        channel = connection.channel()
        if confirmed:
            channel.confirm_delivery()
        began = time.perf_counter()
        for body, key in ready:
            channel.basic_publish(EXCHANGE, key, body, properties, mandatory=confirmed)
        return rate(task.count, time.perf_counter() - began)
