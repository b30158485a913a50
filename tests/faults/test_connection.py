"""A network that resets, falls silent, trickles and cuts, and a broker that forgets a consumer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import amqp
import pytest
from tests.faults.site import SECRET, Site
from tests.faults.traffic import PREFETCH, WINDOW, Traffic, jobs
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, until

from taskroute import ConfigurationError, HandlerRegistry, Publisher, QueueSpec, Topology, Worker
from taskroute.broker import session as sessions
from taskroute.broker.connection import connect
from taskroute.broker.url import parse_urls


@pytest.mark.row(6)
def test_reset_connections_lose_no_confirmed_message(site: Site, stopwatch: Stopwatch) -> None:
    """Handling goes on after each reset, and no confirmed message is lost."""
    proxy, traffic = site.proxy(), Traffic()
    url = site.url_by(proxy)

    with traffic.running(url) as worker:
        with traffic.publishing(url):
            for _ in range(3):
                assert traffic.next_done(20)(DEADLINE)
                proxy.reset()
                stopwatch.within(5, traffic.next_done(), "first message after a reset")
        assert traffic.all_done(DEADLINE)
        until(lambda: worker.stats().connections >= 4)  # what was confirmed may have been in its hands before the last

    assert traffic.verdict(max_duplicates=3 * (PREFETCH + WINDOW), min_confirmed=60).problems == ()


@pytest.mark.row(6)
def test_connections_closed_by_an_operator_lose_no_confirmed_message(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    traffic, lost = Traffic(), logged("connection_lost session=taskroute-worker ")

    with traffic.running(site.url) as worker:
        with traffic.publishing(site.url):
            assert traffic.done(20)(DEADLINE)
            site.node.close_all_connections()
            lost.wait()
            stopwatch.within(5, traffic.next_done(), "first message after close_all_connections")
        assert traffic.all_done(DEADLINE)
        until(lambda: worker.stats().connections >= 2)

    assert traffic.verdict(max_duplicates=PREFETCH + WINDOW, min_confirmed=20).problems == ()


@pytest.mark.row(7)
def test_silent_network_is_noticed_within_two_heartbeats(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """Worker and publisher notice silence within two heartbeats and 2 s; no confirmed message is lost."""
    proxy, traffic, heartbeat = site.proxy(), Traffic(), 5
    lost = logged("connection_lost session=taskroute-")
    url = site.url_by(proxy)

    with traffic.running(url, heartbeat=heartbeat) as worker:
        with traffic.publishing(url, heartbeat=heartbeat):
            assert traffic.done(20)(DEADLINE)
            with proxy.stalled():
                stopwatch.within(2 * heartbeat + 2, lost.happened(2), "both sides notice silence")
            proxy.reset()
            stopwatch.within(15, traffic.next_done(), "first message after it")
        assert traffic.all_done(DEADLINE)
        assert worker.stats().connections >= 2

    assert traffic.verdict(max_duplicates=PREFETCH + WINDOW, min_confirmed=20).problems == ()


@pytest.mark.row(7)
@pytest.mark.parametrize("heartbeat", [0, 0.5, True, None, 100_000])
def test_invalid_heartbeat_is_refused(heartbeat: object) -> None:
    """No setting makes a connection without heartbeats."""
    with pytest.raises(ConfigurationError, match="heartbeat="):
        Publisher("memory://", Topology(), heartbeat=heartbeat)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="heartbeat="):
        Traffic().worker("memory://", heartbeat=heartbeat)


@pytest.mark.row(7)
def test_broker_without_heartbeats_gets_those_of_the_client(site: Site) -> None:
    site.node.eval("application:set_env(rabbit, heartbeat, 0).")
    try:
        connection = connect(parse_urls(site.url)[0], name="beats", heartbeat=7)
        try:
            assert connection.heartbeat == 7
        finally:
            connection.collect()
    finally:
        site.node.eval("application:set_env(rabbit, heartbeat, 60).")


@pytest.mark.row(8)
def test_connection_cut_at_every_byte_delivers_no_partial_body(
    site: Site, stopwatch: Stopwatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection cut after 1, 2, 3, ... bytes, up to a whole delivery, neither hangs nor hands out a partial body."""
    monkeypatch.setattr(sessions, "FIRST_DELAY", 0.0)
    monkeypatch.setattr(sessions, "LONGEST_DELAY", 0.0)
    queue = QueueSpec(name="work", type="classic", retry=False, dead_letter=False)
    proxy, topology = site.proxy(), Topology(queues=[queue])
    bodies: list[bytes] = []
    handled = threading.Event()
    registry = HandlerRegistry()

    @registry.handler("#", queue=queue)
    def handle(body: bytes) -> None:
        bodies.append(body)
        handled.set()

    body = bytes(range(256))
    with Publisher(site.url, topology) as publisher:
        publisher.publish(body, "work", exchange="")
        counts = itertools.count(1)
        proxy.cut_after(iter(lambda: 100_000 if handled.is_set() else next(counts), None))
        worker = Worker(site.url_by(proxy), topology, registry, threads=1, declare="skip", heartbeat=5)
        worker.start(timeout=None)
        try:
            assert handled.wait(6 * DEADLINE)  # for some hundred connections
            assert worker.wait_idle(DEADLINE)
        finally:
            worker.stop()

    cuts = next(counts)
    assert cuts > 500  # start, tune, open, channel and delivery take more
    assert set(bodies) == {body}
    stopwatch.note(f"{cuts} cuts, {len(bodies)} deliveries complete enough to be handled")


@pytest.mark.row(8)
def test_trickling_frame_is_not_taken_for_silence(site: Site, stopwatch: Stopwatch) -> None:
    """A frame that trickles in for longer than two heartbeats does not end the connection."""
    queue, proxy, heartbeat = QueueSpec(name="work"), site.proxy(), 2
    topology, registry = Topology(queues=[queue]), HandlerRegistry()
    got: list[bytes] = []
    handled = threading.Event()

    @registry.handler("#", queue=queue)
    def handle(body: bytes) -> None:
        got.append(body)
        handled.set()

    body = b"x" * 4096  # in one frame: longer than two heartbeats
    with Worker(site.url_by(proxy), topology, registry, heartbeat=heartbeat) as worker:
        proxy.trickle(768)
        with Publisher(site.url, topology) as publisher:
            publisher.publish(body, "work", exchange="")
        stopwatch.within(6, handled.wait, "4 KiB at 0.75 KiB/s")
        proxy.trickle(None)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1

    assert got == [body]


@pytest.mark.row(8)
def test_frame_stalled_half_way_does_not_hold_the_sessions_thread(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """Half a frame followed by silence is noticed within two heartbeats and 2 s, and its message comes again."""
    queue, proxy, heartbeat = QueueSpec(name="work"), site.proxy(), 1
    topology, handled = Topology(queues=[queue]), threading.Event()
    registry = registry_of(lambda body: handled.set(), "#", queue=queue)
    lost = logged("connection_lost session=taskroute-worker ")

    with Worker(site.url_by(proxy), topology, registry, heartbeat=heartbeat):
        proxy.trickle(2048)
        with Publisher(site.url, topology) as publisher:
            publisher.publish(b'"' + b"x" * 60_000 + b'"', "work", exchange="")
        assert proxy.wait_passed(4096, DEADLINE)
        proxy.stall()
        stopwatch.within(2 * heartbeat + 2, lost.happened(), "silence in the middle of a frame is noticed")
        proxy.trickle(None)
        proxy.reset()
        proxy.resume()
        assert handled.wait(DEADLINE)


@pytest.mark.row(9)
def test_consumer_forgotten_by_the_broker_is_counted_and_restarted(site: Site, stopwatch: Stopwatch) -> None:
    """It is found, counted in `missed_consumers` and started again, and no other consumer notices."""
    queue = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")])
    traffic, heartbeat = Traffic(queue=queue), 2

    with traffic.running(site.url, heartbeat=heartbeat) as worker, Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 5)
        assert traffic.all_done(DEADLINE)
        assert worker.stats().missed_consumers == 0

        InsideWorker(worker).cancel_unnoticed("work")
        traffic.publish(publisher, 5)
        stopwatch.within(heartbeat + 5, traffic.done(10), "consuming again after a silent loss (H = 2 s)")

        assert worker.stats().missed_consumers == 1
        assert worker.stats().connections == 1
        assert worker.health().ready


def test_refused_login_raises_without_the_password(site: Site) -> None:
    """Neither an unknown virtual host nor a wrong password puts the password into an error."""
    for url in (site.node.url("nowhere", user=f"app:{SECRET}"), site.node.url(site.name, user=f"app:{SECRET}x")):
        worker = Traffic().worker(url)
        with pytest.raises(Exception, match="no connection to") as caught:
            worker.start(timeout=2)
        assert SECRET not in str(caught.value)
        with pytest.raises((amqp.AMQPError, OSError)) as refused:
            connect(parse_urls(url)[0], name="refused", heartbeat=5)
        assert SECRET not in str(refused.value)
