"""celery: a task on eight threads of one worker, without gossip, mingle, heartbeats, events and results."""

from __future__ import annotations

import threading

from celery import Celery
from celery.worker import WorkController

from benchmarks.contestants.task import Meter, Task, fields


def consume(task: Task) -> dict[str, float]:
    """`--pool=threads --concurrency=8`, prefetch 200 in all, messages in its own format."""
    meter = Meter(task.count)
    app = Celery("bench", broker=task.url)
    app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=25, broker_connection_retry_on_startup=True)

    @app.task(name="handle")  # type: ignore[untyped-decorator]
    def handle(body: dict[str, object]) -> None:
        meter()

    with app.producer_pool.acquire() as producer:
        for number in range(task.count):
            handle.apply_async((fields(number),), producer=producer)
    worker = WorkController(
        app=app,
        pool="threads",
        concurrency=8,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        loglevel="ERROR",
        quiet=True,
    )
    threading.Thread(target=worker.start, daemon=True).start()
    meter.wait()
    return meter.result()
