"""Member: the main program of a child. Serves as the command line says, and talks with its parent.

One thread of its own does the talking, from before the user's code is imported. When the parent is gone, however it has
ended, the child drains and ends.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Final

from taskroute.cli.report import NOT_YET, Report
from taskroute.cli.settings import Settings
from taskroute.cli.signals import ENDING, OF_MEMBERS, let_through
from taskroute.cli.supervisor.wire import Line, Wire

if TYPE_CHECKING:
    from taskroute.cli.serving.serving import Serving

_EAGER: Final = 0.2
"""Seconds between reports until it is ready."""

_CALM: Final = 1.0

_GRACE: Final = 5.0
"""Seconds beyond those that draining takes at most, after which a child without a parent ends in any case."""


class Member:
    """What a child says to its parent, and does for it. `talk` is for a thread of its own, `on_signal` for signals."""

    def __init__(self, wire: Wire, settings: Settings) -> None:
        self._wire = wire
        self._settings = settings
        self._lock = threading.Lock()
        self._serving: Serving | None = None

    def on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """End at once if nothing has begun, as the parent's order does: who stops a service may tell all of it.

        Or else it ends already: while the worker runs, its own handlers take the signals.
        """
        if self._serving is None or not self._serving.has_begun:
            os._exit(0)

    def serves(self, serving: Serving) -> None:
        """Take note of what there is to report, and to drain. On the main thread."""
        with self._lock:
            self._serving = serving

    def ends(self) -> None:
        """Say that the end that follows is as it should be, and no death. On the main thread."""
        self._wire.write({"done": True})

    def talk(self) -> None:
        """Report, and do what the parent says, until the process ends."""
        poll = select.poll()
        poll.register(self._wire.fileno(), select.POLLIN)
        while True:
            report = self._report()
            self._wire.write({"report": asdict(report)})
            if poll.poll(1000 * (_CALM if report.ready else _EAGER)) and not self._listen():
                break
        self._drain()
        threading.Event().wait(self._report().drain_seconds + _GRACE)
        os._exit(1)

    def _listen(self) -> bool:
        """Do what the parent says; return whether it is still there."""
        lines = self._wire.read()
        for line in lines or ():
            if line.get("do") == "measure":
                self._wire.write(self._metrics())
            elif line.get("do") == "drain":
                self._drain()
        return lines is not None

    def _drain(self) -> None:
        serving = self._served()
        if serving is None:  # the user's code is being imported: nothing has begun
            os._exit(0)
        serving.drain()

    def _served(self) -> Serving | None:
        with self._lock:
            return self._serving

    def _report(self) -> Report:
        serving = self._served()
        return NOT_YET if serving is None else serving.report(with_depths=self._settings.watched)

    def _metrics(self) -> Line:
        from taskroute.cli.exposition import NoMetricsError
        from taskroute.cli.serving.metrics import exposition

        try:
            backlog = {} if self._serving is None else self._serving.backlog()
            return {"metrics": exposition(self._settings.number, backlog)}
        except NoMetricsError as error:
            return {"no_metrics": str(error)}


def main(descriptor: str, settings_text: str) -> int:
    """Run a child."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what it asks for is the parent's to do
    os.set_inheritable(int(descriptor), False)  # a program that a handler starts must not keep it open
    settings = Settings.from_json(settings_text)
    member = Member(Wire(socket.socket(fileno=int(descriptor))), settings)
    for number in ENDING:
        signal.signal(number, member.on_signal)
    let_through(OF_MEMBERS)
    threading.Thread(target=member.talk, name="taskroute-member", daemon=True).start()
    code = _serve(settings, member)
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)  # it ends already
    return code


def _serve(settings: Settings, member: Member) -> int:
    from taskroute import TaskrouteError
    from taskroute.cli.exits import Exit, UsageError, exit_of
    from taskroute.cli.serving.prepare import prepare
    from taskroute.cli.target import TargetError
    from taskroute.cli.terminal import complain
    from taskroute.quoting import without_passwords

    try:
        serving = prepare(settings)
        member.serves(serving)
        code = serving.run()
    except TargetError as error:
        print(without_passwords(str(error)), file=sys.stderr)
        return Exit.USAGE
    except UsageError as error:
        complain("run", str(error))
        return Exit.USAGE
    except TaskrouteError as error:
        complain("run", str(error))
        return exit_of(error)
    if serving.has_done_its_share:
        member.ends()
    return code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
