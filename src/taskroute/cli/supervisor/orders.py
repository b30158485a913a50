"""Orders: signals to the parent, taken one by one by its main thread."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Final

from taskroute.broker.wakeup import Wakeup
from taskroute.cli.signals import ENDING, end_by


class Orders:
    """What signals have asked for. Everything is called by the main thread, handlers of signals included.

    A signal makes the descriptor readable, also one that comes just before the wait for it. So does SIGCHLD, which
    asks for nothing.

    Args:
        end_at_once: called at the second SIGTERM or SIGINT, before the process ends by it.
    """

    def __init__(self, end_at_once: Callable[[], None]) -> None:
        self._wakeup: Final = Wakeup()
        self._end_at_once = end_at_once
        self.is_drain_asked = False
        self._is_roll_asked = False
        # The same signal says that a terminal was closed; nohup has it ignored.
        self._ends_with_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._wakeup.fileno()

    def wake(self) -> None:
        """Make the descriptor readable. Any thread may call it."""
        self._wakeup.wake()

    def clear(self) -> None:
        """Take the wake-ups so far. What they were for is asked for afterwards."""
        self._wakeup.clear()

    def take_roll(self) -> bool:
        """Return whether processes are to be replaced, once for each time."""
        is_asked, self._is_roll_asked = self._is_roll_asked, False
        return is_asked

    @contextmanager
    def given_by_signals(self) -> Iterator[None]:
        """Listen to signals in this block."""
        handlers = dict.fromkeys(ENDING, self._on_end) | {signal.SIGHUP: self._on_roll, signal.SIGCHLD: _on_child}
        with closing(self._wakeup), self._wakeup.woken_by_signals(handlers):
            yield

    def _on_roll(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        if self._ends_with_terminal and not _has_terminal():
            self.is_drain_asked = True
        self._is_roll_asked = True

    def _on_end(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        if self.is_drain_asked:
            self._end_at_once()
            end_by(number)
        self.is_drain_asked = True


def _on_child(number: int, frame: FrameType | None) -> None:
    """Do nothing: without a handler a signal does not make the descriptor readable."""


def _has_terminal() -> bool:
    """Return whether this process belongs to a terminal, which is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
