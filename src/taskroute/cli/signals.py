"""Signals: an end at once, also where the kernel would not bring it about."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
"""Those by which a process is told to end."""

OF_MEMBERS: Final = (*ENDING, signal.SIGHUP)
"""Those that whoever signals all processes of a service sends to one that has just been started, too."""


@contextmanager
def held_back(numbers: Iterable[int]) -> Iterator[None]:
    """Let signals wait in this block, on this thread and in the processes that it starts, which `let_through` them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Terminated(KeyboardInterrupt):
    """SIGTERM, where it interrupts as SIGINT does."""


@contextmanager
def interrupting() -> Iterator[None]:
    """Have SIGTERM interrupt what the block does, so that it can say how far it came. In the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def ended_by_interrupts() -> Iterator[None]:
    """Have SIGINT end this process at once in this block, which waits and has nothing to finish.

    Python raises `KeyboardInterrupt` when the main thread goes on. A signal that comes when it is just about to wait
    does not make it go on. Process 1 would not be ended so.
    """
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_usual or os.getpid() == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def raise_interrupt_behind(error: BaseException) -> None:
    """Raise the interrupt that something has made another error of, as Python 3.11 does where a class is made."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        cause = cause.__cause__


def let_through(numbers: Iterable[int]) -> None:
    """Take signals on this thread from now on, those first that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def end_by(number: int) -> NoReturn:
    """End this process by a signal, at once.

    To process 1, as in a container, the kernel delivers no signal that would have its default effect. It exits with the
    code that a shell gives for such an end.
    """
    if os.getpid() != 1:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)


def heed_as_process_one() -> None:
    """Have SIGTERM end process 1 while it starts and has nothing to finish, as it ends every other process."""
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _on_signal)


def _interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    raise Terminated


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    end_by(number)
