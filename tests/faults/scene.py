"""The scene of the soak: a broker, one node or a cluster, a proxy before each node, and two workers and a publisher in
processes behind the proxies.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pika
from tests.faults import ledger, letters, pulse, service
from tests.faults.proxy import Proxy
from tests.kit import cluster as clusters
from tests.kit import rabbitmq as server
from tests.kit.cluster import Cluster
from tests.kit.rabbitmq import HERE

RATE = 100.0
DRAIN_DEADLINE = 240.0
"""What the broker could not dead-letter it tries again after three minutes."""

RECOVERY_DEADLINE = 60.0
QUIET_DEADLINE = 20.0
PATIENCE = 10.0
"""Seconds before the broker is asked what it holds back: each question starts a virtual machine."""

LINES = 200
QUIET = threading.Event()  # never set: to wait a time that is part of the plan
QUEUES = (service.WORK_QUEUE, *service.WAIT_QUEUES)


class Process:
    """A worker or publisher in a process of its own, which is killed, stopped and started again."""

    def __init__(self, role: str, urls: Sequence[str], folder: Path, number: int = 0) -> None:
        self._command = [sys.executable, "-m", "tests.faults.service", role, "--ledger", str(folder)]
        self._command += [word for url in urls for word in ("--url", url)]
        self._command += ["--rate", str(RATE)] if role == "publisher" else ["--soaked"]
        self.log = folder / f"{role}-{number}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("a") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        """The number of the process that runs now."""
        return self._process.pid

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

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped where it is, for as long as the block takes."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def disconnects(self, *, but_for: str | None = None) -> Counter[str]:
        """How often it has noticed the loss of a connection, by the connection's name.

        Args:
            but_for: do not count those in whose reason this stands.
        """
        lost = (line for line in self.log.read_text().splitlines() if " connection_lost " in line)
        lines = (line for line in lost if but_for is None or but_for not in line)
        return Counter(line.partition("session=")[2].partition(" ")[0] for line in lines)

    def left_in_flight(self) -> int:
        """How many messages were unconfirmed on channels that it has left, and may have been sent again."""
        return sum(map(int, re.findall(r" channel_replaced in_flight=(\d+)", self.log.read_text())))


class Scene:
    """What the faults are done to, and what is seen of it. One thread calls; another one takes the queue's depth."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder = folder
        self.cluster = cluster
        self.proxies = [Proxy(node.port) for node in cluster.nodes]
        urls = [node.url(port=proxy.port) for node, proxy in zip(cluster.nodes, self.proxies, strict=True)]
        self.publisher = Process("publisher", urls, folder)
        self.workers = [Process("worker", urls, folder, number) for number in range(2)]
        self.kills = self.stops = 0
        self.exit_codes: list[int] = []
        self.letters: list[letters.Letter] = []
        self._ledgers = ledger.Follower(folder, retries=len(service.DELAYS))
        self._depths: list[pulse.Depth] = []
        self._closed = threading.Event()
        self._watch = threading.Thread(target=self._watch_depth, name="depth", daemon=True)
        self._watch.start()

    def close(self) -> None:
        self._closed.set()
        for process in (self.publisher, *self.workers):
            process.kill()
        self._watch.join()
        for proxy in self.proxies:
            proxy.close()

    @property
    def node(self) -> server.Node:
        """A node that runs."""
        return next(node for node in self.cluster.nodes if node.is_running)

    # What is done to it:

    def kill(self, worker: Process) -> None:
        """End a worker as the kernel does, and start another one."""
        worker.kill()
        self.kills += 1
        worker.start()

    def restart(self, process: Process) -> None:
        """End a process as an init system does, and start another one."""
        self.stops += 1
        self.exit_codes.append(process.stop())
        process.start()

    def renew(self) -> None:
        """Kill every process and start others, where one fault's damage would hide what the next one does."""
        for worker in self.workers:
            self.kill(worker)
        self.publisher.kill()
        self.publisher.start()
        self.await_one_more("confirmed")
        self.await_republishing()

    def reset(self) -> None:
        """Break every connection."""
        for proxy in self.proxies:
            proxy.reset()

    @contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing passes between clients and the broker, for as long as the block takes."""
        with ExitStack() as stalled:
            for proxy in self.proxies:
                stalled.enter_context(proxy.stalled())
            yield

    @contextmanager
    def frozen_workers(self) -> Iterator[None]:
        """Every worker is stopped where it is, for as long as the block takes."""
        with ExitStack() as frozen:
            for worker in self.workers:
                frozen.enter_context(worker.frozen())
            yield

    @contextmanager
    def quiet(self, *queues: str) -> Iterator[bool]:
        """Nothing is published, for as long as the block takes; gives whether nothing is left in the queues.

        What is unacknowledged counts: so nothing is on its way to a queue that `work` or a wait queue feeds.
        """
        asked, is_quiet = self.folder / service.QUIET_ASKED, self.folder / service.IS_QUIET
        deadline = time.monotonic() + QUIET_DEADLINE
        asked.touch()
        try:
            while not (is_quiet.exists() and not any(self.totals(*queues))) and time.monotonic() < deadline:
                QUIET.wait(0.1)
            yield is_quiet.exists() and not any(self.totals(*queues))
        finally:
            is_quiet.unlink(missing_ok=True)
            asked.unlink()

    def copy_to(self, queue: str) -> None:
        """Have a queue that is there for good keep copies of the last thousand messages that are published."""
        with closing(pika.BlockingConnection(pika.URLParameters(self.node.url()))) as connection:
            channel = connection.channel()
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum", "x-max-length": 1000})
            channel.queue_bind(queue, service.jobs.name, "#")

    def delete(self, queue: str) -> None:
        """Delete a queue, as an operator would."""
        with closing(pika.BlockingConnection(pika.URLParameters(self.node.url()))) as connection:
            connection.channel().queue_delete(queue)

    def wait_consumed(self, queue: str) -> None:
        """Wait until a queue that was deleted is consumed, and so bound, again.

        What is published before that is confirmed all the same if another queue takes it, such as one with copies.
        """
        deadline = time.monotonic() + RECOVERY_DEADLINE
        while not self._consumers(queue) and time.monotonic() < deadline:
            QUIET.wait(0.05)

    def _consumers(self, queue: str) -> int:
        with closing(pika.BlockingConnection(pika.URLParameters(self.node.url()))) as connection:
            try:
                count: int = connection.channel().queue_declare(queue, passive=True).method.consumer_count
            except pika.exceptions.ChannelClosedByBroker:  # it is not there
                return 0
            return count

    @contextmanager
    def policy(self, pattern: str, definition: str) -> Iterator[None]:
        """A policy on queues, for as long as the block takes."""
        self.node.ctl("set_policy", "soak", pattern, definition, "--apply-to", "queues")
        try:
            yield
        finally:
            self.node.ctl("clear_policy", "soak")

    def collect_letters(self) -> None:
        """Take what is in the dead-letter queue."""
        self.letters += letters.take(self.node.url(), service.DEAD_QUEUE)

    def close_connections(self, name: str) -> None:
        """Have the broker close connections with a word in their name, as an operator would."""
        rows = self.node.ctl("list_connections", "pid", "client_properties", "--no-table-headers").splitlines()
        for row in rows:
            pid, _, properties = row.partition("\t")
            if name in properties:
                with suppress(RuntimeError):  # gone by itself
                    self.node.ctl("close_connection", pid, "a test")

    # What is seen of it:

    def totals(self, *queues: str) -> list[int]:
        """How many messages each queue has: ready, unacknowledged, or expired and not yet where they go."""
        return self._ask("num_messages", *queues)

    def await_one_more(self, event: ledger.Event) -> float | None:
        """Wait until something happens to one more message; seconds, or None past the deadline."""
        before = self._ledgers.count(event)
        return _await(lambda: self._ledgers.count(event) > before)

    def await_republishing(self) -> float | None:
        """Wait until each worker has begun and republished more messages, and one a dead letter; seconds, or None.

        Not each a dead letter: a broker that gives to its consumers in turn may give one of them every last attempt.
        """
        before = {worker.pid: self._progress(worker.pid) for worker in self.workers}

        def goes_on() -> bool:
            pairs = [(self._progress(pid), earlier) for pid, earlier in before.items()]
            work = all(now[0] > then[0] and sum(now[1:]) > sum(then[1:]) for now, then in pairs)
            return work and any(now[2] > then[2] for now, then in pairs)

        return _await(goes_on)

    def await_retries(self) -> float | None:
        """Wait until every message that has failed so far, and is to be tried again, is tried; seconds, or None.

        The broker tries letters again after three minutes that it could not move from a wait queue: those do not count.
        """
        before, began = self._ledgers.awaited(), time.monotonic()

        def are_back() -> bool:
            missing = before & self._ledgers.awaited()
            if not missing or time.monotonic() - began < PATIENCE:
                return not missing
            held = (self._ask(name, *service.WAIT_QUEUES) for name in ("num_discarded", "num_discard_checked_out"))
            return len(missing) <= sum(map(sum, held))

        return _await(are_back)

    def missing(self) -> list[str]:
        """Return messages that wait to be tried again."""
        return sorted(number for number, _ in self._ledgers.awaited())

    def last_beats(self) -> list[str]:
        """What the workers have said last."""
        return [str(pulse.latest(self.folder, worker.pid) or "a worker without a beat") for worker in self.workers]

    def standstills(self) -> list[pulse.Standstill]:
        """Where a worker stood still and gave no reason, so far."""
        return pulse.standstills(pulse.read(self.folder), tuple(self._depths))

    def drain(self) -> bool:
        """Stop publishing, let the workers finish, and stop them; whether nothing was left to be done."""
        self.exit_codes.append(self.publisher.stop())
        deadline = time.monotonic() + DRAIN_DEADLINE
        while left := any(self.totals(*QUEUES)):
            if time.monotonic() > deadline:
                break
            QUIET.wait(0.1)
        self.exit_codes += [worker.stop() for worker in self.workers]
        self.collect_letters()
        return not left

    def disconnects(self, *, but_for: str | None = None) -> Counter[str]:
        """How often the processes have noticed the loss of a connection, by the connection's name."""
        processes = (self.publisher, *self.workers)
        return sum((process.disconnects(but_for=but_for) for process in processes), Counter[str]())

    def left_in_flight(self) -> int:
        """How many messages were unconfirmed on channels that the processes have left."""
        return sum(process.left_in_flight() for process in (self.publisher, *self.workers))

    def print_logs(self) -> None:
        """Print the end of what each process has logged, apart from the failures that are part of the plan."""
        for log in sorted(self.folder.glob("*.log")):
            lines = (line for line in log.read_text().splitlines() if " message_failed " not in line)
            print(f"--- the end of {log.name}", *deque(lines, maxlen=LINES), sep="\n", flush=True)

    def _progress(self, pid: int) -> tuple[int, int, int]:
        beat = pulse.latest(self.folder, pid)
        return (beat.begun, beat.retried, beat.dead_lettered) if beat else (-1, 0, 0)

    def _ask(self, number: str, *queues: str) -> list[int]:
        """Ask the queues themselves: what the broker lists may be five seconds old."""
        count = (
            'fun(N) -> case rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, N)) of {ok, Q} -> {ok, {_, O}, _} = '
            f"ra:local_query(amqqueue:get_pid(Q), fun rabbit_fifo:overview/1), maps:get({number}, O, 0); _ -> 0 end end"
        )
        names = ", ".join(f'<<"{queue}">>' for queue in queues)
        return [int(answer) for answer in self.node.eval(f"lists:map({count}, [{names}]).").strip(" []\n").split(",")]

    def _watch_depth(self) -> None:
        while not self._closed.wait(pulse.INTERVAL / 2):
            self._depths.append(pulse.Depth(time.time(), self._ready()))

    def _ready(self) -> int | None:
        try:
            parameters = pika.URLParameters(self.node.url())
            parameters.socket_timeout = parameters.stack_timeout = parameters.blocked_connection_timeout = 2
            with closing(pika.BlockingConnection(parameters)) as connection:
                return int(connection.channel().queue_declare(service.WORK_QUEUE, passive=True).method.message_count)
        except Exception:  # noqa: BLE001 - no broker or no queue, in one of pika's many ways
            return None


def _await(condition: Callable[[], bool]) -> float | None:
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > RECOVERY_DEADLINE:
            return None
        QUIET.wait(0.02)
    return time.monotonic() - began


def made_of(size: int) -> Cluster:
    """Return a cluster of so many nodes. One alone is configured as it comes."""
    return Cluster((HERE,) * size) if size > 1 else Cluster((HERE,), dead_letter_timeout=None)


@contextmanager
def scene(size: int) -> Iterator[Scene]:
    """Everything a run on a broker of so many nodes needs, and an end to it."""
    with (
        tempfile.TemporaryDirectory(prefix="taskroute-soak-") as folder,
        clusters.running(made_of(size)) as cluster,
    ):
        made = Scene(Path(folder), cluster)
        try:
            yield made
        except BaseException:
            made.print_logs()
            raise
        finally:
            made.close()
