"""`taskroute run` in one process, on the embedded broker: what it refuses, how it ends, what it says."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from tests.kit import asking
from tests.kit.command_line import CommandLine
from tests.kit.command_process import running
from tests.kit.waiting import until

from taskroute import Publisher, QueueSpec, Topology

SERVICE = """
import os, threading
from taskroute import HandlerRegistry, QueueSpec, Service, Topology

jobs = QueueSpec(name="jobs", retry=False)
registry, begun = HandlerRegistry(), threading.Event()

@registry.handler("#", queue=jobs)
def handle(body: str) -> None:
    if body == "hang":
        print("hanging", file=sys.stderr, flush=True)
        begun.set()
        threading.Event().wait()

topology = Topology(queues=[jobs])
service = Service(topology, registry, worker={"threads": 1})
"""
FEEDING = """
import sys, threading
from taskroute import Publisher
import plain

service, bodies = plain.service, os.environ["BODIES"].split()

def feed():
    with Publisher("memory://", plain.topology) as publisher:
        for body in bodies:
            publisher.publish(body, "jobs", exchange="")

threading.Thread(target=feed).start()
"""
PATIENT = """
from plain import begun
from taskroute.cli.serving.serving import Serving

drain = Serving.drain
Serving.drain = lambda serving: (begun.wait(), drain(serving))
"""
"""Has the time be over no sooner than what it is to end has begun, however long the start takes."""
HASTY = """
from feeding import service

service = service.replace(worker={"shutdown_timeout": 0.2, "threads": 1})
"""
"""Gives its handlers no time to end. The others give it: a worker needs some to close, on a slow machine."""
MEMORY = {"TASKROUTE_URL": "memory://"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a service, and one that publishes to itself."""
    (tmp_path / "plain.py").write_text("import sys\n" + SERVICE)
    (tmp_path / "feeding.py").write_text("import os\n" + FEEDING)
    return tmp_path


@pytest.fixture
def command_line(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line in that folder."""
    return CommandLine(folder, capsys, monkeypatch)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--processes", "0"], "--processes 0 is too few: 1 at least"),
        (["--processes", "1001"], "--processes 1001 is too many: 1000 at most"),
        (["--processes", "two"], "--processes: 'two' is no whole number"),
        (["--threads", "10001"], "--threads 10001 is too many: 10000 at most"),
        (["--processes", "2", "--url", "memory://"], "--processes needs a broker that processes share"),
        (["--threads", "-1"], "--threads -1 is too few: 0 at least"),
        (["--max-messages", "0"], "--max-messages 0 is too few: 1 at least"),
        (["--max-time", "nan"], "--max-time: 'nan' is no number of seconds above 0"),
        (["--max-time", "0"], "--max-time: '0' is no number of seconds above 0"),
        (["--max-time", "1h"], "--max-time: '1h' is no number of seconds above 0"),
        (["--health", "8080"], "--health '8080' is not HOST:PORT"),
        (["--health", "h:70000"], "--health 'h:70000' is not HOST:PORT"),
        (["--queues", "job"], "--queues 'job' is not known: did you mean 'jobs'?"),
        (
            ["--url", "redis://u:canary@h"],
            "--url: a broker URL starts with memory://",
        ),
    ],
)
def test_wrong_option_of_run_is_named_in_one_line(
    command_line: CommandLine, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKROUTE_URL", "memory://")

    ended = command_line.run("run", "plain:service", *words)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert ended.err.startswith("taskroute run: ")
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(("processes", "code"), [("1", 0), ("2", 2)])
def test_run_takes_its_options_in_front_of_the_target(
    command_line: CommandLine, processes: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of its usage. The URL counts in each process: several refuse this one."""
    monkeypatch.setenv("TASKROUTE_URL", "amqp://shop:canary@127.0.0.1:1/")

    limits = ["--processes", processes, "--max-time", "5"] if code else ["--max-time", "0.1"]
    ended = command_line.run("run", *limits, "--url", "memory://", "--queues", "jobs", "plain:service")

    assert ended.code == code


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("plain:topology", "has no handlers to run"),
        ("plain:service", "there is no URL of a broker: give --url, or set TASKROUTE_URL"),
    ],
)
def test_target_that_cannot_be_run_says_what_it_lacks(command_line: CommandLine, target: str, said: str) -> None:
    ended = command_line.run("run", target)

    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_health_address_that_is_taken_is_said_and_nothing_runs(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKROUTE_URL", "memory://")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        ended = command_line.run("run", "plain:service", "--health", address)

    assert ended.code == 3
    assert f"cannot listen on --health {address}: Address already in use" in ended.err


def test_run_counts_dead_letters_for_who_scrapes_it(folder: Path) -> None:
    """The first alert that a user is advised needs them."""
    with running("run", "plain:service", "--health", "127.0.0.1:0", folder=folder, **MEMORY) as process:
        (address,) = process.wait_for("health_served address=(.*)")
        process.wait_for("consuming queue=jobs")

        counted = 'taskroute_dead_letter_queue_messages{queue="jobs.dead"} 0.0'
        until(lambda: counted in asking.get(address, "/metrics")[1])


def test_processes_whose_first_cannot_start_say_why_once(folder: Path) -> None:
    with running("run", "plain:service", "--processes", "2", folder=folder, **MEMORY) as process:
        assert process.wait() == 2

        lines = [text for text in process.text.splitlines() if "process_started" not in text]
        assert [text.partition(":")[0] for text in lines] == ["taskroute run"], process.text


def test_run_ends_after_its_messages_with_zero(folder: Path) -> None:
    with running(
        "run", "feeding:service", "--max-messages", "2", folder=folder, BODIES="a b", TASKROUTE_URL="memory://"
    ) as process:
        assert process.wait() == 0
        assert "session_closed" in process.text  # it logs, as nobody has configured that


def test_run_whose_time_is_over_with_a_hung_handler_exits_with_one(folder: Path) -> None:
    (folder / "patient.py").write_text(PATIENT + HASTY)
    with running(
        "run", "patient:service", "--max-time", "0.1", folder=folder, BODIES="hang", TASKROUTE_URL="memory://"
    ) as process:
        process.wait_for("hanging")

        assert process.wait() == 1
        assert "taskroute run: not finished within 0.2 s" in process.text
        assert "Traceback" not in process.text


def test_run_without_stdout_and_stderr_works_and_drains(folder: Path) -> None:
    command = [sys.executable, "-m", "taskroute", "run", "plain:service", "--health", "127.0.0.1:0"]
    closed = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", *command]

    process = subprocess.Popen([*closed, "--max-time", "0.1"], cwd=folder, env={**os.environ, **MEMORY})

    try:
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()


def test_signal_drains_a_run_and_a_second_one_ends_it(folder: Path) -> None:
    slow = {"TASKROUTE_URL": "memory://", "BODIES": "hang"}
    with running("run", "feeding:service", "--health", "127.0.0.1:0", folder=folder, **slow) as process:
        (address,) = process.wait_for("health_served address=(.*)")
        process.wait_for("hanging")

        process.send(signal.SIGTERM)
        until(lambda: asking.health(address)["reasons"] == ["draining"])
        process.send(signal.SIGTERM)

        assert process.wait() == -signal.SIGTERM


def test_error_of_the_users_import_is_shown_alone(folder: Path) -> None:
    (folder / "broken.py").write_text("import no_such_module_of_mine\n")

    with running("run", "broken:service", folder=folder, **MEMORY) as process:
        assert process.wait() == 2
        assert process.text.startswith("Traceback")
        assert process.text.endswith("No module named 'no_such_module_of_mine'\n")
        assert "taskroute" not in process.text


def test_run_that_cannot_start_exits_with_three_and_hides_the_password(
    rabbitmq_url: str, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Topology(queues=[QueueSpec(name="jobs", type="classic", max_length=7)])
    with Publisher(rabbitmq_url, other):
        pass  # it has declared it

    for url, said in (
        (rabbitmq_url, "queue 'jobs': max_length: 7 on the broker"),
        (rabbitmq_url.replace("guest:guest", "guest:canary"), "ACCESS_REFUSED"),
    ):
        monkeypatch.setenv("TASKROUTE_URL", url)
        ended = command_line.run("run", "plain:service")

        assert ended.code == 3
        assert said in ended.err
        assert ended.err.splitlines()[-1].startswith("taskroute run: ")
        assert "canary" not in ended.err


LIFESPAN = """
from contextlib import contextmanager
import plain

@contextmanager
def failing():
    raise OSError("the database is away")
    yield

async def endless():
    import asyncio
    print("opening", file=sys.stderr, flush=True)
    plain.begun.set()
    await asyncio.sleep(10**6)
    yield

failing = plain.service.replace(lifespan=failing)
endless = plain.service.replace(lifespan=endless)
"""


def test_failure_of_what_the_service_opens_is_shown_and_exits_with_three(
    folder: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "holding.py").write_text("import sys\n" + LIFESPAN)
    monkeypatch.setenv("TASKROUTE_URL", "memory://")

    ended = command_line.run("run", "holding:failing")

    assert ended.code == 3
    assert "\nOSError: the database is away\n" in ended.err
    assert "taskroute" not in ended.err


def test_time_that_is_over_interrupts_what_the_service_opens(folder: Path) -> None:
    (folder / "holding.py").write_text("import sys\n" + PATIENT + LIFESPAN)

    with running("run", "holding:endless", "--max-time", "0.1", folder=folder, **MEMORY) as process:
        process.wait_for("opening")

        assert process.wait() == 0


READY = r"\r\x1b\[K(ready, [^\r\n\x1b]*)"
"""A line of the progress, once the worker is ready."""


def test_terminal_of_forty_columns_shows_the_progress(folder: Path) -> None:
    terminal, its_end = os.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | MEMORY
    command = [sys.executable, "-m", "taskroute", "run", "plain:service"]

    process = subprocess.Popen(
        command, cwd=folder, env={**environment, "TERM": "xterm"}, stdin=its_end, stdout=its_end, stderr=its_end
    )

    os.close(its_end)
    try:
        shown = _read(terminal, READY)
        process.send_signal(signal.SIGTERM)
        shown += _read(terminal)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    lines = re.findall(READY, shown)
    assert lines
    assert all(line.startswith("ready, 0 handled (0/s), 0 failed, 0 wa") and len(line) < 40 for line in lines)


def _read(terminal: int, pattern: str | None = None) -> str:
    """Return what is written to a terminal until that matches, or nobody has it open."""
    read = b""
    with suppress(OSError):
        while (pattern is None or not re.search(pattern, read.decode())) and (chunk := os.read(terminal, 4_096)):
            read += chunk
    return read.decode()
