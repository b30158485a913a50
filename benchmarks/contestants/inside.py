"""What needs no peer's environment: the embedded broker, resolving, checking, importing, idling, latency."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import psutil
from kombu import Connection, Consumer, Exchange, Producer, Queue

from benchmarks.contestants.kombu_client import consume_in_thread
from benchmarks.contestants.py_amqp import connect
from benchmarks.contestants.task import DEADLINE, EXCHANGE, KEYS, QUEUE, Meter, Task, messages
from benchmarks.contestants.taskroute_client import Video, exchange, topology
from taskroute import HandlerRegistry, Publisher, QueueSpec, Routes, Topology, Worker
from taskroute.broker.embedded.transport import Transport

PER_SECOND = 200


def left_in_queues(task: Task) -> dict[str, float]:
    """How many messages the broker has in its queues."""
    several = int(task.options.get("queues", 1))
    names = [QUEUE] if several == 1 else [f"{QUEUE}-{number}" for number in range(several)]
    with connect(task.url) as connection:
        channel = connection.channel()
        return {"messages": sum(channel.queue_declare(name, passive=True).message_count for name in names)}


# Latency: the same publisher in a process of its own, the moment of publishing in the body.


def latency_kombu(task: Task) -> dict[str, float]:
    """A bare kombu consumer in a thread."""
    stop = threading.Event()

    def consume(handle: Callable[[float], None]) -> Callable[[], object]:
        consume_in_thread(task.url, lambda body: handle(body["at"]), stop)
        return stop.set

    return _latency(task, consume)


def latency_worker(task: Task) -> dict[str, float]:
    """A worker with its defaults."""

    def consume(handle: Callable[[float], None]) -> Callable[[], object]:
        registry = HandlerRegistry()

        @registry.handler("latency", queue=QUEUE)
        def take(body: dict[str, float]) -> None:
            handle(body["at"])

        worker = Worker(task.url, topology(), registry)
        worker.start()
        return worker.stop

    return _latency(task, consume)


def _latency(task: Task, consume: Callable[[Callable[[float], None]], Callable[[], object]]) -> dict[str, float]:
    seconds: list[float] = []
    done = threading.Event()

    def handle(at: float) -> None:
        seconds.append(time.monotonic() - at)
        if len(seconds) == task.count:
            done.set()

    stop = consume(handle)
    command = [sys.executable, "-m", "benchmarks.contestants", "inside:publish_steadily"]
    subprocess.run([*command, json.dumps({"url": task.url, "count": task.count})], check=True, capture_output=True)
    if not done.wait(DEADLINE):
        raise TimeoutError(f"{len(seconds)} of {task.count} messages arrived")
    stop()
    ordered = sorted(seconds)
    return {"p50": ordered[len(ordered) // 2] * 1e3, "p99": ordered[len(ordered) * 99 // 100] * 1e3}


def publish_steadily(task: Task) -> dict[str, float]:
    """200 messages a second, by kombu without confirms; the clock is the system's, the same in every process."""
    pause, began = threading.Event(), time.monotonic()
    with Connection(task.url) as connection:
        producer = Producer(connection, exchange=Exchange(EXCHANGE, type="topic"), auto_declare=False)
        for number in range(task.count):
            pause.wait(max(0.0, began + number / PER_SECOND - time.monotonic()))
            producer.publish({"at": time.monotonic()}, routing_key="latency", serializer="json")
    return {}


# The embedded broker against kombu's memory transport: the same program on both.


def embedded(task: Task) -> dict[str, float]:
    """Kombu on taskroute's embedded broker."""
    return _in_process(task, Connection(hostname=uuid.uuid4().hex, transport=Transport))


def kombu_memory(task: Task) -> dict[str, float]:
    """Kombu on its memory transport."""
    return _in_process(task, Connection("memory://"))


def _in_process(task: Task, connection: Any) -> dict[str, float]:
    bindings = int(task.options.get("bindings", 1))
    topic = Exchange(EXCHANGE, type="topic")
    queues = [
        Queue(
            QUEUE if number == 0 else f"{QUEUE}-{number}",
            topic,
            routing_key="video.#" if number == 0 else f"other.{number}.*",
        )
        for number in range(bindings)
    ]
    bodies = [body for body, _ in messages(task.count)]
    meter = Meter(task.count)

    def handle(message: Any) -> None:
        message.ack()
        meter()

    with connection, connection.channel() as channel:
        for queue in queues:
            queue(channel).declare()
        producer = Producer(channel, exchange=topic, auto_declare=False)
        began = time.perf_counter()
        for body in bodies:
            producer.publish(body, routing_key=KEYS[0], content_type="application/json", content_encoding="utf-8")
        published = time.perf_counter()
        with Consumer(channel, queues[:1], on_message=handle, auto_declare=False):
            while not meter.done.is_set():
                connection.drain_events(timeout=DEADLINE)
        ended = time.perf_counter()
    return {
        "publish": task.count / (published - began),
        "consume": task.count / (ended - published),
        "rate": task.count / (ended - began),
    }


def wake_up(task: Task) -> dict[str, float]:
    """From `publish` on an idle embedded broker until the handler runs, in ms."""
    url, registry, began = f"memory://{uuid.uuid4().hex}", HandlerRegistry(), [0.0]
    seconds: list[float] = []
    handled, pause = threading.Semaphore(0), threading.Event()

    @registry.handler("#", queue=QUEUE)
    def handle(body: Video) -> None:
        seconds.append(time.perf_counter() - began[0])
        handled.release()

    with Worker(url, topology(), registry), Publisher(url, topology()) as publisher:
        for body, key in messages(task.count):
            pause.wait(0.02)  # idle
            video = Video.model_validate_json(body)
            began[0] = time.perf_counter()
            publisher.publish(video, key, exchange=exchange)
            handled.acquire()
    ordered = sorted(seconds)
    return {"p50": ordered[len(ordered) // 2] * 1e3, "p99": ordered[len(ordered) * 99 // 100] * 1e3}


# Routes


def _handle(body: bytes) -> None: ...


def _routes(patterns: int) -> Routes:
    spec, registry = QueueSpec(name=QUEUE, bindings=[exchange.bind("#")]), HandlerRegistry()
    for number in range(patterns):
        registry.add(f"tenant-{number}.*.created", _handle, queue=spec)
    return Routes(Topology(exchanges=[exchange], queues=[spec]), registry)


def resolve(task: Task) -> dict[str, float]:
    """Microseconds to find the handler of a key that was not seen before, and of one that was."""
    patterns = int(task.options["patterns"])
    routes, dice = _routes(patterns), random.Random(1)
    keys = [f"tenant-{dice.randrange(patterns)}.{number:x}.created" for number in range(task.count)]
    began = time.perf_counter()
    for key in keys:
        routes.resolve(QUEUE, key)
    uncached = time.perf_counter() - began
    began = time.perf_counter()
    for _ in keys:
        routes.resolve(QUEUE, keys[-1])
    return {"uncached": uncached / len(keys) * 1e6, "cached": (time.perf_counter() - began) / len(keys) * 1e6}


def check(task: Task) -> dict[str, float]:
    """Seconds for `check()` of that many queues and as many handlers."""
    count, dice = task.count, random.Random(2)
    words = [f"word{number}" for number in range(50)]

    def key() -> str:
        first, second, third = (dice.choice(words) for _ in range(3))
        return f"{first}.#" if dice.random() < 0.05 else f"{first}.{second}.{dice.choice((third, '*'))}"

    queues = [QueueSpec(name=f"queue-{number}", bindings=[exchange.bind(key())]) for number in range(count)]
    registry = HandlerRegistry()
    for queue in queues:
        registry.add(queue.bindings[0].binding_key, _handle, queue=queue)
    return _checked(Routes(Topology(exchanges=[exchange], queues=queues), registry))


def check_adversarial(task: Task) -> dict[str, float]:
    """The same for keys made to be hard: `#` again and again between few words."""
    dice = random.Random(3)

    def key() -> str:
        return ".".join(dice.choice(("#", "*", "a", "b")) for _ in range(dice.randint(4, 10)))

    queues = [QueueSpec(name=f"queue-{number}", bindings=[exchange.bind(key())]) for number in range(task.count)]
    registry = HandlerRegistry()
    for queue in queues:
        registry.add(key(), _handle, queue=queue)
    return _checked(Routes(Topology(exchanges=[exchange], queues=queues), registry))


def _checked(routes: Routes) -> dict[str, float]:
    began = time.perf_counter()
    found = len(list(routes.check()))
    return {"seconds": time.perf_counter() - began, "findings": found}


# What it costs to be there


def distinct_keys(task: Task) -> dict[str, float]:
    """How much memory a worker has gained, in MB, after the second tenth of that many keys and after all of them."""
    meter, registry, process = Meter(task.count), HandlerRegistry(), psutil.Process()
    sizes: dict[int, float] = {}

    @registry.handler("video.{id}.upload", queue=QUEUE)
    def handle(body: bytes, id: str) -> None:  # noqa: A002
        number = meter()
        if number in {task.count // 50, task.count}:
            sizes[number] = process.memory_info().rss / 1e6

    with Worker(task.url, topology(), registry):
        meter.wait()
    return {**meter.result(), "gained": sizes[task.count] - sizes[task.count // 50]}


def import_seconds(task: Task) -> dict[str, float]:
    """Wall time of a process that only imports, the best of as many as asked for."""
    return {"seconds": min(_timed_import(str(task.options["modules"])) for _ in range(task.count))}


def _timed_import(modules: str) -> float:
    # With its bytecode beside it, as an installed package has it: pip compiles what it installs.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True, env=environment)
    return time.perf_counter() - began


def idle_worker(task: Task) -> dict[str, float]:
    """Share of a core and memory of a worker with nothing to do, over that many seconds."""
    registry = HandlerRegistry()

    @registry.handler("#", queue=QUEUE)
    def handle(body: Video) -> None: ...

    with Worker(task.url, topology(), registry):
        return _idle(task.count)


def idle_kombu(task: Task) -> dict[str, float]:
    """The same of a bare kombu consumer in a thread, in a process that has imported pydantic."""
    import pydantic  # noqa: F401

    stop = threading.Event()
    consume_in_thread(task.url, lambda body: None, stop)
    return _idle(task.count)


def _idle(seconds: float) -> dict[str, float]:
    process, pause = psutil.Process(os.getpid()), threading.Event()
    pause.wait(1)
    before = process.cpu_times()
    pause.wait(seconds)
    after = process.cpu_times()
    used = after.user + after.system - before.user - before.system
    return {"cpu": used / seconds * 100, "rss": process.memory_info().rss / 1e6}
