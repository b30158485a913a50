"""`taskroute run --processes`: its children are killed, replaced and ended, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.site import SECRET, Site
from tests.kit import asking
from tests.kit.command_process import CommandProcess, running, until_gone
from tests.kit.namespace import UNSHARE, may_unshare
from tests.kit.waiting import PROCESS_DEADLINE, until

from taskroute import Publisher, QueueSpec, Topology

JOBS = QueueSpec(name="work", retry=False)
TOPOLOGY = Topology(queues=[JOBS])
SERVICE = """
import os, subprocess, sys, threading
from taskroute import HandlerRegistry, QueueSpec, Service, Topology

jobs = QueueSpec(name="work", retry=False)
registry = HandlerRegistry()

@registry.handler("#", queue=jobs)
def handle(body: str) -> None:
    print(f"begun {body} {os.getpid()}", file=sys.stderr, flush=True)
    if body == "hang":
        threading.Event().wait()
    if body == "orphan":
        subprocess.run(["sh", "-c", "cat pipe >/dev/null &"], check=True)

service = Service(Topology(queues=[jobs]), registry, worker={"prefetch": 41})
"""
HANGING = "import sys, threading\nprint('hangs', file=sys.stderr, flush=True)\nthreading.Event().wait()\n"
TWO = ("run", "service:service", "--processes", "2", "--health", "127.0.0.1:0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a service."""
    (tmp_path / "service.py").write_text(SERVICE)
    return tmp_path


def pids(process: CommandProcess) -> set[int]:
    return {child.pid for child in process.children()}


def until_ready(address: str, process: CommandProcess, *, without: set[int] = frozenset()) -> None:  # type: ignore[assignment]
    """Wait until it is ready with two processes, none of which is one of these."""
    until(
        lambda: asking.get(address, "/ready")[0] == 200 and len(pids(process) - without) == 2 == len(pids(process)),
        2 * PROCESS_DEADLINE,  # they start one after the other
    )


@pytest.mark.row(75)
def test_killed_process_is_replaced_and_all_are_rolled_and_drained(site: Site, folder: Path) -> None:
    """A signal that comes while a drained process exits makes no difference."""
    late = "import atexit, signal\natexit.register(os.kill, os.getpid(), signal.SIGTERM)\n"
    (folder / "service.py").write_text(SERVICE + late)
    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process:
        (address,) = process.wait_for("health_served address=(.*)")
        until_ready(address, process)

        (killed, kept) = process.children()
        killed.kill()
        process.wait_for(f"process_died process=. pid={killed.pid} code=-9")
        until_ready(address, process, without={killed.pid})
        assert kept.pid in pids(process)

        outdated = pids(process)
        process.send(signal.SIGHUP)
        until_ready(address, process, without=outdated)
        with Publisher(site.url, TOPOLOGY) as publisher:
            publisher.publish("a", "work", exchange="")
        assert int(process.wait_for("begun a (.*)")[0]) in pids(process) - outdated
        assert {row[1] for row in site.table("list_consumers", "queue_name", "prefetch_count")} <= {"1", "20"}
        status, metrics = asking.get(address, "/metrics")
        assert status == 200
        assert metrics.count("# TYPE taskroute_connected gauge") == 1
        assert metrics.count("taskroute_connected{process=") == 2

        for pid in [process.pid, *pids(process)]:  # to all of them, as systemd does
            os.kill(pid, signal.SIGTERM)
        assert process.wait() == 0, process.text
        assert SECRET not in process.text


@pytest.mark.row(75)
def test_parent_that_is_killed_leaves_no_process(site: Site, folder: Path) -> None:
    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process:
        (address,) = process.wait_for("health_served address=(.*)")
        until_ready(address, process)
        children = process.children()

        process.send(signal.SIGKILL)

        until_gone(children)


@pytest.mark.row(75)
def test_second_signal_ends_all_processes_at_once_by_it(site: Site, folder: Path) -> None:
    """Also one whose handler hangs, and which the first signal has told to drain."""
    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process, Publisher(site.url, TOPOLOGY) as publisher:
        (address,) = process.wait_for("health_served address=(.*)")
        until_ready(address, process)
        publisher.publish("hang", "work", exchange="")
        process.wait_for("begun hang")
        children = process.children()

        process.send(signal.SIGTERM)
        process.wait_for("processes_end code=0")
        process.send(signal.SIGTERM)

        assert process.wait() == -signal.SIGTERM
        until_gone(children)


@pytest.mark.row(75)
@pytest.mark.skipif(not may_unshare(), reason="makes a namespace of processes, which needs Linux and the right to it")
def test_parent_that_is_process_one_reaps_orphans_and_ends_at_once(site: Site, folder: Path) -> None:
    """As in a container: it inherits what others leave behind, and the kernel drops a signal's default effect."""
    os.mkfifo(folder / "pipe")
    with (
        running(*TWO, folder=folder, before=UNSHARE, TASKROUTE_URL=site.url) as unshare,
        Publisher(site.url, TOPOLOGY) as publisher,
    ):
        (address,) = unshare.wait_for("health_served address=(.*)")
        (parent,) = unshare.children()
        until(lambda: asking.get(address, "/ready")[0] == 200 and len(parent.children()) == 2, 2 * PROCESS_DEADLINE)

        publisher.publish("orphan", "work", exchange="")
        until(lambda: len(parent.children()) == 3)
        (folder / "pipe").write_text("")  # it ends
        until(lambda: len(parent.children()) == 2)

        publisher.publish("hang", "work", exchange="")
        unshare.wait_for("begun hang")
        parent.terminate()
        unshare.wait_for("processes_end code=0")
        parent.terminate()
        assert unshare.wait() == 128 + signal.SIGTERM


@pytest.mark.row(75)
def test_new_release_that_cannot_be_imported_replaces_nothing(site: Site, folder: Path) -> None:
    """What cannot be imported at the start ends it; what is rolled out later leaves those alone that run."""
    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process:
        (address,) = process.wait_for("health_served address=(.*)")
        until_ready(address, process)
        before = pids(process)
        (folder / "service.py").write_text("import no_such_module_of_mine\n")

        process.send(signal.SIGHUP)
        process.wait_for("processes_roll_failed process=3 code=2")

        until_ready(address, process)
        assert pids(process) == before

    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process:
        assert process.wait() == 2
        assert process.text.count("No module named 'no_such_module_of_mine'") == 1
        assert process.text.count("process_started") == 1


@pytest.mark.row(75)
def test_processes_that_die_again_and_again_end_everything(site: Site, folder: Path) -> None:
    """Five in a minute: a message that kills its process is not made to do so for ever."""
    (folder / "service.py").write_text(f"import os\n{SERVICE}\nos._exit(7)\n")

    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process:
        assert process.wait() == 1
        assert "processes_end code=1 reason=" in process.text
        assert process.text.count("process_died") == 5


@pytest.mark.row(75)
def test_processes_without_stdout_and_stderr_do_their_share_and_end(site: Site, folder: Path) -> None:
    """What is opened next has the number of a descriptor that was closed, and is no stderr."""
    with Publisher(site.url, TOPOLOGY) as publisher:
        for _ in publisher.publish_many([("a", "work")] * 400, exchange=""):
            pass
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "taskroute", *TWO]
    nowhere = "all(os.path.samestat(os.fstat(number), os.stat(os.devnull)) for number in range(3))"
    (folder / "service.py").write_text(f"{SERVICE}\nopen(f'{{os.getpid()}}.nowhere', 'w').write(str({nowhere}))\n")

    process = subprocess.Popen(
        [*closed, "--max-messages", "2"], cwd=folder, env={**os.environ, "TASKROUTE_URL": site.url}
    )

    try:
        assert process.wait(PROCESS_DEADLINE) == 0
        assert 0 < site.depths("work")[0] <= 398
        assert {path.read_text() for path in folder.glob("*.nowhere")} == {"True"}
    finally:
        process.kill()
        process.wait()


@pytest.mark.row(75)
def test_second_roll_spares_the_process_of_the_first_alone(site: Site, folder: Path) -> None:
    """The one that the first has started is not ready, as its import hangs: it is replaced, and no other."""
    with running(*TWO, folder=folder, TASKROUTE_URL=site.url) as process:
        (address,) = process.wait_for("health_served address=(.*)")
        until_ready(address, process)
        before = pids(process)
        (folder / "service.py").write_text(HANGING)
        process.send(signal.SIGHUP)
        process.wait_for("hangs")

        (folder / "service.py").write_text(SERVICE)
        process.send(signal.SIGHUP)
        process.wait_for("processes_roll count=3")

        process.wait_for("process_ended process=3 .* code=0")
        assert process.wait_for("process_(?:ended|died) process=(.)")[0] == "3"
        until_ready(address, process, without=before)
