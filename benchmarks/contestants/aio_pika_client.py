"""aio-pika: a consumer callback with `message.process()`, as its examples have it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aio_pika

from benchmarks.contestants.task import DEADLINE, QUEUE, Meter, Task


def consume(task: Task) -> dict[str, float]:
    """Prefetch 200, each message decoded and acknowledged."""
    return asyncio.run(_consume(task))


async def _consume(task: Task) -> dict[str, float]:
    meter, done = Meter(task.count), asyncio.Event()

    async def handle(message: Any) -> None:
        async with message.process():
            json.loads(message.body)
            meter()
        if meter.done.is_set():
            done.set()

    async with await aio_pika.connect_robust(task.url) as connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=200)
        queue = await channel.get_queue(QUEUE)
        await queue.consume(handle)
        await asyncio.wait_for(done.wait(), DEADLINE)
    return meter.result()
