"""Soak: two workers and a publisher in processes of their own, and one fault after another; then the ledger.

    python -m tests.faults.soak --minutes 3 [--seed N] [--report FILE]

Eight to twelve seconds after a fault has healed the next one strikes. The run fails if anything is lost or made up, if
duplicates go beyond the bound, and also if it proved nothing: no fault, no disconnect, too few messages.
"""

from __future__ import annotations

import argparse
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import ledger, service
from tests.faults.proxy import Proxy
from tests.kit import rabbitmq as server

RATE = 100.0
DRAIN_DEADLINE = 180.0
RECOVERY_DEADLINE = 60.0
QUIET = threading.Event()  # never set: to wait a time that is part of the plan


class Process:
    """A worker or publisher in a process of its own, which is killed, stopped and started again."""

    def __init__(self, role: str, url: str, folder: Path, number: int = 0) -> None:
        self._command = [sys.executable, "-m", "tests.faults.service", role, "--url", url, "--ledger", str(folder)]
        if role == "publisher":
            self._command += ["--rate", str(RATE)]
        self.log = folder / f"{role}-{number}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """As the kernel does when memory runs out."""
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> int:
        """As an init system does; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(DRAIN_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # faulthandler writes to the log where each thread is
            self._process.wait(30)
            raise

    def disconnects(self) -> int:
        """How often it has noticed the loss of a connection."""
        return self.log.read_text().count("connection_lost")


class Scene:
    """The broker, the proxy before it, and the processes behind the proxy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.node = server.Node()
        self.node.start()
        self.proxy = Proxy(self.node.port)
        url = self.node.url(port=self.proxy.port)
        self.publisher = Process("publisher", url, folder)
        self.workers = [Process("worker", url, folder, number) for number in range(2)]
        self.crashes = 0
        self.exit_codes: list[int] = []

    def faults(self, dice: random.Random) -> dict[str, Callable[[], object]]:
        """Each fault by its name; it has healed when the call returns."""
        return {
            "proxy reset": self.proxy.reset,
            "proxy stall for three heartbeats": lambda: self._during(self.proxy.stalled(), 3 * service.HEARTBEAT),
            "worker SIGKILL": lambda: self._kill_worker(dice),
            "worker SIGTERM and restart": lambda: self._stop_worker(dice),
            "rabbitmqctl close_all_connections": self.node.close_all_connections,
            "memory alarm for 20 s": lambda: self._during(self.node.memory_alarm(), 20),
            "broker SIGSTOP for three heartbeats": lambda: self._during(self.node.paused(), 3 * service.HEARTBEAT),
            "broker kill -9": self.node.restart,
        }

    def done_count(self) -> int:
        """How many messages are done, each handling counted."""
        return sum(path.read_bytes().count(b"done ") for path in self.folder.glob("*.ledger"))

    def await_done(self) -> float:
        """Wait until one more message is done; seconds."""
        began, before = time.monotonic(), self.done_count()
        while self.done_count() <= before:
            if time.monotonic() - began > RECOVERY_DEADLINE:
                raise SystemExit(f"nothing was handled within {RECOVERY_DEADLINE} s after a fault had healed")
            QUIET.wait(0.02)
        return time.monotonic() - began

    def drain(self) -> None:
        """Stop publishing, let the workers finish, and stop them."""
        self.exit_codes.append(self.publisher.stop())
        deadline = time.monotonic() + DRAIN_DEADLINE
        while any(self._depths()[queue] for queue in ("work", "work.retry.300")):
            if time.monotonic() > deadline:
                break  # messages left are found in the queues
        self.exit_codes += [worker.stop() for worker in self.workers]

    def close(self) -> None:
        for process in (self.publisher, *self.workers):
            process.kill()
        self.proxy.close()
        self.node.stop()

    def _depths(self) -> dict[str, int]:
        rows = self.node.ctl("list_queues", "name", "messages", "--no-table-headers").splitlines()
        return {name: int(count) for name, count in (row.split("\t") for row in rows)}

    def _during(self, trouble: AbstractContextManager[None], seconds: float) -> None:
        with trouble:
            QUIET.wait(seconds)

    def _kill_worker(self, dice: random.Random) -> None:
        worker = dice.choice(self.workers)
        worker.kill()
        self.crashes += 1
        worker.start()

    def _stop_worker(self, dice: random.Random) -> None:
        worker = dice.choice(self.workers)
        self.exit_codes.append(worker.stop())
        worker.start()


@contextmanager
def scene() -> Iterator[Scene]:
    """Everything a run needs, and an end to it."""
    with tempfile.TemporaryDirectory(prefix="taskroute-soak-") as folder:
        made = Scene(Path(folder))
        try:
            yield made
        except BaseException:
            for log in sorted(made.folder.glob("*.log")):
                print(f"--- the end of {log.name}\n{log.read_text()[-20_000:]}", flush=True)
            raise
        finally:
            made.close()


def deck(faults: dict[str, Callable[[], object]], dice: random.Random) -> Iterator[str]:
    """Names of faults for ever, shuffled, each as often as the others."""
    while True:
        yield from dice.sample(sorted(faults), len(faults))


def run(minutes: float, seed: int) -> tuple[str, list[str]]:
    """Run; return the report and what is wrong."""
    dice = random.Random(seed)
    end = time.monotonic() + minutes * 60
    fired: list[tuple[str, float]] = []
    with scene() as on:
        print(f"seed {seed}; first message after {on.await_done():.1f} s", flush=True)
        faults = on.faults(dice)
        names = deck(faults, dice)
        while True:
            QUIET.wait(dice.uniform(8, 12))
            if time.monotonic() > end:
                break
            name = next(names)
            faults[name]()
            fired.append((name, on.await_done()))
            print(f"{len(fired):4} {name}: handling again after {fired[-1][1]:.2f} s", flush=True)
        on.drain()
        disconnects = sum(process.disconnects() for process in (on.publisher, *on.workers))
        version = on.node.ctl("version").strip()
        bound = len(fired) * (2 * service.PREFETCH + service.WINDOW)
        verdict = service.verdict(
            on.node.url(),
            on.folder,
            max_duplicates=bound,
            min_confirmed=int(minutes * 60 * RATE * 0.3),
            max_done_and_dead=on.crashes,
        )
        problems = list(verdict.problems)
        if not fired:
            problems.append("VACUOUS: no fault was fired")
        if not disconnects:
            problems.append("VACUOUS: no disconnect was seen")
        if verdict.left:
            problems.append(f"UNFINISHED: {verdict.left} messages left in the queues")
        if any(on.exit_codes):
            problems.append(f"EXIT CODES of processes that were asked to stop: {on.exit_codes}")
    header = f"{minutes:g} minutes, seed {seed}, RabbitMQ {version}, Python {platform.python_version()}"
    return report(header, fired, verdict, disconnects, bound, problems), problems


def report(
    header: str,
    fired: list[tuple[str, float]],
    verdict: ledger.Verdict,
    disconnects: int,
    bound: int,
    problems: list[str],
) -> str:
    """The result as Markdown."""
    lines = ["# Soak report", "", f"{datetime.now(UTC):%Y-%m-%d}: {header}, {RATE:g} messages a second.", ""]
    lines += ["| fault | times | handling again after: median | longest |", "|---|---|---|---|"]
    for name in sorted({name for name, _ in fired}):
        times = sorted(seconds for fault, seconds in fired if fault == name)
        lines.append(f"| {name} | {len(times)} | {times[len(times) // 2]:.2f} s | {times[-1]:.2f} s |")
    lost = any(problem.startswith("LOST") for problem in problems)
    statistics = (
        f"No loss in {len(fired)} faults bounds the rate of faults that lose something near 3/{len(fired)} "
        f"({3 / max(len(fired), 1):.1%}, at 95 % confidence). Each kind of fault was fired only as often as the table "
        f"says, so for one kind alone the bound is that much weaker. One node; nothing is said about partitions of a "
        f"cluster."
    )
    lines += [
        "",
        f"- {verdict.confirmed} messages confirmed; {verdict.done} handled.",
        f"- {verdict.dead} found in the dead-letter queue, {verdict.left} left in other queues.",
        f"- Lost: {'see below' if lost else 0}. Unconfirmed and yet handled: {verdict.recovered}.",
        f"- Handled again: {verdict.duplicates} times; the bound is {bound}.",
        f"- Disconnects noticed by the three processes: {disconnects}.",
        "",
        statistics if not lost else "Messages were lost.",
        "",
        *(f"- PROBLEM: {problem}" for problem in problems),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--seed", type=int, default=None, help="left out: a new one, which is printed")
    parser.add_argument("--report", type=Path, default=None, help="a file to write the report to")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    text, problems = run(arguments.minutes, seed)
    print(text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    if problems:
        raise SystemExit("the soak has failed: " + "; ".join(problems))


if __name__ == "__main__":
    main()
