"""The children of `taskroute run --processes`: signals and orders that come at the wrong moment."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE, in_thread

from taskroute import HandlerRegistry, QueueSpec, Service, Topology, Worker
from taskroute.cli.serving.serving import Serving
from taskroute.cli.settings import Settings
from taskroute.cli.supervisor.child import Child

JOBS = QueueSpec(name="jobs", retry=False, dead_letter=False)
IMPORTING = "import threading\nopen('pipe', 'w').write('importing')\nthreading.Event().wait()\n"


def service() -> Service:
    registry = HandlerRegistry()

    @registry.handler("#", queue=JOBS)
    def handle(body: str) -> None: ...

    return Service(Topology(queues=[JOBS]), registry, url="memory://")


@contextmanager
def started(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    """A child whose service is imported for ever, and which is gone at the end of the block."""
    os.mkfifo(folder / "pipe")
    (folder / "endless.py").write_text(IMPORTING)
    monkeypatch.chdir(folder)
    child = Child(1, Settings(target="endless:service", processes=2))
    try:
        yield child
    finally:
        child.kill()
        child.exited(os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1]))


def code_of(child: Child) -> int:
    """Wait for its end, and leave it to be reaped."""
    ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_to_a_child_that_has_just_been_started_ends_it_with_0(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops a service tells all its processes, also one that has no handlers for signals yet."""
    with started(tmp_path, monkeypatch) as child:
        os.kill(child.pid, signal.SIGHUP)  # as when all are to be rolled
        os.kill(child.pid, number)

        assert code_of(child) == 0


def test_signal_to_a_child_that_imports_its_service_ends_it_with_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing has begun: it is the same end as by the order of its parent."""
    with started(tmp_path, monkeypatch) as child:
        assert (tmp_path / "pipe").read_text() == "importing"

        os.kill(child.pid, signal.SIGTERM)

        assert code_of(child) == 0


def test_child_that_is_killed_after_its_end_is_left_to_be_reaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parent reaps every process in one place, and would wait for ever for one that was reaped elsewhere."""
    with started(tmp_path, monkeypatch) as child:
        os.kill(child.pid, signal.SIGKILL)
        code_of(child)

        child.kill()

        assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def test_order_to_drain_that_meets_the_end_of_the_worker_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal has ended the worker, and the order of the parent comes then. A thread that it started would be late."""
    workers, held, ended, start = Calls(), threading.Event(), threading.Event(), threading.Thread.start

    @contextmanager
    def beside(worker: Worker) -> Iterator[None]:
        workers(worker)
        yield
        ordering = in_thread(order)
        ordering.add_done_callback(lambda _: held.set())
        held.wait(DEADLINE)

    def order() -> None:
        ordering = threading.current_thread()

        def start_late(thread: threading.Thread) -> None:
            if threading.current_thread() is ordering:
                held.set()
                ended.wait(DEADLINE)
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", start_late)
        serving.drain()

    with closing(Serving(service(), beside=beside)) as serving:
        run = in_thread(serving.run)
        run.add_done_callback(lambda _: ended.set())
        workers.wait()[0].stop()

        assert run.result(DEADLINE) == 0
