"""Signals to a worker that is process 1, as in a container: the kernel drops those that would have a default effect."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.kit.namespace import UNSHARE, may_unshare
from tests.kit.waiting import DEADLINE

PROGRAM = """
import threading
from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker
from tests.kit.waiting import until
topology = Topology(queues=[QueueSpec(name="jobs", retry=False)])
registry = HandlerRegistry()
@registry.handler("#", queue="jobs")
def handle(body: str) -> None:
    print("handling", flush=True)
    threading.Event().wait()
worker = Worker("memory://", topology, registry, shutdown_timeout=600)
def watch():
    until(lambda: worker.health().reasons == ("draining",))
    print("draining", flush=True)
threading.Thread(target=watch, daemon=True).start()
with Publisher("memory://", topology) as publisher:
    publisher.publish("", "jobs", exchange="")
worker.run()
"""


@pytest.mark.skipif(not may_unshare(), reason="makes a namespace of processes, which needs Linux and the right to it")
def test_second_signal_ends_process_one_at_once() -> None:
    """As an ordinary process it ends by the signal; process 1 can only exit with the code that stands for that."""
    with subprocess.Popen([*UNSHARE, sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as unshare:
        assert unshare.stdout is not None
        try:
            assert unshare.stdout.readline() == "handling\n"
            (process,) = psutil.Process(unshare.pid).children()
            process.send_signal(signal.SIGTERM)
            assert unshare.stdout.readline() == "draining\n"

            process.send_signal(signal.SIGTERM)
            assert unshare.wait(DEADLINE) == 128 + signal.SIGTERM
        finally:
            for child in psutil.Process(unshare.pid).children() if unshare.poll() is None else []:
                child.kill()


@pytest.mark.skipif(not may_unshare(), reason="makes a namespace of processes, which needs Linux and the right to it")
def test_signal_ends_process_one_while_it_imports_a_service(tmp_path: Path) -> None:
    """The kernel would drop it."""
    (tmp_path / "endless.py").write_text("import threading\nprint('importing', flush=True)\nthreading.Event().wait()\n")
    command = [*UNSHARE, sys.executable, "-m", "taskroute", "run", "endless:service"]

    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as unshare:
        assert unshare.stderr is not None
        try:
            assert unshare.stderr.readline() == "importing\n"
            (process,) = psutil.Process(unshare.pid).children()

            process.send_signal(signal.SIGTERM)

            assert unshare.wait(DEADLINE) == 128 + signal.SIGTERM
        finally:
            for child in psutil.Process(unshare.pid).children() if unshare.poll() is None else []:
                child.kill()
