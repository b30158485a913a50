"""Publish, route, handle, acknowledge: a media pipeline on a topic exchange.

Runs with no server at all; with ``--url amqp://user:password@host/`` it runs on RabbitMQ.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel

from taskroute import (
    ExchangeSpec,
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    RetryPolicy,
    Routes,
    Stats,
    Topology,
    Worker,
)
from taskroute.instrumentation import DeadLettered, Event, Instrumentation

THREADS = 4
MESSAGES_PER_THREAD = 50


class Video(BaseModel):
    """A video file."""

    id: str
    file: str


class Transcoded(BaseModel):
    """The result of a transcoding."""

    id: str
    format: str


media = ExchangeSpec(name="media_exchange", type="topic")
video = QueueSpec(name="video_queue", bindings=[media.bind("video.#")], retry=RetryPolicy(delays=(0.2,)))
audit = QueueSpec(name="audit_queue", bindings=[media.bind("#")])
topology = Topology(exchanges=[media], queues=[video, audit])

registry = HandlerRegistry()


@registry.handler("video.{action}", queue=video)
def transcode(task: Video, action: str) -> None:
    """Takes every action that has no handler of its own."""


@registry.handler("video.analyze", queue=video)
def analyze(task: Video, message: Message) -> None:
    """More specific than `video.{action}`, so it wins. Fails at first, to show a retry."""
    if message.attempt == 1:
        raise TimeoutError("the analyzer is busy")


@registry.handler("video.transcoded.{profile}", queue=video)
def store(result: Transcoded, profile: str) -> None:
    """Takes the results."""


@registry.handler("#", queue=audit)
def log(message: Message) -> None:
    """Sees everything."""


routes = Routes(topology, registry)


EVENTS: list[tuple[str, BaseModel | dict[str, str]]] = [
    ("video.upload", Video(id="1", file="movie.mp4")),
    ("video.delete", Video(id="2", file="old.mp4")),
    ("video.analyze", Video(id="3", file="clip.mp4")),
    ("video.transcoded.hd", Transcoded(id="1", format="mp4")),
    ("image.upload", {"id": "4", "file": "cover.png"}),
    ("video.upload", {"id": "5"}),  # no file: this body does not validate
]


class DeadLetters(Instrumentation):
    """Counts dead letters by queue, routing key, reason and error."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str, str]] = Counter()

    def on_event(self, event: Event) -> None:
        """Called for everything that happens; for dead letters by one thread, so that there is nothing to lock."""
        if isinstance(event, DeadLettered):
            self.counts[event.queue, event.routing_key, event.reason, event.error] += 1


def publish_some(publisher: Publisher) -> Counter[str]:
    """Publish from one thread; returns the routing keys that were confirmed."""
    confirmed: Counter[str] = Counter()
    for number in range(MESSAGES_PER_THREAD):
        key, body = EVENTS[number % len(EVENTS)]
        publisher.publish(body, key, exchange=media)
        confirmed[key] += 1
    return confirmed


def run(url: str) -> bool:
    """Run the pipeline and print what happened; whether every message is accounted for."""
    letters = DeadLetters()
    with (
        Worker(url, topology, registry, threads=THREADS, instrumentation=[letters]) as worker,
        Publisher(url, topology) as publisher,
    ):
        with ThreadPoolExecutor(THREADS) as pool:
            confirmed = sum(pool.map(publish_some, [publisher] * THREADS), Counter[str]())
        settled = worker.wait_idle(timeout=60)
        stats = worker.stats()
    return print_table(confirmed, stats, letters) and settled


def print_table(confirmed: Counter[str], stats: Stats, letters: DeadLetters) -> bool:
    """Print published, handled and dead-lettered messages; whether they add up in every queue."""
    print(f"published and confirmed: {sum(confirmed.values())} messages with {len(confirmed)} routing keys\n")
    print(f"{'queue':<14}{'handler':<22}{'messages':>9}")
    balanced = True
    for queue in (video, audit):
        routed = sum(n for key, n in confirmed.items() if queue.name in topology.route(key, exchange=media))
        handled = {name: n for (where, name), n in stats.handled.items() if where == queue.name}
        dead = stats.dead_lettered.get(queue.name, 0)
        for name, count in sorted(handled.items()):
            print(f"{queue.name:<14}{name.rpartition('.')[2]:<22}{count:>9}")
        print(f"{queue.name:<14}{'(dead-lettered)':<22}{dead:>9}")
        for (where, key, reason, error), count in sorted(letters.counts.items()):
            if where == queue.name:
                print(f"{'':<16}{count} with key {key!r}: {reason} ({error})")
        agrees = routed == sum(handled.values()) + dead
        balanced = balanced and agrees
        retried = stats.retried.get(queue.name, 0)
        print(
            f"{queue.name:<14}{'sum of ' + str(routed) + ' routed':<22}{'agrees' if agrees else 'DIFFERS':>9}", end=""
        )
        print(f"   ({retried} attempts were retried)\n")
    return balanced


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="memory://", help="memory:// or amqp://user:password@host/")
    logging.getLogger("taskroute.worker").setLevel(logging.CRITICAL)  # what fails here is planned, and counted
    sys.exit(0 if run(parser.parse_args().url) else 1)


if __name__ == "__main__":
    main()
