"""Forks, and a session's thread that fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from tests.faults import ledger
from tests.faults.conftest import Site, Stopwatch, Told
from tests.faults.traffic import Traffic, jobs, topology
from tests.integration.test_worker import DEADLINE

from taskroute import BrokerUnavailableError, ClosedError, Publisher


def test_row_48_a_fork_is_told_to_make_its_own_and_leaves_the_parent_alone(site: Site) -> None:
    traffic = Traffic()
    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 20)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # nothing of the test's own may run here
            answers = []
            try:
                for call in (
                    lambda: publisher.publish(b"{}", "a", exchange=jobs),
                    lambda: publisher.submit(b"{}", "a", exchange=jobs),
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
                    answers.append(True)
            finally:
                os.write(writer, repr(answers).encode())
                os._exit(0)
        os.close(writer)
        assert os.waitpid(child, 0)[1] == 0
        with os.fdopen(reader) as pipe:
            assert pipe.read() == repr([True] * 5)
        traffic.publish(publisher, 20)
        assert traffic.done(41)(DEADLINE)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1
        assert publisher._session.generation == 1
    verdict = traffic.verdict(max_duplicates=0, min_confirmed=40)
    assert verdict.problems == ("UNEXPECTED 1: child",)  # by the child's own publisher, and handled by the parent


def test_row_49_a_defect_in_the_sessions_thread_is_shown_and_survived(site: Site, told: Callable[[str], Told]) -> None:
    traffic, lost = Traffic(), told("connection_lost session=taskroute-worker error=KeyError(")

    def fail() -> None:
        raise KeyError("defect")

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        worker._session.post(fail)
        assert lost.wait(DEADLINE)
        traffic.publish(publisher, 5)
        assert traffic.all_done(DEADLINE)
        assert worker.stats().connections == 2


@pytest.mark.filterwarnings("ignore:Exception in thread taskroute-worker")  # it is what this test is about
def test_row_49_when_the_sessions_thread_ends_run_raises_and_health_says_so(site: Site, stopwatch: Stopwatch) -> None:
    worker = Traffic().worker(site.url)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BrokerUnavailableError as error:
            raised.append(error)

    def leave() -> None:
        raise SystemExit

    thread = threading.Thread(target=run)
    thread.start()
    with worker._session._changed:
        assert worker._session._changed.wait_for(lambda: worker._session.is_open, DEADLINE)
    worker._session.post(leave)
    stopwatch.within(1, lambda timeout: (thread.join(timeout), not thread.is_alive())[1], "run() has raised")
    assert len(raised) == 1
    assert not worker.health().live


def test_row_49_a_process_whose_session_ends_exits_with_an_error(site: Site, stopwatch: Stopwatch) -> None:
    program = f"""
import threading
from tests.faults.traffic import Traffic
worker = Traffic().worker({site.url!r})
def leave():
    raise SystemExit
def watch():
    pause = threading.Event()
    while not worker.health().ready:
        pause.wait(0.01)
    worker._session.post(leave)
threading.Thread(target=watch, daemon=True).start()
worker.run()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        assert process.wait(DEADLINE) == 1
        assert process.stderr is not None
        assert "BrokerUnavailableError" in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


def test_row_27_a_signal_ends_a_worker_whose_broker_is_away(site: Site, stopwatch: Stopwatch) -> None:
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
