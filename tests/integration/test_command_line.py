"""The command line as a process: what it loads, how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.kit.command_line import WIRING

from taskroute.cli.main import main
from taskroute.cli.table import COMMANDS

HELP = """
import sys
from taskroute.cli.main import main
from taskroute.cli.table import COMMANDS
for command in [[], *([command.name] for command in COMMANDS)]:
    assert main([*command, "--help"]) == 0
print(sorted({"pydantic", "kombu", "amqp"} & {name.partition(".")[0] for name in sys.modules}))
"""


def test_help_of_no_command_loads_pydantic_kombu_or_amqp() -> None:
    shown = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=60, check=True)

    assert shown.stdout.count("usage: taskroute") == len(COMMANDS) + 1
    assert shown.stdout.endswith("[]\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "wiring.py").write_text(WIRING)
    return tmp_path


def started(folder: Path, *words: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "taskroute", *words]
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    environment |= {"TERM": "xterm", **options.pop("env", {})}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE, **options)


def test_stdout_that_is_closed_ends_no_command_with_a_traceback(folder: Path) -> None:
    """With `>&-` there is nothing to write to, and the exit code says what was found all the same."""
    command = f"exec {shlex.quote(sys.executable)} -m taskroute routes wiring:routes >&-"

    ended = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_reader_that_leaves_ends_a_command_without_a_word(folder: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    with started(folder, "routes", "wiring:routes", stdout=writing) as command:
        os.close(writing)
        _, told = command.communicate(timeout=60)

    assert (command.returncode, told) == (1, "")


def test_full_device_is_told_in_a_line(folder: Path) -> None:
    with open("/dev/full", "w") as full, started(folder, "routes", "wiring:routes", stdout=full) as command:
        _, told = command.communicate(timeout=60)

    assert (command.returncode, told) == (1, "taskroute routes: cannot write: No space left on device\n")


@pytest.mark.parametrize(("environment", "is_coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_narrow_terminal_gets_lines_that_fit(folder: Path, environment: dict[str, str], is_coloured: bool) -> None:
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))

    with started(folder, "explain", "wiring:routes", "order.7.paid", stdout=end, env=environment) as command:
        os.close(end)
        shown = read_all(terminal)
        command.wait(60)

    assert ("\x1b[1mqueue\x1b[0m" in shown) == is_coloured
    lines = re.sub(r"\x1b\[\d+m", "", shown).splitlines()
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()).startswith("key 'order.7.paid' published to exchange 'shop' exchange")


def read_all(terminal: int) -> str:
    """Read what a process writes to its terminal until it has ended."""
    pieces = []
    with suppress(OSError), open(terminal, "rb", buffering=0) as reader:
        while piece := reader.read(4096):
            pieces.append(piece)
    return b"".join(pieces).decode()


def test_interrupt_ends_a_command_by_the_signal(folder: Path) -> None:
    """So that a shell ends its script, too. The command waits for its body."""
    os.mkfifo(folder / "body")
    words = ["explain", "wiring:routes", "order.7.paid", "--body", "@body"]

    with started(folder, *words, stdout=subprocess.PIPE) as command, open(folder / "body", "wb"):
        command.send_signal(signal.SIGINT)
        out, told = command.communicate(timeout=60)

    assert (command.returncode, out, told) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--foo", "there is no option '--foo'; see taskroute --help"),
        ("-V", "there is no option '-V'; see taskroute --help"),
        ("--versoin", "there is no option '--versoin': did you mean '--version'?; see taskroute --help"),
        ("check x:y --stric", "there is no option '--stric': did you mean '--strict'?; see taskroute check --help"),
        ("graph x:y --stric", "there is no option '--stric'; see taskroute graph --help"),
        ("graph x:y more and", "unrecognized arguments: more and; see taskroute graph --help"),
        ("", "the following arguments are required: COMMAND; see taskroute --help"),
    ],
)
def test_word_that_is_none_of_a_command_is_named(words: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2

    assert capsys.readouterr().err.partition(": ")[2] == f"{told}\n"


@pytest.mark.parametrize(("words", "usage"), [("help", "taskroute [-h]"), ("help run", "taskroute run [-h]")])
def test_help_may_be_a_word(words: str, usage: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 0

    assert capsys.readouterr().out.startswith(f"usage: {usage}")


def test_module_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "taskroute", "chek"]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "taskroute: there is no command 'chek': did you mean 'check'?; see taskroute --help\n"
