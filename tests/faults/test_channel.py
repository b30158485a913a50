"""Settlements of deliveries: stale, repeated, too late, of a deleted queue, from many threads."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from tests.faults.site import Site
from tests.faults.traffic import Traffic, jobs, work
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of, running
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, until

from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker
from taskroute.broker.frames import PlainTransport
from taskroute.broker.roles.consumer import Consumer


@pytest.mark.row(10)
def test_handler_finishing_after_a_reconnect_acknowledges_nothing(site: Site, logged: Callable[[str], Calls]) -> None:
    """The acknowledgement of a delivery of the old connection is dropped, never sent for another message's tag."""
    proxy, go_on, calls = site.proxy(), threading.Event(), []

    def handle(number: str) -> None:
        calls.append(number)
        if number == "1" and calls.count("1") == 1:  # the others may have begun by now
            assert go_on.wait(DEADLINE)

    traffic, stale, lost = (
        Traffic(handle),
        logged("stale_ack queue=work message_id='1'"),
        logged("delivery_lost queue=work key='a' message_id='1' elapsed="),
    )
    consuming = logged("consuming queue=work")

    with traffic.running(site.url_by(proxy)) as worker, Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 3)
        assert traffic.done(2)(DEADLINE)
        before = len(consuming.calls)
        proxy.reset()
        consuming.wait(before + 1)
        assert traffic.done(3)(DEADLINE)  # delivered again, while the first handling still waits
        go_on.set()
        stale.wait()
        traffic.publish(publisher, 20)  # on tags that the stale acknowledgement would have hit
        assert traffic.all_done(DEADLINE)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 2  # no 406 since

    assert len(lost.calls) == 1
    assert traffic.verdict(max_duplicates=3, min_confirmed=23).problems == ()


@pytest.mark.row(11)
def test_repeated_settlement_is_sent_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    settle, traffic = Consumer.settle, Traffic()

    def twice(consumer: Consumer, delivery: Any) -> None:
        settle(consumer, delivery)
        settle(consumer, delivery)

    monkeypatch.setattr(Consumer, "settle", twice)

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        for _ in range(20):
            traffic.publish(publisher, 10)
        assert traffic.all_done(DEADLINE)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1

    assert traffic.verdict(max_duplicates=0, min_confirmed=200).problems == ()


@pytest.mark.row(11)
def test_worker_handles_again_after_a_406(site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]) -> None:
    """A worker whose channel the broker has closed with 406 opens another one and handles the next message."""
    traffic, lost = Traffic(), logged("PRECONDITION_FAILED - unknown delivery tag")

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 5)
        assert traffic.all_done(DEADLINE)

        InsideWorker(worker).acknowledge(9999)
        lost.wait()
        traffic.publish(publisher, 5)
        stopwatch.within(1, traffic.done(10), "first message after a 406")
        assert worker.stats().connections == 1


@pytest.mark.row(12)
def test_delivery_past_the_consumer_timeout_is_logged_and_redelivered(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """A delivery that the broker takes back is logged with queue, message id and elapsed time, and comes again.

    The broker closes its channel, and no other queue's.
    """
    go_on, calls = threading.Event(), []

    def handle(number: str) -> None:
        calls.append(number)
        if len(calls) == 1:
            assert go_on.wait(DEADLINE)

    traffic, lost = Traffic(handle), logged("delivery_lost queue=work key='a' message_id='1' elapsed=")
    stale = logged("stale_ack queue=work")

    _set_consumer_timeout(site, 1500, tick=500)
    try:
        with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
            _set_consumer_timeout(site, 1_800_000, tick=500)  # that of the channel that the second delivery comes by
            traffic.publish(publisher)
            stopwatch.within(4, lost.happened(), "the broker's timeout of 1.5 s is noticed")
            assert traffic.done(1)(DEADLINE)  # the second delivery
            go_on.set()
            stale.wait()
            assert worker.wait_idle(DEADLINE)
            assert worker.stats().connections == 1
    finally:
        _set_consumer_timeout(site, 1_800_000, tick=60_000)

    assert traffic.verdict(max_duplicates=1, min_confirmed=1).problems == ()


def _set_consumer_timeout(site: Site, milliseconds: int, *, tick: int) -> None:
    names = {"consumer_timeout": milliseconds, "channel_tick_interval": tick}
    site.node.eval(", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in names.items()) + ".")


@pytest.mark.row(12)
def test_handler_timeout_beyond_the_consumer_timeout_is_warned_of(
    taskroute_url: str, logged: Callable[[str], Calls]
) -> None:
    registry, warned = registry_of(lambda body: None, "#", queue=work, timeout=1800), logged("handler_timeout_long")

    with Worker(taskroute_url, Traffic().topology, registry):
        assert len(warned.calls) == 1


@pytest.mark.row(62)
def test_short_handlers_behind_a_full_prefetch_stay_within_the_consumer_timeout(
    site: Site, logged: Callable[[str], Calls]
) -> None:
    """Sixteen messages of a quarter of a second each are taken in advance, against two seconds: none is handled twice.

    The broker gives a second and a half more, which a busy machine may take.
    """
    queue = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")])
    pause = threading.Event()  # never set: how long a handler takes is the point
    traffic, warned = Traffic(lambda _: not pause.wait(0.25), queue), logged("prefetch_waits queue=work")

    _set_consumer_timeout(site, 3500, tick=250)
    try:
        with Publisher(site.url, traffic.topology) as publisher:
            traffic.publish(publisher, 16)
        with traffic.running(site.url, threads=1, consumer_timeout=2) as worker:
            assert traffic.all_done(DEADLINE)
            assert worker.wait_idle(DEADLINE)
            assert worker.stats().connections == 1
    finally:
        _set_consumer_timeout(site, 1_800_000, tick=60_000)

    warned.wait()
    assert traffic.verdict(max_duplicates=0, min_confirmed=16).problems == ()


@pytest.mark.row(13)
def test_deleted_queue_is_declared_and_consumed_again(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    traffic, consuming = Traffic(), logged("consuming queue=work")

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 5)
        assert traffic.all_done(DEADLINE)

        before = len(consuming.calls)
        site.ctl("delete_queue", "work")
        with stopwatch.timed(5, "a deleted queue takes messages again"):
            consuming.wait(before + 1)
            traffic.publish(publisher)
        stopwatch.within(5, traffic.done(6), "and delivers them")

        assert worker.health().ready
        assert worker.stats().connections == 1


@pytest.mark.row(13)
def test_deleted_queue_makes_a_worker_with_declare_verify_unready(site: Site, logged: Callable[[str], Calls]) -> None:
    """A worker that may not declare says in `health()` which queue is missing."""
    traffic, failed = Traffic(), logged("queue_missing queue=work")

    with Publisher(site.url, traffic.topology), traffic.running(site.limited_url, declare="verify") as worker:
        site.ctl("delete_queue", "work")
        failed.wait()
        health = worker.health()
        assert not health.ready
        assert "queue 'work'" in health.reasons[0]


@pytest.mark.row(61)
def test_worker_of_many_queues_shares_a_channel_where_few_are_allowed(
    site: Site, logged: Callable[[str], Calls]
) -> None:
    """Each queue has a channel of its own, unless the broker's `channel_max` is too small for that."""
    queues = [QueueSpec(name=f"q{number}", type="classic", retry=False, dead_letter=False) for number in range(4)]
    registry, seen = HandlerRegistry(), Calls()

    def handle(body: bytes) -> None:
        seen(body)

    for queue in queues:
        registry.add("#", handle, queue=queue)

    site.node.eval("application:set_env(rabbit, channel_max, 3).")
    try:
        with running(site.url, Topology(queues=queues), registry) as (worker, publisher):
            missing = logged("queue_missing queue=q1")
            site.ctl("delete_queue", "q1")
            missing.wait()
            until(lambda: worker.health().ready)
            for queue in queues:
                publisher.publish(queue.name.encode(), queue.name, exchange="", timeout=DEADLINE)
            seen.wait(4)
            assert worker.wait_idle(DEADLINE)
            assert worker.health().ready
    finally:
        site.node.eval("application:set_env(rabbit, channel_max, 2047).")


def users_of_connections(monkeypatch: pytest.MonkeyPatch) -> dict[int, set[str]]:
    """Note for each connection made from now on which threads read and write it."""
    users: defaultdict[int, set[str]] = defaultdict(set)

    class Watched(PlainTransport):
        def read_frame(self) -> Any:
            users[id(self)].add(threading.current_thread().name)
            return super().read_frame()

        def write(self, data: Any) -> None:
            users[id(self)].add(threading.current_thread().name)
            super().write(data)

    monkeypatch.setattr("taskroute.broker.connection.PlainTransport", Watched)
    return users


@pytest.mark.row(14)
def test_sixteen_handler_threads_leave_each_connection_to_one_thread(
    site: Site, stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """100,000 messages are handled once and acknowledged, and one thread alone reads and writes each connection."""
    caplog.set_level("WARNING")
    users = users_of_connections(monkeypatch)
    count = 100_000
    queue = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")])
    topology, registry = Topology(exchanges=[jobs], queues=[queue]), HandlerRegistry()
    seen, everything, lock = bytearray(count), threading.Event(), threading.Lock()
    left = [count]

    @registry.handler("#", queue=queue)
    def handle(body: bytes) -> None:
        number = int(body)
        with lock:
            assert not seen[number]
            seen[number] = 1
            left[0] -= 1
            if not left[0]:
                everything.set()

    with running(site.url, topology, registry, threads=16) as (worker, publisher):
        messages = ((b"%d" % number, "a") for number in range(count))
        for receipt in publisher.publish_many(messages, exchange=jobs):
            assert not isinstance(receipt, Exception)
        stopwatch.within(60, everything.wait, "the rest of 100,000 messages after the last confirm")
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1
        assert sum(worker.stats().handled.values()) == count

    assert len(users) == 2  # connections
    assert all(len(threads) == 1 for threads in users.values()), users


@pytest.mark.row(14)
def test_unfinished_delivery_holds_back_no_other_acknowledgement(site: Site) -> None:
    """Later deliveries are acknowledged while an earlier one is still being handled."""
    other = QueueSpec(name="other", bindings=[jobs.bind("other")])
    topology, registry = Topology(exchanges=[jobs], queues=[work, other]), HandlerRegistry()
    go_on, seen = threading.Event(), Calls()

    @registry.handler("#", queue=work)
    def slow(body: bytes) -> None:
        if body == b"slow":
            assert go_on.wait(DEADLINE)
        note(body)

    @registry.handler("#", queue=other)
    def note(body: bytes) -> None:
        seen(body)

    with running(site.url, topology, registry, threads=2, prefetch=5) as (worker, publisher):
        publisher.publish(b"slow", "a", exchange=jobs)
        for number in range(30):  # six times the prefetch: they come only if the others were acknowledged
            publisher.publish(b"%d" % number, "other" if number % 2 else "a", exchange=jobs)
        seen.wait(30 + 15)
        go_on.set()
        assert worker.wait_idle(DEADLINE)

    assert b"slow" not in seen.calls[:45]
