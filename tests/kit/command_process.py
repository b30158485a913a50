"""The command line as a process, whose lines on stderr a test waits for."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from tests.kit.calls import Calls
from tests.kit.waiting import PROCESS_DEADLINE, in_thread, until


class CommandProcess:
    """`taskroute` with some arguments. What it writes to stderr is kept line by line."""

    def __init__(self, *words: str, folder: Path, before: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-m", "taskroute", *words],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = Calls()
        self._children: set[psutil.Process] = set()
        self._is_silent = threading.Event()
        self._read = in_thread(self._read_lines)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def text(self) -> str:
        """What it has written so far."""
        return "".join(self.lines.calls)

    def wait_for(self, pattern: str, count: int = 1) -> list[str]:
        """Wait for so many lines with a pattern, and return what the group in it matched in each.

        Until its output ends, which is later than its own end.
        """
        self.lines.wait_until(
            lambda lines: self._is_silent.is_set() or len(_found(pattern, lines)) >= count, PROCESS_DEADLINE
        )
        found = _found(pattern, self.lines.calls)
        assert len(found) >= count, self.text
        return found

    def accept(self, listener: socket.socket) -> socket.socket:
        """Accept its connection. Somebody else's client may still dial a port that was another broker's before."""
        while True:
            connection, address = listener.accept()
            if any(each.laddr == address for each in psutil.Process(self.pid).net_connections()):
                return connection
            connection.close()

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def children(self) -> list[psutil.Process]:
        children = list(psutil.Process(self.pid).children())
        self._children.update(children)
        return children

    def wait(self) -> int:
        """Wait for its end, and for the end of its output; return the exit code."""
        code = self._process.wait(PROCESS_DEADLINE)
        self._read.result(PROCESS_DEADLINE)
        return code

    def end(self) -> None:
        """End it and all children that were seen, however they are, and also if they have outlived it."""
        if self._process.poll() is None:
            self.children()
        self._process.kill()
        for child in self._children:
            with suppress(psutil.NoSuchProcess):  # it may end by itself at any moment
                child.kill()
        self.wait()

    def _read_lines(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self.lines(line)
        self._is_silent.set()
        self.lines.look_again()


@contextmanager
def running(*words: str, folder: Path, before: Sequence[str] = (), **environment: str) -> Iterator[CommandProcess]:
    """A command that is gone at the end of the block, and what may stand before it, such as a way to run it."""
    process = CommandProcess(*words, folder=folder, before=before, environment=environment)
    try:
        yield process
    finally:
        process.end()


def until_gone(processes: list[psutil.Process]) -> None:
    """Wait for processes that are nobody's children here."""
    until(lambda: all(map(_is_gone, processes)))


def _is_gone(process: psutil.Process) -> bool:
    """Return whether a process has ended. Who reaps it may do so between two questions."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _found(pattern: str, lines: object) -> list[str]:
    assert isinstance(lines, list)
    return [match[match.lastindex or 0] for line in lines if (match := re.search(pattern, line))]
