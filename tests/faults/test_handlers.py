"""Handlers that raise, exit, hang, run out of memory and kill their process."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.faults import ledger, processes
from tests.faults.site import Site
from tests.faults.traffic import Traffic, jobs
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of, running
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, until

from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, RetryPolicy, Topology, Worker

work = QueueSpec(name="work", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(0.05, 0.1)), delivery_limit=3)
topology = Topology(exchanges=[jobs], queues=[work])
TOPOLOGIES = {
    "shared": topology,
    "single active": Topology(exchanges=[jobs], queues=[work.model_copy(update={"single_active_consumer": True})]),
}
COUNT = 30


def publish_all(url: str, count: int = COUNT, topology: Topology = topology) -> None:
    with Publisher(url, topology) as publisher:
        for number in range(count):
            publisher.submit(ledger.body_of(str(number)), "a", exchange=jobs)


@pytest.mark.row(22)
def test_failing_message_is_dead_lettered_after_its_last_attempt(site: Site) -> None:
    """A handler that always fails is tried as often as the retry policy says, and no more."""
    attempts: Counter[bytes] = Counter()
    registry, lock = HandlerRegistry(), threading.Lock()

    @registry.handler("#", queue=work)
    def handle(body: bytes) -> None:
        with lock:
            attempts[body] += 1
        raise ValueError("always")

    publish_all(site.url)
    with Worker(site.url, topology, registry) as worker:
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().dead_lettered == {"work": COUNT}
        assert worker.stats().retried == {"work": 2 * COUNT}

    assert set(attempts.values()) == {3}
    assert sorted(ledger.drain(site.url, ["work.dead"])) == sorted(attempts)
    assert ledger.drain(site.url, ["work"]) == []


class Hanging:
    """A handler that hangs until `go_on` is set, and one for every other key that returns at once."""

    def __init__(self) -> None:
        self.registry, self.go_on, self.seen = HandlerRegistry(), threading.Event(), Calls()
        self.registry.add("hang", self.hang, queue=work, timeout=0.2)
        self.registry.add("#", self.handle, queue=work)

    def hang(self, body: bytes) -> None:
        assert self.go_on.wait(DEADLINE)
        self.seen(b"hung")

    def handle(self, body: bytes) -> None:
        self.seen(body)

    def handled(self, *, hung: int, others: int) -> dict[tuple[str, str], int]:
        """Return `stats().handled` of a worker that has handled so many messages."""
        counts = {self.hang: hung, self.handle: others}
        return {("work", f"{each.__module__}.{each.__qualname__}"): count for each, count in counts.items()}


def handler_threads(worker: str) -> list[threading.Thread]:
    """The threads of one worker: another test may have left some of its own, which end any time."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"{worker}-handler-")]


@pytest.mark.row(23)
def test_hung_handlers_are_logged_counted_and_replaced(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """Other threads take the place of those that hang, and end when those go on; heartbeats are sent meanwhile."""
    hanging, overdue = Hanging(), logged("handler_overdue queue=work")

    with running(site.url, topology, hanging.registry, threads=2, prefetch=16, name="hung") as (worker, publisher):
        for _ in range(2):  # as many as there are threads
            publisher.publish(b"{}", "hang", exchange=jobs)
        stopwatch.within(1, overdue.happened(2), "two hung handlers are logged")
        for number in range(20):
            publisher.publish(b"%d" % number, "a", exchange=jobs)
        hanging.seen.wait(20)

        assert worker.stats().overdue == {"work": 2}
        assert not worker.health().ready
        assert "longer than its timeout" in worker.health().reasons[0]
        InsideWorker(worker).run_on_session()  # its thread goes on, which sends heartbeats
        assert worker.stats().connections == 1

        hanging.go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().handled == hanging.handled(hung=2, others=20)
        # A handler's thread goes on for a moment when its message is settled.
        until(lambda: worker.health().ready)
        until(lambda: len(handler_threads("hung")) == 2)  # those that were replaced have ended

    assert ledger.drain(site.url, ["work", "work.dead"]) == []


@pytest.mark.row(23)
def test_hung_handlers_are_replaced_by_at_most_as_many_threads(site: Site, logged: Callable[[str], Calls]) -> None:
    """When as many replacements as `threads` hang too, the next message waits until a handler goes on."""
    hanging, overdue = Hanging(), logged("handler_overdue queue=work")

    with running(site.url, topology, hanging.registry, threads=2, prefetch=16, name="hung") as (worker, publisher):
        for _ in range(4):  # twice as many as there are threads
            publisher.publish(b"{}", "hang", exchange=jobs)
        overdue.wait(4)
        publisher.publish(b"late", "a", exchange=jobs)

        assert len(handler_threads("hung")) == 4
        assert b"late" not in hanging.seen.calls
        InsideWorker(worker).run_on_session()  # its thread goes on, which sends heartbeats
        assert worker.stats().connections == 1

        hanging.go_on.set()
        assert worker.wait_idle(DEADLINE)
        assert b"late" in hanging.seen.calls
        assert worker.stats().handled == hanging.handled(hung=4, others=1)
        # A handler's thread goes on for a moment when its message is settled.
        until(lambda: worker.health().ready)
        until(lambda: len(handler_threads("hung")) == 2)  # those that were replaced have ended

    assert ledger.drain(site.url, ["work", "work.dead"]) == []


@pytest.mark.row(23)
def test_message_of_a_hung_handler_is_not_acknowledged(site: Site) -> None:
    """`stop` names the hung handler, and its message is back in the queue."""
    registry, begun, go_on = HandlerRegistry(), threading.Event(), threading.Event()

    @registry.handler("#", queue=work, timeout=0.1)
    def hang(body: bytes) -> None:
        begun.set()
        go_on.wait(DEADLINE)

    publish_all(site.url, 1)
    worker = Worker(site.url, topology, registry, threads=1, shutdown_timeout=0.5, name="hung")
    worker.start()
    assert begun.wait(DEADLINE)

    with pytest.raises(Exception, match="is handling 'a' of queue 'work'"):
        worker.stop()
    site.wait_ready("work", 1)
    assert ledger.drain(site.url, ["work"]) == [ledger.body_of("0")]

    go_on.set()
    until(lambda: not handler_threads("hung"))  # or else another test counts it


def kill_on(url: str, folder: Path, how: str, kind: str = "shared") -> None:
    """Run a worker in a process of its own, whose handler kills the process when it sees message 7."""
    book, registry = ledger.Ledger(folder), HandlerRegistry()

    @registry.handler("#", queue="work")
    def handle(body: dict) -> None:  # type: ignore[type-arg]
        if body["id"] == "7":
            os._exit(3) if how == "exit" else os.kill(os.getpid(), signal.SIGKILL)
        book.write("done", body["id"])

    with Worker(url, TOPOLOGIES[kind], registry, threads=4, prefetch=16) as worker:
        assert worker.wait_idle(DEADLINE)


@pytest.mark.row(24)
@pytest.mark.parametrize(("how", "kind"), [("exit", "shared"), ("kill", "shared"), ("kill", "single active")])
def test_message_that_kills_its_process_is_dead_lettered_alone(
    how: str, kind: str, site: Site, tmp_path: Path, stopwatch: Stopwatch
) -> None:
    """A quorum queue dead-letters the message at its delivery limit; the messages beside it are handled."""
    publish_all(site.url, topology=TOPOLOGIES[kind])

    deaths = 0
    while True:
        exitcode = processes.run(kill_on, site.url, tmp_path, how, kind)
        if exitcode == 0:
            break
        assert exitcode == (3 if how == "exit" else -signal.SIGKILL)
        deaths += 1
        assert deaths <= 10
        site.wait_unconsumed()

    site.wait_ready("work.dead", 1)
    dead = ledger.drain(site.url, ["work.dead"])
    done = ledger.read(tmp_path).of("done")
    stopwatch.note(f"{deaths} processes died (delivery limit 3), dead letters: {len(dead)}, others done: {len(done)}")
    assert dead == [ledger.body_of("7")]
    assert set(done) == {str(number) for number in range(COUNT)} - {"7"}


@pytest.mark.row(24)
def test_connection_cuts_alone_dead_letter_nothing(site: Site) -> None:
    """Cutting the connection more often than the delivery limit dead-letters no message."""
    traffic, proxy = Traffic(queue=work), site.proxy()
    cuts = 12  # four times the delivery limit

    with traffic.running(site.url_by(proxy)) as worker, traffic.publishing(site.url, pause=0.002):
        for _ in range(cuts):
            assert traffic.next_done(30)(DEADLINE)
            proxy.reset()
        assert traffic.next_done(30)(DEADLINE)
        assert worker.stats().connections >= cuts

    with traffic.running(site.url) as worker:
        assert traffic.all_done(DEADLINE)
        assert worker.wait_idle(DEADLINE)

    assert ledger.drain(site.url, ["work.dead"]) == []


@pytest.mark.row(25)
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_exit_raised_by_a_handler_is_a_failure_and_ends_no_thread(error: type[BaseException], site: Site) -> None:
    registry = HandlerRegistry()
    queue = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")], retry=False)
    own_topology = Topology(exchanges=[jobs], queues=[queue])

    @registry.handler("#", queue=queue)
    def leave(body: bytes) -> None:
        raise error

    with running(site.url, own_topology, registry, threads=4, name="leaving") as (worker, publisher):
        before = {thread.ident for thread in handler_threads("leaving")}
        list(publisher.publish_many([(b"{}", "a")] * 250, exchange=jobs))
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().dead_lettered == {"work": 250}
        after = {thread.ident for thread in handler_threads("leaving")}

    assert before == after
    assert len(before) == 4


def allocate(url: str) -> None:
    """Run a worker in a process of its own, which may not have the memory that its handler asks for."""
    registry = HandlerRegistry()

    @registry.handler("#", queue=work, retry=False)
    def handle(body: dict) -> None:  # type: ignore[type-arg]
        if body["id"] == "7":
            bytearray(8 * 1024**3)

    with Worker(url, topology, registry, threads=2) as worker:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 1024**3, 4 * 1024**3))
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().dead_lettered == {"work": 1}
        assert worker.health().ready


@pytest.mark.row(26)
def test_memory_error_in_a_handler_is_a_failure(site: Site) -> None:
    """A handler that runs out of memory fails like any other; the messages beside it are handled."""
    publish_all(site.url)
    assert processes.run(allocate, site.url) == 0
    assert ledger.drain(site.url, ["work.dead"]) == [ledger.body_of("7")]


@pytest.mark.row(24)
def test_poison_message_on_a_classic_queue_is_never_dead_lettered(site: Site, tmp_path: Path) -> None:
    """A classic queue counts no deliveries: a message that kills its process comes again for ever."""
    exchange = ExchangeSpec(name="jobs")
    classic = QueueSpec(name="classic", type="classic", bindings=[exchange.bind("#")])
    own_topology = Topology(exchanges=[exchange], queues=[classic])
    with Publisher(site.url, own_topology) as publisher:
        publisher.publish(b'"poison"', "a", exchange=exchange)

    for _ in range(5):
        assert processes.run(die_on_any, site.url, own_topology.model_dump_json()) == 3
        site.wait_unconsumed()

    assert ledger.drain(site.url, ["classic.dead"]) == []
    assert ledger.drain(site.url, ["classic"]) == [b'"poison"']


def die_on_any(url: str, specs: str) -> None:
    registry = registry_of(lambda body: os._exit(3), "#", queue="classic")
    with Worker(url, Topology.model_validate_json(specs), registry, threads=1):
        threading.Event().wait(DEADLINE)
