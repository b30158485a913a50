"""Stress: threads that get between each other, on the embedded broker and on RabbitMQ; then the books.

    python -m tests.faults.stress --seconds 60 [--seed N] [--only memory|rabbitmq]

Threads are switched every 10 us. In the first half of the time nothing fails but handlers, so no message may be handled
twice; in the second half connections are lost and workers are stopped and started. Heartbeats are ten minutes apart, so
that nothing but a wake-up wakes a session: one that is lost ends as a publish that is not confirmed in time. The run
fails if a confirmed message is not handled, and if anything is kept in mind for messages that are settled.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import random
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from tests.kit import rabbitmq
from tests.kit.inside import InsidePublisher, InsideWorker

from taskroute import (
    CircuitBreaker,
    HandlerRegistry,
    Message,
    Publisher,
    PublishError,
    QueueSpec,
    RetryPolicy,
    Topology,
    Worker,
)

SWITCH_INTERVAL = 1e-5
HEARTBEAT = 600
PUBLISHERS = 6
IDLE_DEADLINE = 60.0
QUEUES = ("plain", "async", "limited")
topology = Topology(queues=[QueueSpec(name=name, retry=RetryPolicy(delays=(0.1,))) for name in QUEUES])


class Books:
    """What was confirmed and what was handled. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self.confirmed: set[str] = set()
        self.handled: Counter[str] = Counter()
        self.problems: list[str] = []

    def next_body(self, queue: str) -> str:
        with self._lock:
            return f"{queue} {next(self._numbers)}"

    def confirm(self, body: str) -> None:
        with self._lock:
            self.confirmed.add(body)

    def handle(self, body: str) -> None:
        with self._lock:
            self.handled[body] += 1

    def complain(self, problem: str) -> None:
        with self._lock:
            self.problems.append(problem)

    def close(self, *, is_calm: bool) -> None:
        """Complain of what is missing, and of what was handled twice without a reason for it."""
        missing = self.confirmed - self.handled.keys()
        if missing:
            self.complain(f"{len(missing)} of {len(self.confirmed)} messages not handled, such as {min(missing)!r}")
        twice = [body for body, count in self.handled.items() if count > 1]
        if is_calm and twice:
            self.complain(f"{len(twice)} messages handled twice, such as {twice[0]!r}")


def registry_for(books: Books) -> HandlerRegistry:
    """Make handlers that fail at the first attempt of some messages, and note the others."""
    registry = HandlerRegistry()

    def note(body: str, message: Message) -> None:
        if int(body.split()[1]) % 20 == 0 and message.attempt == 1:
            raise ValueError("a test")
        books.handle(body)

    @registry.handler("#", queue="async", timeout=30)
    async def handle_async(body: str, message: Message) -> None:
        note(body, message)

    registry.add("#", note, queue="plain")
    registry.add("#", note, queue="limited", timeout=30)
    return registry


class Stage:
    """Publishers in threads of their own, and a worker that may be replaced."""

    def __init__(self, url: str, dice: random.Random) -> None:
        self.books = Books()
        self._url = url
        self._dice = dice
        self._done = threading.Event()
        self._publisher = Publisher(url, topology, max_in_flight=8, heartbeat=HEARTBEAT)
        self._worker = self._started()

    def run(self, seconds: float, *, is_calm: bool) -> None:
        """Publish for some seconds, disturb meanwhile, and look what is left."""
        publishing = [threading.Thread(target=self._publish, args=(seed,)) for seed in range(PUBLISHERS)]
        for thread in publishing:
            thread.start()
        until = time.monotonic() + seconds
        while not self._done.wait(max(0.0, min(self._dice.uniform(0.1, 0.5), until - time.monotonic()))):
            if time.monotonic() >= until:
                self._done.set()
            elif not is_calm:
                self._dice.choice([self._lose_consuming, self._lose_publishing, self._replace_worker])()
        for thread in publishing:
            thread.join()
        self._end(is_calm=is_calm)

    def _publish(self, seed: int) -> None:
        dice = random.Random(seed)
        while not self._done.is_set():
            queue = dice.choice(QUEUES)
            body = self.books.next_body(queue)
            try:
                self._publisher.publish(body, queue, exchange="")
            except PublishError as error:
                self.books.complain(f"{body!r} is not confirmed: {error}")
                return
            self.books.confirm(body)
            if dice.random() < 0.05:
                self._done.wait(dice.uniform(0, 0.01))

    def _end(self, *, is_calm: bool) -> None:
        if not self._worker.wait_idle(IDLE_DEADLINE):
            self.books.complain(f"not idle after {IDLE_DEADLINE:g} s: {self._worker.health().reasons}")
        if left := InsideWorker(self._worker).left_behind():
            self.books.complain(f"the worker keeps {left}")
        if left_of_publisher := InsidePublisher(self._publisher).left_behind():
            self.books.complain(f"the publisher keeps {left_of_publisher} messages")
        self._worker.stop()
        self._publisher.close()
        self.books.close(is_calm=is_calm)

    def _started(self) -> Worker:
        worker = Worker(
            self._url,
            topology,
            registry_for(self.books),
            threads=4,
            heartbeat=HEARTBEAT,
            concurrency={"limited": 2},
            circuit_breaker={"limited": CircuitBreaker(failures=2, pause=0.05)},
        )
        worker.start()
        return worker

    def _replace_worker(self) -> None:
        self._worker.stop()
        self._worker = self._started()

    def _lose_consuming(self) -> None:
        InsideWorker(self._worker).fail_on_session(ConnectionError("a test"))

    def _lose_publishing(self) -> None:
        InsidePublisher(self._publisher).fail_on_session(ConnectionError("a test"))


@contextmanager
def memory() -> Iterator[Callable[[], str]]:
    """Give URLs of embedded brokers, a new one each."""
    yield lambda: f"memory://{uuid.uuid4().hex}"


@contextmanager
def a_rabbitmq() -> Iterator[Callable[[], str]]:
    """Give URLs of virtual hosts of a RabbitMQ, a new one each."""
    with rabbitmq.running() as node, ExitStack() as stack:
        yield lambda: stack.enter_context(node.vhost())


BROKERS = {"memory": memory, "rabbitmq": a_rabbitmq}


def run(broker: str, seconds: float, seed: int) -> list[str]:
    """Run both halves on a broker, and return what is wrong."""
    problems = []
    with BROKERS[broker]() as next_url:
        for is_calm in (True, False):
            stage = Stage(next_url(), random.Random(seed))
            stage.run(seconds / 2, is_calm=is_calm)
            name = f"{broker}, {'calm' if is_calm else 'disturbed'}"
            print(f"{name}: {len(stage.books.confirmed)} confirmed, {stage.books.handled.total()} handled", flush=True)
            problems += [f"{name}: {problem}" for problem in stage.books.problems]
    return problems


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="on each broker")
    parser.add_argument("--seed", type=int, default=None, help="left out: a new one, which is printed")
    parser.add_argument("--only", choices=BROKERS, default=None, help="left out: one after the other")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    sys.setswitchinterval(SWITCH_INTERVAL)
    logging.getLogger("taskroute").setLevel(logging.CRITICAL)
    print(f"seed {seed}, Python {sys.version.split()[0]}", flush=True)
    problems = [
        problem
        for broker in BROKERS
        if arguments.only in (None, broker)
        for problem in run(broker, arguments.seconds, seed)
    ]
    if problems:
        raise SystemExit("the stress has failed:\n" + "\n".join(problems))


if __name__ == "__main__":
    main()
