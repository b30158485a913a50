"""Child: a process of the service as its parent sees it. Everything is called by the parent's main thread.

Other threads may read what it says of itself: each attribute is replaced as a whole.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import Final

from taskroute.cli.report import NOT_YET, Report
from taskroute.cli.settings import Settings
from taskroute.cli.signals import OF_MEMBERS, held_back
from taskroute.cli.supervisor.child_phase import CHILD_MOVES, Phase
from taskroute.cli.supervisor.wire import Line, Wire

_DRAIN_GRACE: Final = 15.0
"""Seconds beyond those that a process says it needs to drain: it hangs then."""

_PROGRAM: Final = "taskroute.cli.supervisor.member"


class Child:
    """One process: started when made, dead when the parent has reaped it.

    It runs in a process group of its own, so that Ctrl-C in a terminal comes to the parent alone.
    """

    def __init__(self, number: int, settings: Settings) -> None:
        self.number: Final = number
        self.phase: Phase = "starting"
        self.report: Report = NOT_YET
        self.reported_at: float = time.monotonic()
        self.must_end_at: float | None = None
        self.has_done_its_share = False
        ours, its = socket.socketpair()
        with its:
            try:
                self._process: Final = _started(replace(settings, number=number), its)
            except BaseException:
                ours.close()
                raise
        ours.setblocking(False)
        self.wire: Final = Wire(ours)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether its worker does its work now."""
        return self.phase == "ready" and self.report.ready

    def take(self, line: Line) -> None:
        """Note what it says of itself."""
        if "report" in line:
            self.report = Report(**line["report"])
            self.reported_at = time.monotonic()
            if self.report.ready and self.phase == "starting":
                self.phase = CHILD_MOVES.after(self.phase, "serve")
        elif "done" in line:
            self.has_done_its_share = True
            self._drains()

    def drain(self) -> None:
        """Have it finish what it has begun, and end. Does nothing when it does that already."""
        if self.phase in ("starting", "ready"):
            self.wire.write({"do": "drain"})
            self._drains()

    def kill(self) -> None:
        """End it at once. It may have ended, and only the parent reaps it: `Popen.kill` would do so as well."""
        os.kill(self.pid, signal.SIGKILL)

    def exited(self, code: int) -> None:
        """Note that it is gone. The parent has reaped it, so nobody else may."""
        self._process.returncode = code
        self.phase = CHILD_MOVES.after(self.phase, "exit")
        self.wire.close()

    def _drains(self) -> None:
        if self.phase != "draining":
            self.phase = CHILD_MOVES.after(self.phase, "drain")
            self.must_end_at = time.monotonic() + self.report.drain_seconds + _DRAIN_GRACE


def _started(settings: Settings, its: socket.socket) -> subprocess.Popen[bytes]:
    """Start a process, which signals do not end before it has handlers for them."""
    with held_back(OF_MEMBERS):
        return subprocess.Popen(  # noqa: S603 - it is this very program
            [*_interpreter(), "-m", _PROGRAM, str(its.fileno()), settings.as_json()],
            stdin=subprocess.DEVNULL,
            env=settings.environment,
            pass_fds=[its.fileno()],
            process_group=0,
        )


def _interpreter() -> list[str]:
    """Return this interpreter with the options that it was given; its environment is inherited."""
    options = [f"-X{name}" if value is True else f"-X{name}={value}" for name, value in sys._xoptions.items()]
    return [sys.executable, "-P", *options, *(f"-W{each}" for each in sys.warnoptions)]
