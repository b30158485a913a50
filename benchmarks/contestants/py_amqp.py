"""py-amqp with nothing on top: the client that kombu, and so taskroute, is built on."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import amqp

from benchmarks.contestants.task import DEADLINE, QUEUE, Meter, Task


def connect(url: str) -> Any:
    """Open a connection."""
    parts = urlsplit(url)
    connection = amqp.Connection(
        host=f"{parts.hostname}:{parts.port}",
        userid=parts.username,
        password=parts.password,
        virtual_host=unquote(parts.path[1:]),
    )
    connection.connect()
    return connection


def consume_no_ack(task: Task) -> dict[str, float]:
    """Nothing is acknowledged, decoded or done: the limit of this client."""
    meter = Meter(task.count)
    with connect(task.url) as connection:
        channel = connection.channel()
        channel.basic_consume(QUEUE, no_ack=True, callback=lambda _: meter())
        while not meter.done.is_set():
            connection.drain_events(timeout=DEADLINE)
    return meter.result()
