"""taskroute, as its documents say: a topology, a registry, a worker with its defaults, a publisher."""

from __future__ import annotations

import json
import queue as queues
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel

from benchmarks.contestants.task import DEADLINE, EXCHANGE, QUEUE, Meter, Task, messages, prepared, rate
from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, Topology, Worker

SLOW = 0.05
SHORT_WAIT = 0.005
exchange = ExchangeSpec(name=EXCHANGE)


class Video(BaseModel):
    """The body of a message."""

    id: int
    file: str
    user: str
    size: int
    tags: list[str]
    note: str


def topology(kind: str = "classic", count: int = 1) -> Topology:
    """A durable queue bound to everything, or several, each bound to a word of its own."""
    if count == 1:
        specs = [QueueSpec(name=QUEUE, type=kind, bindings=[exchange.bind("#")])]  # type: ignore[arg-type]
    else:
        specs = [
            QueueSpec(name=f"{QUEUE}-{number}", type="classic", bindings=[exchange.bind(f"{number}.#")])
            for number in range(count)
        ]
    return Topology(exchanges=[exchange], queues=specs)


def fill(task: Task) -> dict[str, float]:
    """Declare, and publish what others consume."""
    kind, several = str(task.options.get("queue_type", "classic")), int(task.options.get("queues", 1))
    pairs = messages(task.count)
    if several > 1:
        pairs = ((body, f"{number % several}.{key}") for number, (body, key) in enumerate(pairs))
    if task.options.get("distinct_keys"):
        pairs = ((body, f"video.{number:x}.upload") for number, (body, key) in enumerate(pairs))
    with Publisher(task.url, topology(kind, several)) as publisher:
        began = time.perf_counter()
        for receipt in publisher.publish_many(pairs, exchange=EXCHANGE, content_type="application/json"):
            if isinstance(receipt, Exception):
                raise receipt
        return rate(task.count, time.perf_counter() - began)


def consume(task: Task) -> dict[str, float]:
    """A pydantic model as the handler's argument. `threads` is 8 by default, and 0 in one part."""
    meter, registry = Meter(task.count), HandlerRegistry()
    slow_every = int(task.options.get("slow_every", 0))

    @registry.handler("#", queue=QUEUE)
    def handle(body: Video) -> None:
        if slow_every and body.id % slow_every == 0:
            time.sleep(SLOW)
        meter()

    over = topology(str(task.options.get("queue_type", "classic")))
    with Worker(task.url, over, registry, threads=int(task.options.get("threads", 8))):
        meter.wait()
    return meter.result()


def consume_waiting(task: Task) -> dict[str, float]:
    """Four queues, eight threads, handlers that wait 5 ms; `share`: the slowest queue's part of the fastest one's."""
    meter, registry = Meter(task.count), HandlerRegistry()
    counts = dict.fromkeys(range(4), 0)
    half: dict[int, int] = {}
    over = topology(count=4)

    def handler_of(number: int) -> Any:
        def handle(body: Video) -> None:
            time.sleep(SHORT_WAIT)
            counts[number] += 1
            if meter() == task.count // 2:
                half.update(counts)

        return handle

    for number in range(4):
        registry.add("#", handler_of(number), queue=f"{QUEUE}-{number}")
    with Worker(task.url, over, registry):
        meter.wait()
    return {**meter.result(), "share": min(half.values()) / max(half.values())}


def local_queue_waiting(task: Task) -> dict[str, float]:
    """The same handler in eight threads that are fed from a `queue.Queue` in the process: no broker."""
    meter, waiting = Meter(task.count), queues.SimpleQueue[int]()
    for number in range(task.count):
        waiting.put(number)

    def run() -> None:
        while True:
            waiting.get()
            time.sleep(SHORT_WAIT)
            meter()

    for _ in range(8):
        threading.Thread(target=run, daemon=True).start()
    meter.wait()
    return meter.result()


def publish_many(task: Task) -> dict[str, float]:
    """Pydantic bodies, mandatory, each one confirmed."""
    ready = prepared((Video(**json.loads(body)), key) for body, key in messages(task.count))
    with Publisher(task.url, topology()) as publisher:
        began = time.perf_counter()
        for receipt in publisher.publish_many(ready, exchange=exchange):
            if isinstance(receipt, Exception):
                raise receipt
        return rate(task.count, time.perf_counter() - began)


def publish_one_by_one(task: Task) -> dict[str, float]:
    """Each call waits for its confirm; from one thread, or from `threads`."""
    threads = int(task.options.get("threads", 1))
    ready = prepared((Video(**json.loads(body)), key) for body, key in messages(task.count))
    shares = [ready[number::threads] for number in range(threads)]

    def publish(share: list[tuple[Video, str]]) -> None:
        for body, key in share:
            publisher.publish(body, key, exchange=exchange)

    with Publisher(task.url, topology()) as publisher, ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        for done in [pool.submit(publish, share) for share in shares]:
            done.result(DEADLINE)
        return rate(sum(map(len, shares)), time.perf_counter() - began)
