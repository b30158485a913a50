"""The command line as a process: what it loads, how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

HELP = """
import sys
from taskroute.cli.main import main
main({words!r})
print(sorted({{"pydantic", "kombu", "amqp"}} & {{name.partition(".")[0] for name in sys.modules}}))
"""


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"]])
def test_help_loads_neither_pydantic_nor_kombu_nor_amqp(words: list[str]) -> None:
    program = HELP.format(words=words)

    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)

    assert shown.stdout.startswith("usage: taskroute")
    assert shown.stdout.endswith("[]\n")


def test_module_runs_the_command_line() -> None:
    command = [sys.executable, "-m", "taskroute", "chek"]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "taskroute: there is no command 'chek': did you mean 'check'?; see taskroute --help\n"
