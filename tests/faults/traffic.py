"""Numbered messages through a worker and a publisher of this process, with the books kept."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Final, Literal, get_args

from tests.faults.ledger import Entries, Verdict, body_of, check
from tests.kit.running import registry_of

from taskroute import ExchangeSpec, Publisher, QueueSpec, RetryPolicy, Topology, Worker
from taskroute.broker.url import Urls

Event = Literal["attempted", "confirmed", "done"]
EVENTS: Final[tuple[Event, ...]] = get_args(Event)
PREFETCH = 16
WINDOW = 100

jobs = ExchangeSpec(name="jobs")
work = QueueSpec(name="work", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(0.2,)))
topology = Topology(exchanges=[jobs], queues=[work])


class Traffic:
    """One exchange, one queue, and how often each message was attempted, confirmed and done. Any thread may call it.

    Args:
        handle: called with each message's id before it is noted as done.
        queue: instead of the quorum queue `work`.
    """

    def __init__(self, handle: Callable[[str], object] = lambda _: None, queue: QueueSpec = work) -> None:
        self._handle = handle
        self._changed = threading.Condition()
        self._counts = {event: Counter[str]() for event in EVENTS}
        self._moments: dict[str, list[float]] = {event: [] for event in EVENTS}
        self._stop = threading.Event()
        self._next = 0
        self.queue = queue
        self.topology = Topology(exchanges=[jobs], queues=[queue])
        self.errors: list[BaseException] = []

    def worker(self, url: Urls, **options: Any) -> Worker:
        """A worker on the queue, not started."""
        registry = registry_of(self._receive, "#", queue=self.queue)
        options = {"threads": 4, "prefetch": PREFETCH, "heartbeat": 5} | options
        return Worker(url, self.topology, registry, **options)

    @contextmanager
    def running(self, url: Urls, **options: Any) -> Iterator[Worker]:
        """A worker on the queue."""
        with self.worker(url, **options) as worker:
            yield worker

    @contextmanager
    def publishing(self, url: Urls, *, pause: float = 0.005, **options: Any) -> Iterator[Publisher]:
        """A publisher, and a thread that publishes one message after the other until the block is left."""
        options = {"max_in_flight": WINDOW, "timeout": 90, "heartbeat": 5} | options
        with Publisher(url, self.topology, **options) as publisher:
            thread = threading.Thread(target=self._publish, args=(publisher, pause), name="traffic")
            thread.start()
            try:
                yield publisher
            finally:
                self.stop_publishing()
                thread.join()

    def stop_publishing(self) -> None:
        """Publish nothing more. What was submitted goes on."""
        self._stop.set()

    def submit(self, publisher: Publisher, count: int = 1) -> list[Future[Any]]:
        """Publish so many messages; the futures, which have their outcomes once the books have them."""
        return [self._submit(publisher) for _ in range(count)]

    def publish(self, publisher: Publisher, count: int = 1) -> None:
        """Publish so many messages and wait until they are confirmed."""
        for future in self.submit(publisher, count):
            future.result(60)

    @property
    def attempted(self) -> int:
        """The number of the message that was attempted last."""
        with self._changed:
            return self._next

    def done(self, count: int) -> Callable[[float], bool]:
        """An event: so many messages are done."""
        return lambda timeout: self._wait(lambda: len(self._counts["done"]) >= count, timeout)

    def next_done(self, count: int = 1) -> Callable[[float], bool]:
        """An event: so many more messages are done than now."""
        return self.done(len(self._counts["done"]) + count)

    def next_confirmed(self, count: int) -> Callable[[float], bool]:
        """An event: so many more messages are confirmed than now."""
        confirmed = self._counts["confirmed"]
        enough = len(confirmed) + count
        return lambda timeout: self._wait(lambda: len(confirmed) >= enough, timeout)

    def all_done(self, timeout: float) -> bool:
        """An event: everything that was confirmed is done."""
        return self._wait(lambda: self._counts["confirmed"].keys() <= self._counts["done"].keys(), timeout)

    def repeated(self, after: int = 0) -> int:
        """How many handlings there were of messages with later numbers that had been handled before."""
        with self._changed:
            return sum(count - 1 for number, count in self._counts["done"].items() if int(number) > after)

    def outstanding(self) -> int:
        """How many messages are confirmed and not done."""
        with self._changed:
            return len(self._counts["confirmed"].keys() - self._counts["done"].keys())

    def last(self, event: Event) -> float:
        """When something last happened to a message, by the monotonic clock."""
        with self._changed:
            return self._moments[event][-1]

    def longest_gap(self, event: Event) -> float:
        """The longest time, in seconds, in which that happened to no message."""
        with self._changed:
            return max(later - earlier for earlier, later in itertools.pairwise(self._moments[event]))

    def verdict(self, *, max_duplicates: int, min_confirmed: int, **options: Any) -> Verdict:
        """Check the books."""
        with self._changed:
            entries = Entries({event: Counter(counts) for event, counts in self._counts.items()})
        return check(entries, max_duplicates=max_duplicates, min_confirmed=min_confirmed, **options)

    def _wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def _note(self, event: Event, number: str) -> None:
        with self._changed:
            self._counts[event][number] += 1
            self._moments[event].append(time.monotonic())
            self._changed.notify_all()

    def _receive(self, body: bytes) -> None:
        number = json.loads(body)["id"]
        assert body == body_of(number)
        self._handle(number)
        self._note("done", number)

    def _publish(self, publisher: Publisher, pause: float) -> None:
        while not self._stop.wait(pause):
            self._submit(publisher)

    def _submit(self, publisher: Publisher) -> Future[Any]:
        with self._changed:
            self._next += 1
            number = str(self._next)
        self._note("attempted", number)
        noted: Future[Any] = Future()  # whoever waits for the publisher's own is woken before its callbacks are called
        future = publisher.submit(body_of(number), "a", exchange=jobs, message_id=number)
        future.add_done_callback(lambda done: self._settled(done, number, noted))
        return noted

    def _settled(self, future: Future[Any], number: str, noted: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._note("confirmed", number)
            noted.set_result(future.result())
        else:
            self.errors.append(error)
            noted.set_exception(error)
