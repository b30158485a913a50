"""StopSignal: what `Worker.run` waits for, set by a thread or by a signal."""

from __future__ import annotations

import os
import selectors
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from taskroute.broker.wakeup import Wakeup

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """A signal that one thread waits for. `set` may be called by any thread, everything else by the waiting one.

    Waits on a descriptor and not on a lock: a signal that comes just before the main thread blocks on a lock does
    not interrupt it, and Python would run the signal's handler only after the wait.
    """

    def __init__(self) -> None:
        self._wakeup = Wakeup()
        self._is_set = False

    @property
    def is_set(self) -> bool:
        """Whether a thread or a signal has set it."""
        return self._is_set

    def set(self) -> None:
        """End the wait."""
        self._is_set = True
        self._wakeup.wake()

    def wake(self) -> None:
        """Have the waiting thread look again at what it waits for."""
        self._wakeup.wake()

    def wait(self, until: Callable[[], bool] = lambda: False) -> None:
        """Block until it is set, or until `until` returns True, of which `wake` tells."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakeup.fileno(), selectors.EVENT_READ)
            while not self._is_set and not until():  # other signals that have a handler write to the descriptor as well
                selector.select()
                self._wakeup.clear()

    def close(self) -> None:
        """Release the descriptors."""
        self._wakeup.close()

    @contextmanager
    def set_by_signals(self) -> Iterator[None]:
        """Have the first SIGTERM or SIGINT set it, and the next one end the process: in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
            # To process 1, as in a container, the kernel delivers no signal that would have its default effect.
            ends = _end_process if os.getpid() == 1 else signal.SIG_DFL
            for each in _SIGNALS:
                signal.signal(each, ends)
            self.set()

        with self._wakeup.woken_by_signals(dict.fromkeys(_SIGNALS, on_signal)):
            yield


def _end_process(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    """End the process at once, with the exit code that a shell gives for an end by this signal."""
    os._exit(128 + number)
