"""A trial: two workers and a publisher on a cluster, what is done to it meanwhile, and what the books say then."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.faults.traffic import PREFETCH, WINDOW, Traffic, work
from tests.kit.cluster import Cluster
from tests.kit.rabbitmq import Node
from tests.kit.stopwatch import Stopwatch

from taskroute import Publisher, PublishRejectedError, QueueSpec, Worker

PAUSE = 0.01
"""Seconds between two messages."""

SAMPLE = 0.25
UNTRUE_AFTER = 10.0
"""Seconds without any work, while there is some, after which a worker that says it is ready does not tell the truth."""


@dataclass
class Watch:
    """Asks workers how they are, a few times a second, in a thread of its own."""

    workers: Sequence[Worker]
    traffic: Traffic
    untrue_after: float = UNTRUE_AFTER
    problems: list[str] = field(default_factory=list)
    said: set[str] = field(default_factory=set)
    """What the workers have said, without what differs from run to run."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch for as long as the block takes."""
        ended = threading.Event()
        thread = threading.Thread(target=self._watch, args=(ended,), name="watch")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _watch(self, ended: threading.Event) -> None:
        ready_at: dict[int, float] = {}  # one that is consuming again has done nothing for as long as it was not
        while not ended.wait(SAMPLE):
            done_at = self.traffic.last("done")
            has_work = self.traffic.outstanding() > 0
            for number, worker in enumerate(self.workers):
                health = worker.health()
                self.said |= {_kind(text) for text in (*health.reasons, *health.warnings)}
                if not health.ready:
                    ready_at.pop(number, None)
                    continue
                now = time.monotonic()
                idle = now - max(done_at, ready_at.setdefault(number, now))
                if has_work and idle > self.untrue_after:
                    self.problems.append(f"ready, and nothing was done for {idle:.0f} s")


def _kind(text: str) -> str:
    """Return a reason without names, numbers and what follows the first colon."""
    head = re.sub(r"amqp://\S+", "NODE", text).partition(": ")[0]
    return re.sub(r"\d+(\.\d+)?", "N", head).replace("attempts", "attempt")


@dataclass
class Trial:
    """What a test does something to. One thread."""

    cluster: Cluster
    vhost: str
    traffic: Traffic
    workers: Sequence[Worker]
    publisher: Publisher
    watch: Watch

    @property
    def leader(self) -> Node:
        """The node on which the leader of the queue runs. Every node must be up."""
        return self.cluster.leader(self.vhost, self.traffic.queue.name)

    def goes_on(self, count: int = 100, timeout: float = 90) -> None:
        """Wait until so many more messages are published and done than now."""
        assert self.traffic.next_done(count)(timeout), f"it does not go on: {self.watch.said}, {self.traffic.errors}"


@contextmanager
def trial(
    cluster: Cluster,
    vhost: str,
    stopwatch: Stopwatch,
    *,
    first: Node | None = None,
    queue: QueueSpec = work,
    cuts: int,
    gap: float,
    untrue_after: float = UNTRUE_AFTER,
) -> Iterator[Trial]:
    """Run a trial, and check the books at its end.

    Args:
        first: the node that each client tries first; needs `in_given_order`.
        queue: that is consumed.
        cuts: how often each connection may be lost.
        gap: seconds in which nothing is handled, as promised. A report: no test depends on it.
        untrue_after: seconds after which an idle worker has to say that it is not ready.
    """
    traffic, urls = Traffic(queue=queue), cluster.urls(vhost, first=first)
    with ExitStack() as clients:
        workers = [clients.enter_context(traffic.running(urls, name=f"worker-{number}")) for number in (1, 2)]
        publisher = clients.enter_context(traffic.publishing(urls, pause=PAUSE))
        assert traffic.done(100)(30)
        watch = Watch(workers, traffic, untrue_after)
        clients.enter_context(watch.watching())
        yield Trial(cluster, vhost, traffic, workers, publisher, watch)
        traffic.stop_publishing()
        assert publisher.wait_idle(120)
        assert traffic.all_done(120), f"{traffic.outstanding()} are confirmed and not done: {watch.said}"
    _check(traffic, watch, stopwatch, workers, cuts, gap)


def _check(
    traffic: Traffic, watch: Watch, stopwatch: Stopwatch, workers: Sequence[Worker], cuts: int, gap: float
) -> None:
    verdict = traffic.verdict(max_duplicates=cuts * (PREFETCH * len(workers) + WINDOW), min_confirmed=200)
    stopwatch.note(f"nothing handled for {traffic.longest_gap('done'):.1f} s (promise: {gap:g} s)")
    stopwatch.note(f"nothing confirmed for {traffic.longest_gap('confirmed'):.1f} s")
    stopwatch.note(f"{verdict}; {len(traffic.errors)} refused")
    stopwatch.note(f"health() said: {'; '.join(sorted(watch.said)) or 'ready throughout'}")
    assert not verdict.problems
    assert not watch.problems
    assert all(isinstance(error, PublishRejectedError) for error in traffic.errors), traffic.errors
