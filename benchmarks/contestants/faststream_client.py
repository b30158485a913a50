"""FastStream: a subscriber with a pydantic model; publishing with and without confirms."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from pydantic import BaseModel

from benchmarks.contestants.task import DEADLINE, EXCHANGE, QUEUE, Meter, Task, messages, prepared, rate

exchange = RabbitExchange(EXCHANGE, type=ExchangeType.TOPIC, durable=True)
IN_FLIGHT = 500


class Video(BaseModel):
    """The body of a message."""

    id: int
    file: str
    user: str
    size: int
    tags: list[str]
    note: str


def consume(task: Task) -> dict[str, float]:
    """Prefetch 200, a pydantic model as the handler's argument, acknowledged after it."""
    return asyncio.run(_consume(task))


async def _consume(task: Task) -> dict[str, float]:
    meter, done = Meter(task.count), asyncio.Event()
    broker = RabbitBroker(task.url, default_channel=Channel(prefetch_count=200), log_level=logging.WARNING, logger=None)

    @broker.subscriber(RabbitQueue(QUEUE, durable=True, routing_key="#"), exchange)
    async def handle(body: Video) -> None:
        meter()
        if meter.done.is_set():
            done.set()

    async with broker:
        await broker.start()
        await asyncio.wait_for(done.wait(), DEADLINE)
    return meter.result()


def publish_confirmed(task: Task) -> dict[str, float]:
    """Confirms on, as they are by default, 500 publishes in flight."""
    return asyncio.run(_publish(task, confirms=True))


def publish_unconfirmed(task: Task) -> dict[str, float]:
    """Confirms off."""
    return asyncio.run(_publish(task, confirms=False))


async def _publish(task: Task, *, confirms: bool) -> dict[str, float]:
    ready = prepared((Video(**json.loads(body)), key) for body, key in messages(task.count))
    room = asyncio.Semaphore(IN_FLIGHT)
    channel = Channel(publisher_confirms=confirms)
    broker = RabbitBroker(task.url, default_channel=channel, log_level=logging.WARNING, logger=None)

    async def publish(body: Video, key: str) -> Any:
        try:
            await broker.publish(body, key, exchange, persist=True)
        finally:
            room.release()

    async with broker:
        await broker.connect()
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for body, key in ready:
                await room.acquire()
                group.create_task(publish(body, key))
        return rate(task.count, time.perf_counter() - began)
