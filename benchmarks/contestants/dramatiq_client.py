"""dramatiq: an actor on eight threads of one worker."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.contestants.task import Meter, Task, fields


def consume(task: Task) -> dict[str, float]:
    """Eight threads, its own prefetch (two a thread), messages in its own format."""
    meter = Meter(task.count)
    broker = RabbitmqBroker(url=task.url)
    dramatiq.set_broker(broker)

    @dramatiq.actor
    def handle(body: dict[str, object]) -> None:
        meter()

    for number in range(task.count):
        handle.send(fields(number))
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.start()
    meter.wait()
    worker.stop()
    broker.close()
    return meter.result()
