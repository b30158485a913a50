"""Supervisor: starts the children, restarts those that die, replaces them, and ends with them.

Its one thread waits for signals, for what children say, and for the next thing that is due.
"""

from __future__ import annotations

import os
import selectors
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Final

from taskroute.cli.exits import Exit
from taskroute.cli.report import Report
from taskroute.cli.settings import Settings
from taskroute.cli.supervisor.child import Child
from taskroute.cli.supervisor.orders import Orders
from taskroute.cli.supervisor.restarts import MAX_DEATHS, WINDOW, Restarts
from taskroute.cli.supervisor.scrapes import Scrapes
from taskroute.foreign import Log

log = Log("taskroute.cli")

CANNOT_START: Final = (Exit.USAGE, Exit.BROKER)
"""Exit codes of a child that a restart does not help: what it is to run cannot be imported, or cannot start."""


class Supervisor:
    """Runs a service in several processes. Made, run and ended by the main thread.

    The first child goes ahead: until it is connected no other is started, so that what keeps it from starting is said
    once. The parent imports nothing of the user's, and opens no connection.

    Args:
        settings: of each child, but for its number and its share of `max_messages`.
        max_time: seconds after which it drains; None: when it is told to.
        on_reports: is shown what the children said last and how many there are to be, once a second and more often.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        max_time: float | None = None,
        on_reports: Callable[[Sequence[Report], int], object] | None = None,
    ) -> None:
        self._settings = settings
        self._wanted = settings.processes
        self._drain_at = None if max_time is None else time.monotonic() + max_time
        self._on_reports = on_reports
        self._orders = Orders(self._kill_all)
        self._selector = selectors.DefaultSelector()
        self._restarts = Restarts()
        self._next_start = time.monotonic()
        self._outdated: tuple[Child, ...] = ()
        self._code: int = Exit.OK
        self.is_ending = False
        """Whether it lets its children finish, and starts no others."""
        self.children: tuple[Child, ...] = ()
        """Those that live. Replaced as a whole, so that any thread may look at it."""
        self.scrapes = Scrapes(self._orders.wake)

    @property
    def wanted(self) -> int:
        """How many processes there are to be."""
        return self._wanted

    def run(self) -> int:
        """Run until it is told to end or cannot go on; return the exit code."""
        with ExitStack() as ended:
            ended.callback(self._selector.close)
            ended.enter_context(self._orders.given_by_signals())
            ended.callback(self._kill_all)  # of which nothing is left, unless this loop has failed
            self._selector.register(self._orders, selectors.EVENT_READ)
            while not self.is_ending or self.children:
                self._step()
                if self._on_reports is not None:
                    self._on_reports([child.report for child in self.children], self._wanted)
                self._wait()
        return self._code

    # One round, in its order:

    def _step(self) -> None:
        if self._orders.is_drain_asked and not self.is_ending:
            self._end(Exit.OK, "drain signal")
        self._reap()
        if self._drain_at is not None and time.monotonic() >= self._drain_at and not self.is_ending:
            self._end(Exit.OK, "max_time")
        if self._orders.take_roll() and not self.is_ending:
            # One that is not ready yet, as a roll has just started it, is the first that can be spared.
            self._outdated = tuple(sorted(self._staying(), key=lambda child: child.is_ready))
            log.info("processes_roll count=%d", len(self._outdated))
        for child in self.children:
            if child.must_end_at is not None and time.monotonic() >= child.must_end_at:
                log.error("process_killed process=%d pid=%d: it does not end", child.number, child.pid)
                child.kill()
        if self._wanted == 0 and not self.is_ending:
            self._end(Exit.OK, "max_messages")
        if not self.is_ending:
            self._roll_on()
            self._start_missing()
        if self.scrapes.begin([child.number for child in self.children]):
            for child in self.children:
                child.wire.write({"do": "measure"})

    def _roll_on(self) -> None:
        """Drain the next of the processes that are replaced, if everything that has replaced others is ready."""
        staying = self._staying()
        self._outdated = tuple(child for child in self._outdated if child in staying)
        are_ready = all(child.is_ready for child in staying if child not in self._outdated)
        if self._outdated and len(staying) > self._wanted and are_ready:
            former, *_ = self._outdated
            former.drain()

    def _start_missing(self) -> None:
        is_replacing = bool(self._outdated) and len(self._staying()) == len(self.children)
        while self._is_start_due() and len(self._staying()) < self._wanted + is_replacing:
            self._start()

    def _is_start_due(self) -> bool:
        staying = self._staying()
        has_gone_ahead = any(child.phase == "ready" or child.report.connected for child in staying)
        return time.monotonic() >= self._next_start and (not staying or has_gone_ahead)

    def _start(self) -> None:
        used = {child.number for child in self.children}
        number = next(number for number in range(1, len(used) + 2) if number not in used)
        try:
            child = Child(number, replace(self._settings, max_messages=self._share(number)))
        except OSError as error:  # no process, no descriptor can be had now
            log.error("process_start_failed process=%d error=%s", number, type(error).__name__)
            self._died()
            return
        log.info("process_started process=%d pid=%d", number, child.pid)
        self._selector.register(child.wire, selectors.EVENT_READ, child)
        self.children = (*self.children, child)

    def _wait(self) -> None:
        due = [time.monotonic() + 1]
        due += [child.must_end_at for child in self.children if child.must_end_at is not None]
        if not self.is_ending:
            due += [self._next_start] if self._next_start > time.monotonic() else []
            due += [self._drain_at] if self._drain_at is not None else []
        elif not self.children:
            return
        for key, _ in self._selector.select(max(0.0, min(due) - time.monotonic())):
            if key.data is None:
                self._orders.clear()
            else:
                self._hear(key.data)

    # What children say, and how they end:

    def _hear(self, child: Child) -> bool:
        """Take what a child says, and return whether there may be more."""
        lines = child.wire.read()
        if lines is None:
            self._hear_no_more(child)  # it is reaped when SIGCHLD comes
        for line in lines or ():
            if "metrics" in line or "no_metrics" in line:
                self.scrapes.answer(child.number, text=line.get("metrics"), problem=line.get("no_metrics"))
            else:
                self._wanted -= "done" in line and child in self._staying()
                child.take(line)
        return bool(lines)

    def _hear_no_more(self, child: Child) -> None:
        with suppress(KeyError):
            self._selector.unregister(child.wire)

    def _reap(self) -> None:
        """Reap every process that has ended: as process 1, also those that others have left behind."""
        by_pid = {child.pid: child for child in self.children}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if (child := by_pid.get(pid)) is not None:
                self._exited(child, os.waitstatus_to_exitcode(status))

    def _exited(self, child: Child, code: int) -> None:
        while self._hear(child):
            pass
        was_asked, is_successor = child.phase == "draining", child.phase == "starting" and bool(self._outdated)
        self._hear_no_more(child)
        child.exited(code)
        self.children = tuple(each for each in self.children if each is not child)
        self.scrapes.answer(child.number)
        if was_asked:
            log.info("process_ended process=%d pid=%d code=%d", child.number, child.pid, code)
            if code and (self.is_ending or child.has_done_its_share):
                self._code = self._code or Exit.FINDINGS
        elif code in CANNOT_START and is_successor and child not in self._outdated:
            log.error("processes_roll_failed process=%d code=%d: the others go on as they are", child.number, code)
            self._outdated = ()
        elif code in CANNOT_START:
            self._end(code, f"process {child.number} cannot start", is_told=not self.children)
        else:
            log.error("process_died process=%d pid=%d code=%d", child.number, child.pid, code)
            self._died()

    def _died(self) -> None:
        pause = self._restarts.died(time.monotonic())
        if pause is None:
            self._end(Exit.FINDINGS, f"{MAX_DEATHS} processes have died within {WINDOW:.0f} s")
        else:
            self._next_start = time.monotonic() + pause

    # Its end:

    def _end(self, code: int, why: str, *, is_told: bool = False) -> None:
        """Let all of them finish. `is_told`: the only process there is has said why."""
        if not self.is_ending:
            tell = log.debug if is_told else log.error if code else log.info
            tell("processes_end code=%d reason=%s", code, why)
            self.is_ending, self._code = True, code or self._code
        for child in self.children:
            child.drain()

    def _kill_all(self) -> None:
        for child in self.children:
            child.kill()

    def _staying(self) -> tuple[Child, ...]:
        return tuple(child for child in self.children if child.phase in ("starting", "ready"))

    def _share(self, number: int) -> int | None:
        """Return how many messages a process may handle, of those that all of them may."""
        if self._settings.max_messages is None:
            return None
        each, rest = divmod(self._settings.max_messages, self._settings.processes)
        return each + (number <= rest)
