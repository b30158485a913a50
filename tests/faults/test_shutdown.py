"""Stopping: by signals, idle and busy, with a hung handler, with a frozen broker, a hundred times."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.faults import ledger, processes, service
from tests.faults.site import Site
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, PROCESS_DEADLINE

from taskroute import HandlerRegistry, Publisher, Worker
from taskroute.broker.roles import consumer

PROGRAM = """
import sys, threading
def say(word):
    sys.stdout.write(word + "\\n")  # in one piece: other threads say something as well
    sys.stdout.flush()
from taskroute import HandlerRegistry, Worker
from tests.faults.service import topology, work
from tests.kit.inside import InsideWorker
from tests.kit.waiting import until
registry = HandlerRegistry()
go_on = threading.Event()
@registry.handler("#", queue=work)
def handle(body: bytes) -> None:
    say("begun")
    go_on.wait(60)
    say("finished")
worker = Worker({url!r}, topology, registry, threads=1, prefetch=10, shutdown_timeout={timeout}, heartbeat=5)
def listen():
    for line in sys.stdin:
        go_on.set()
threading.Thread(target=listen, daemon=True).start()
def watch():
    until(lambda: worker.health().ready)
    say("ready")
def watch_the_end():
    until(lambda: InsideWorker(worker).is_stopping)
    say("stopping")
threading.Thread(target=watch, daemon=True).start()
threading.Thread(target=watch_the_end, daemon=True).start()
worker.run()
"""


@contextmanager
def program(url: str, *, shutdown_timeout: float = 20, before: str = "") -> Iterator[subprocess.Popen[str]]:
    """Run a worker in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", before + PROGRAM.format(url=url, timeout=shutdown_timeout)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def await_line(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    for found in process.stdout:
        if found.strip() == line:
            return
    raise AssertionError(f"it ended without saying {line!r}")


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


def publish(url: str, count: int) -> None:
    with Publisher(url, service.topology) as publisher:
        for number in range(count):
            publisher.publish(ledger.body_of(str(number)), "a", exchange=service.jobs)


@pytest.mark.row(27)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_worker(number: signal.Signals, site: Site, stopwatch: Stopwatch) -> None:
    with program(site.url) as process:
        await_line(process, "ready")
        process.send_signal(number)
        stopwatch.within(1, lambda timeout: process.wait(timeout) == 0, "an idle worker ends")


@pytest.mark.row(27)
def test_signal_taken_by_another_thread_ends_the_worker(site: Site, stopwatch: Stopwatch) -> None:
    """A signal that does not interrupt the main thread, as when it comes just before the wait, is not missed."""
    elsewhere = """
import signal, threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
"""

    with program(site.url, before=elsewhere) as process:
        await_line(process, "ready")
        process.send_signal(signal.SIGTERM)
        stopwatch.within(1, lambda timeout: process.wait(timeout) == 0, "a worker not interrupted ends")


@pytest.mark.row(27)
def test_signal_ends_a_busy_worker_after_its_handler(site: Site, stopwatch: Stopwatch) -> None:
    """The message being handled is finished and acknowledged, and those prefetched are requeued."""
    publish(site.url, 5)

    with program(site.url) as process:
        await_line(process, "begun")
        process.send_signal(signal.SIGTERM)
        await_line(process, "stopping")
        go_on(process)
        stopwatch.within(2, lambda timeout: process.wait(timeout) == 0, "a busy worker ends")
        assert process.stdout is not None
        assert process.stdout.read().count("finished") == 1

    site.wait_ready("work", 4)  # the messages prefetched and not begun were requeued
    assert len(ledger.drain(site.url, ["work"])) == 4


@pytest.mark.row(28)
def test_hung_handler_and_frozen_broker_end_in_exit_1_at_the_deadline(site: Site, stopwatch: Stopwatch) -> None:
    """The error names the hung handler, and its message is delivered again."""
    publish(site.url, 1)

    with program(site.url, shutdown_timeout=2) as process:
        await_line(process, "begun")
        with site.node.paused():
            process.send_signal(signal.SIGTERM)
            stopwatch.within(2 + 2, lambda timeout: process.wait(timeout) == 1, "the process ends")
            assert process.stderr is not None
            text = process.stderr.read()

    assert "ShutdownTimeoutError" in text
    assert "is handling 'a' of queue 'work'" in text
    site.wait_ready("work", 1)
    assert ledger.drain(site.url, ["work"]) == [ledger.body_of("0")]


@pytest.mark.row(29)
def test_second_signal_ends_the_process_at_once(site: Site, stopwatch: Stopwatch) -> None:
    """The message being handled and those prefetched are requeued."""
    publish(site.url, 3)

    with program(site.url) as process:
        await_line(process, "begun")
        process.send_signal(signal.SIGINT)
        await_line(process, "stopping")
        process.send_signal(signal.SIGINT)
        stopwatch.within(1, lambda timeout: process.wait(timeout) is not None, "the process ends")
        assert process.returncode == -signal.SIGINT

    site.wait_ready("work", 3)
    assert len(ledger.drain(site.url, ["work"])) == 3


@pytest.mark.row(30)
def test_hundred_random_kills_and_terminations_lose_nothing(site: Site, tmp_path: Path, stopwatch: Stopwatch) -> None:
    """Workers killed or terminated at random moments lose no message and repeat at most `prefetch` for each kill."""
    dice, pause = random.Random(30), threading.Event()
    kills = 0

    with processes.running(service.run_publisher, site.url, tmp_path, rate=100) as publisher:
        for _ in range(100):
            with processes.running(service.run_worker, site.url, tmp_path) as worker:
                pause.wait(dice.uniform(0, 0.3))  # the moment is the point
                if dice.random() < 0.5:
                    worker.kill()
                    kills += 1
                else:
                    worker.terminate()
                worker.join(PROCESS_DEADLINE)
                assert worker.exitcode in (0, -signal.SIGKILL, -signal.SIGTERM)
        publisher.terminate()
        publisher.join(PROCESS_DEADLINE)
        assert publisher.exitcode == 0

    site.wait_unconsumed()
    assert processes.run(service.run_worker, site.url, tmp_path, until_idle=True) == 0
    verdict = service.verdict(
        site.url, tmp_path, max_duplicates=kills * service.PREFETCH, min_confirmed=500, max_done_and_dead=kills
    )
    stopwatch.note(f"{kills} kills, {100 - kills} terminations: {verdict}")
    assert verdict.problems == ()
    assert verdict.left == 0


@pytest.fixture
def hesitant(site: Site) -> Iterator[Site]:
    """A broker that passes a quorum queue one acknowledgement at a time, as it does from 32 on by default."""
    setting = "application:set_env(rabbit, quorum_commands_soft_limit, {})."
    site.node.eval(setting.format(1))
    try:
        yield site
    finally:
        site.node.eval(setting.format(32))


@pytest.mark.row(27)
@pytest.mark.parametrize("time", range(3))
def test_last_acknowledgements_are_settled_before_the_worker_stops(
    time: int, hesitant: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RabbitMQ forgets, closing a channel, acknowledgements that a quorum queue has not taken yet (its issue 10327)."""
    monkeypatch.setattr(consumer, "SETTLING_TIME", DEADLINE)  # a busy broker may take longer than a worker waits
    count = 50
    registry, begun, go_on, finished = (
        HandlerRegistry(),
        threading.Semaphore(0),
        threading.Event(),
        threading.Semaphore(0),
    )
    is_first = threading.Lock()

    @registry.handler("#", queue=service.work)
    def handle(body: bytes) -> None:
        begun.release()
        if is_first.acquire(blocking=False):
            for _ in range(count - 1):
                finished.acquire()
        else:
            go_on.wait(DEADLINE)
            finished.release()  # and acknowledged by itself, behind the first one

    publish(hesitant.url, count)
    with Worker(hesitant.url, service.topology, registry, threads=count, prefetch=count):
        for _ in range(count):
            begun.acquire()
        go_on.set()

    assert hesitant.depths("work") == [0]
