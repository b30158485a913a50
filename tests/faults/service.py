"""A worker and a publisher as processes of their own, which keep a ledger. Run by the soak and by tests that kill them.

python -m tests.faults.service worker --url URL --ledger FOLDER [--until-idle] [--crash POINT --nth N] [--soaked]
python -m tests.faults.service publisher --url URL --ledger FOLDER [--count N | --rate N]
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import signal
import threading
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tests.faults import crash_points
from tests.faults.ledger import Ledger, Verdict, body_of, check, drain, read
from tests.faults.pulse import Activity, beating

from taskroute import ExchangeSpec, HandlerRegistry, Message, Publisher, QueueSpec, RetryPolicy, Topology, Worker
from taskroute.broker import moving
from taskroute.broker.url import Urls

HEARTBEAT = 3
PREFETCH = 32
WINDOW = 50
THREADS = 8
DELAYS = (0.2, 0.3)
SLOW = 1.0
SOON = (20.0, 60.0)
"""Seconds after which a client goes back to its first node, here."""

jobs = ExchangeSpec(name="jobs")
work = QueueSpec(name="work", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=DELAYS))
topology = Topology(exchanges=[jobs], queues=[work])
WORK_QUEUE = work.name
WAIT_QUEUES = tuple(f"work.retry.{delay * 1000:.0f}" for delay in DELAYS)
DEAD_QUEUE = "work.dead"

_FAILURES = {2: 1, 3: 1, 5: 2, 7: len(DELAYS) + 1}
"""By the last digit of a message's number: how many attempts at it fail."""

QUIET_ASKED = "quiet-asked"
IS_QUIET = "is-quiet"
"""Files by which the soak has the publisher publish nothing, and the publisher says that nothing is in flight."""


def failures(number: str) -> int:
    """How many attempts at a message fail: the first of four in ten messages, and all of one in ten."""
    return _FAILURES.get(int(number) % 10, 0)


def fails_always(number: str) -> bool:
    """Whether a message ends in the dead-letter queue."""
    return failures(number) > len(DELAYS)


def is_slow(number: str) -> bool:
    """Whether handling takes a while, so that some are about to fail whatever happens."""
    return int(number) % 100 in (27, 55)


def run_worker(
    url: Urls,
    folder: Path,
    *,
    until_idle: bool = False,
    crash: str | None = None,
    nth: int = 1,
    soaked: bool = False,
) -> None:
    """Handle messages until a signal comes, until everything is done, or until a crash point is passed.

    `soaked`: some messages take a while, and the worker's health is written down each second.
    """
    ledger, activity = Ledger(folder), Activity()
    pause = threading.Event()  # never set
    registry = HandlerRegistry()

    @registry.handler("#", queue=work)
    def handle(message: Message) -> None:
        number = str(json.loads(message.body)["id"])
        with activity.handling():
            ledger.write("started", number, message.attempt)
            if message.body != body_of(number):
                raise RuntimeError("not the body that was published")
            if soaked and is_slow(number):
                pause.wait(SLOW)
            if message.attempt <= failures(number):
                ledger.write("raised", number, message.attempt)
                raise RuntimeError("as planned")
            ledger.write("done", number, message.attempt)  # before it is acknowledged

    if crash is not None:
        crash_points.arm(crash, nth)
    worker = Worker(
        url, topology, registry, threads=THREADS, prefetch=PREFETCH, heartbeat=HEARTBEAT, shutdown_timeout=20
    )
    if until_idle:
        with worker:
            if not worker.wait_idle(60):
                raise SystemExit("not idle within 60 s")
        return
    with beating(worker, activity, folder) if soaked else nullcontext():
        worker.run()


def run_publisher(
    url: Urls, folder: Path, *, count: int = 0, rate: float = 0, crash: str | None = None, nth: int = 1
) -> None:
    """Publish `count` messages, or `rate` a second until SIGTERM."""
    ledger, stop = Ledger(folder), SimpleQueue[None]()  # whose `put` a signal handler may call, as it takes no lock
    if not count:
        signal.signal(signal.SIGTERM, lambda *_: stop.put(None))
    if crash is not None:
        crash_points.arm(crash, nth)

    def settled(future: Future[Any], number: str) -> None:
        ledger.write("confirmed" if future.exception() is None else "failed", number)

    with Publisher(url, topology, max_in_flight=WINDOW, timeout=120, heartbeat=HEARTBEAT) as publisher:
        number = 0
        pause = threading.Event()  # never set
        while stop.empty() and (not count or number < count):
            pause.wait(1 / rate if rate else 0)
            keep_quiet(publisher, folder)
            number += 1
            name = str(os.getpid() * 1_000_000 + number)
            ledger.write("attempted", name)
            future = publisher.submit(body_of(name), "a", exchange=jobs, message_id=name)
            future.add_done_callback(lambda done, name=name: settled(done, name))  # type: ignore[misc]


def keep_quiet(publisher: Publisher, folder: Path) -> None:
    """Publish nothing for as long as a file asks for it, and say so once nothing is in flight."""
    asked = folder / QUIET_ASKED
    if asked.exists() and publisher.wait_idle(60):
        (folder / IS_QUIET).touch()
    while asked.exists():
        threading.Event().wait(0.05)  # never set


def verdict(url: str, folder: Path, **options: Any) -> Verdict:
    """Drain the queues, and compare what the processes have published with what became of it."""
    dead = drain(url, [DEAD_QUEUE])
    left = drain(url, [WORK_QUEUE, *WAIT_QUEUES])
    return check(read(folder), dead=dead, left=left, **options)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["worker", "publisher"])
    parser.add_argument("--url", required=True, action="append")
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--until-idle", action="store_true")
    parser.add_argument("--soaked", action="store_true")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--crash", choices=crash_points.POINTS)
    parser.add_argument("--nth", type=int, default=1)
    arguments = parser.parse_args()
    faulthandler.enable()
    vars(moving).update(FIRST_MOVE=SOON[0], LAST_MOVE=SOON[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    crash = {"crash": arguments.crash, "nth": arguments.nth}
    if arguments.role == "worker":
        run_worker(arguments.url, arguments.ledger, until_idle=arguments.until_idle, soaked=arguments.soaked, **crash)
    else:
        run_publisher(arguments.url, arguments.ledger, count=arguments.count, rate=arguments.rate, **crash)


if __name__ == "__main__":
    main()
