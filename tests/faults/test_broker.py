"""The broker dies, stops, freezes, is absent, and closes every connection."""

from __future__ import annotations

import gc
import logging
import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import psutil
import pytest
from tests.faults.site import Site
from tests.faults.traffic import PREFETCH, WINDOW, Traffic, jobs, topology
from tests.kit.calls import Calls
from tests.kit.inside import InsidePublisher, InsideWorker, is_waiting
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, until

from taskroute import BrokerUnavailableError, Publisher, PublishTimeoutError, QueueSpec
from taskroute.broker import session as sessions
from taskroute.broker.roles import missing_queues
from taskroute.broker.roles.role import Role
from taskroute.broker.url import Nodes


@pytest.mark.row(1)
def test_broker_killed_under_load_loses_no_confirmed_message(site: Site, stopwatch: Stopwatch) -> None:
    """A broker that is killed and restarted under load loses no confirmed message, and handling goes on by itself."""
    traffic = Traffic()

    with traffic.running(site.url) as worker:
        with traffic.publishing(site.url):
            assert traffic.done(50)(DEADLINE)
            site.node.restart()
            stopwatch.within(5, traffic.next_done(), "first message after the broker was up")
            assert traffic.next_done(50)(DEADLINE)
        assert traffic.all_done(DEADLINE)
        assert worker.stats().connections >= 2

    verdict = traffic.verdict(max_duplicates=PREFETCH + WINDOW, min_confirmed=100)
    stopwatch.note(str(verdict))
    assert verdict.problems == ()


@pytest.mark.row(2)
def test_broker_application_restart_loses_no_confirmed_message(site: Site, stopwatch: Stopwatch) -> None:
    """A broker whose application is stopped and started loses no confirmed message; its queue is consumed again."""
    traffic = Traffic()

    with traffic.running(site.url) as worker:
        with traffic.publishing(site.url):
            assert traffic.done(50)(DEADLINE)
            site.node.ctl("stop_app")
            site.node.ctl("start_app")
            stopwatch.within(5, traffic.next_done(), "first message after start_app")
        assert traffic.all_done(DEADLINE)
        assert worker.health().ready
        assert site.table("list_consumers", "queue_name") == [["work"]]

    assert traffic.verdict(max_duplicates=PREFETCH + WINDOW, min_confirmed=50).problems == ()


@pytest.mark.row(3)
def test_frozen_broker_is_noticed_and_loses_no_confirmed_message(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """`publish` raises at its deadline, and the worker notices within two heartbeats and 2 s."""
    traffic, heartbeat = Traffic(), 5

    with traffic.running(site.url, heartbeat=heartbeat) as worker:
        # Another publisher has its deadline: this one may have no room, as its messages are not confirmed.
        with traffic.publishing(site.url, heartbeat=heartbeat), Publisher(site.url, topology) as publisher:
            assert traffic.done(20)(DEADLINE)
            lost = logged("connection_lost session=taskroute-worker ")
            with site.node.paused():
                with stopwatch.timed(2, "publish with a timeout of 2 s raises"), pytest.raises(PublishTimeoutError):
                    publisher.publish(b"{}", "a", exchange=jobs, timeout=2)
                stopwatch.within(2 * heartbeat + 2, lost.happened(), "a frozen broker is noticed")
            stopwatch.within(15, traffic.next_done(), "first message after it goes on")
        assert traffic.all_done(DEADLINE)
        assert worker.stats().connections >= 2

    assert traffic.verdict(max_duplicates=PREFETCH + WINDOW, min_confirmed=20).problems == ()


@pytest.mark.row(3)
def test_unanswered_declaration_is_given_up_and_tried_again(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that sends heartbeats, and no answer to a declaration, does not hold a worker for ever."""
    # A classic queue is asked for before; any other may hang as well.
    monkeypatch.setattr(missing_queues, "may_stay_unanswered", lambda _: False)
    queue = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")], retry=False, dead_letter=False)
    traffic, failed = Traffic(queue=queue), logged("connect_failed session=taskroute-worker ")
    with Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher)
    worker = traffic.worker(site.url, heartbeat=1)
    runner = threading.Thread(target=worker.run)
    site.node.eval(f"{site.queue_pid('work')}, sys:suspend(amqqueue:get_pid(Q)).")

    runner.start()
    try:
        try:
            # The broker ends a connection on which it hears nothing, as from a worker that waits for an answer.
            stopwatch.within(10, failed.happened(), "a declaration that is not answered is given up")
        finally:
            site.node.eval(f"{site.queue_pid('work')}, sys:resume(amqqueue:get_pid(Q)).")
        assert traffic.all_done(DEADLINE)
    finally:
        worker.stop()
        runner.join(DEADLINE)


class _Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.row(4)
def test_session_without_a_broker_logs_each_attempt_for_ten_minutes(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """Each attempt is one log line, pauses stay short, and the error names node, attempts and time, and no password."""
    clock, failed = _Clock(), logged("connect_failed session=absent ")
    session = sessions.Session(Nodes(site.deserted_url), Role(), name="absent", heartbeat=5, monotonic=clock)
    session.start()

    attempts = 0
    try:
        while clock.now < 600:
            attempts += 1
            while not failed.happened(attempts)(0.02):
                if is_waiting(session):  # or else it has not begun to: it would not notice that the clock was moved
                    clock.now += sessions.LONGEST_DELAY
                    session.wake()
        error = session.unavailable()
    finally:
        session.stop()
        assert session.join(DEADLINE)

    assert attempts >= 600 / 30
    assert len(failed.calls) - attempts <= 1  # one line for each attempt
    assert isinstance(error, BrokerUnavailableError)
    assert re.search(r"amqp://app@127.0.0.1:\d+/.*: \d+ attempts in \d+.\d s: ConnectionRefusedError", str(error))
    stopwatch.note(f"{attempts} attempts in ten minutes; {error}")


@pytest.mark.row(4)
def test_start_and_publish_without_a_broker_raise_at_their_deadline(site: Site, stopwatch: Stopwatch) -> None:
    url, traffic = site.deserted_url, Traffic()

    with stopwatch.timed(1, "start(timeout=1) raises"), pytest.raises(BrokerUnavailableError, match=r"attempts? in"):
        traffic.worker(url).start(timeout=1)

    publisher = Publisher(url, topology)
    with pytest.raises(BrokerUnavailableError, match=r"attempts? in"):
        publisher.publish(b"{}", "a", exchange=jobs, timeout=1)
    publisher.close()


@pytest.mark.row(5)
def test_two_hundred_closed_connections_leak_nothing(
    site: Site, stopwatch: Stopwatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing every connection 200 times leaks no memory, descriptor or thread, and dead-letters nothing."""
    caplog.set_level(logging.CRITICAL)  # the records that pytest keeps would be taken for a leak
    process, traffic = psutil.Process(os.getpid()), Traffic()

    with ExitStack() as running:
        workers = [running.enter_context(traffic.running(site.url)) for _ in range(4)]  # whose cuts count together
        with traffic.publishing(site.url) as publisher:
            insides: list[InsideWorker | InsidePublisher] = [*map(InsideWorker, workers), InsidePublisher(publisher)]
            assert traffic.done(20)(DEADLINE)
            _close_connections(site, 20)
            assert traffic.next_done(5)(DEADLINE)
            _wait_connected(insides)
            gc.collect()  # py-amqp's objects are cycles, each with a buffer of 128 KiB
            before = process.memory_info().rss, process.num_fds(), process.num_threads()
            for _ in range(5):  # Python may leave more of them uncollected than before, which is no leak
                _close_connections(site, 10)
                assert traffic.next_done(5)(DEADLINE)
                _wait_connected(insides)
                gc.collect()
            after = process.memory_info().rss, process.num_fds(), process.num_threads()
        assert traffic.all_done(DEADLINE)
        assert all(worker.wait_idle(DEADLINE) for worker in workers)  # there may still be duplicates
        cuts = sum(worker.stats().connections - 1 for worker in workers)
        dead = [worker.stats().dead_lettered for worker in workers]

    stopwatch.note(f"{cuts} reconnects, memory {(after[0] - before[0]) / 1e6:+.2f} MB (promise: 5 MB)")
    assert cuts >= 200  # of 280: one that the broker closes before its client is done with the setup is none
    assert after[0] - before[0] <= 5_000_000
    assert after[1:] == before[1:]
    assert not any(dead)
    assert traffic.verdict(max_duplicates=70 * (4 * PREFETCH + WINDOW), min_confirmed=20).problems == ()
    assert site.depths("work", "work.dead", "work.retry.200") == [0, 0, 0]


def _wait_connected(insides: Sequence[InsideWorker | InsidePublisher]) -> None:
    """Wait until each client has all that belongs to a connection. The broker may count an old one that is closing."""
    for inside in insides:
        until(lambda inside=inside: inside.session.is_open)  # type: ignore[misc]
        inside.run_on_session()


def _close_connections(site: Site, times: int) -> None:
    """Close every connection as an operator does, each time when publisher and workers are back, and have worked.

    One that has not worked counts as one that fails: the next one comes later and later.
    """
    site.node.eval(
        "Consumers = fun() -> [proplists:get_value(channel_pid, Each) || "
        f'Each <- rabbit_amqqueue:consumers_all(<<"{site.name}">>)] end, '
        "Wait = fun W(Done) -> case Done() of true -> ok; false -> timer:sleep(2), W(Done) end end, "
        "IsBack = fun() -> length(Consumers()) >= 4 andalso length(rabbit_networking:connections()) >= 5 end, "
        "Pace = 50, [begin Wait(IsBack), timer:sleep(Pace), "
        "Connections = rabbit_networking:connections(), Old = Consumers() ++ Connections, "
        '[catch rabbit_networking:close_connection(C, "a test") || C <- Connections], '
        # Not until there are none: the first ones may be back before the last ones are gone.
        "Wait(fun() -> Old -- (Consumers() ++ rabbit_networking:connections()) == Old end) end "
        f"|| _ <- lists:seq(1, {times})], Wait(IsBack)."
    )
