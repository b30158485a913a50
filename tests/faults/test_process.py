"""Forks, a session's thread that fails, and a signal without a broker."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.faults import ledger
from tests.faults.site import Site
from tests.faults.traffic import Traffic, jobs, topology
from tests.kit.calls import Calls
from tests.kit.fork import run_in_fork
from tests.kit.inside import InsidePublisher, InsideWorker
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, PROCESS_DEADLINE, in_thread

from taskroute import BrokerUnavailableError, ClosedError, Publisher


@pytest.mark.row(48)
def test_forked_child_gets_closed_error_and_parent_is_unharmed(site: Site) -> None:
    """The parent's worker and publisher raise `ClosedError` in the child, which makes a publisher of its own."""
    traffic = Traffic()

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 20)

        def use_in_child() -> list[bool]:
            answers = []
            for call in (
                lambda: publisher.publish(b"{}", "a", exchange=jobs),
                lambda: publisher.submit(b"{}", "a", exchange=jobs),
                lambda: next(publisher.publish_many([(b"{}", "a")], exchange=jobs)),
                lambda: asyncio.run(publisher.publish_async(b"{}", "a", exchange=jobs)),
                lambda: publisher.wait_idle(DEADLINE),
                publisher.start,
                worker.start,
            ):
                try:
                    call()
                except ClosedError as error:
                    answers.append("forked" in str(error))
            publisher.close()
            worker.stop()
            with Publisher(site.url, topology) as own:
                own.publish(ledger.body_of("child"), "a", exchange=jobs)
                return [*answers, True]

        with InsidePublisher(publisher).locked():  # as another thread of the parent may, for ever in the child
            assert run_in_fork(use_in_child) == repr([True] * 8)

        traffic.publish(publisher, 20)
        assert traffic.done(41)(DEADLINE)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1
        assert InsidePublisher(publisher).generation == 1

    verdict = traffic.verdict(max_duplicates=0, min_confirmed=40)
    assert verdict.problems == ("UNEXPECTED 1: child",)  # by the child's own publisher, and handled by the parent


@pytest.mark.row(49)
def test_defect_in_the_sessions_thread_is_logged_and_survived(site: Site, logged: Callable[[str], Calls]) -> None:
    """The connection is made anew, and the next message is handled."""
    traffic, lost = Traffic(), logged("connection_lost session=taskroute-worker error='KeyError(")

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        InsideWorker(worker).fail_on_session(KeyError("defect"))
        lost.wait()

        traffic.publish(publisher, 5)
        assert traffic.all_done(DEADLINE)
        assert worker.stats().connections == 2


@pytest.mark.row(49)
@pytest.mark.filterwarnings("ignore:Exception in thread taskroute-worker")  # it is what this test is about
def test_worker_whose_session_ends_raises_and_is_not_live(site: Site, stopwatch: Stopwatch) -> None:
    """`run` raises and `health()` is not live when the thread that owns the connection ends."""
    worker = Traffic().worker(site.url)
    inside, ended = InsideWorker(worker), in_thread(worker.run)
    inside.session.wait_open(DEADLINE)

    inside.fail_on_session(SystemExit())

    stopwatch.within(1, lambda timeout: ended.exception(timeout) is not None, "run() has raised")
    assert isinstance(ended.exception(), BrokerUnavailableError)
    assert not worker.health().live


@pytest.mark.row(49)
def test_process_whose_session_ends_exits_with_an_error(site: Site, stopwatch: Stopwatch) -> None:
    program = f"""
import threading
from tests.faults.traffic import Traffic
from tests.kit.inside import InsideWorker
from tests.kit.waiting import until
worker = Traffic().worker({site.url!r})
def watch():
    until(lambda: worker.health().ready)
    InsideWorker(worker).fail_on_session(SystemExit())
threading.Thread(target=watch, daemon=True).start()
worker.run()
"""

    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)

    try:
        assert process.wait(PROCESS_DEADLINE) == 1
        assert process.stderr is not None
        assert "BrokerUnavailableError" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.row(27)
def test_signal_ends_a_worker_without_a_broker(site: Site, stopwatch: Stopwatch) -> None:
    program = f"""
import logging, threading
from tests.faults.traffic import Traffic
logging.basicConfig(level="WARNING")
Traffic().worker({site.deserted_url!r}).run()
"""

    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)

    try:
        assert process.stderr is not None
        assert "connect_failed" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        stopwatch.within(1, lambda timeout: process.wait(timeout) == 0, "a worker without a broker ends")
    finally:
        process.kill()
        process.communicate()
