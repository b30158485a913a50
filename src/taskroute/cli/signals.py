"""Signals: an end at once, also where the kernel would not bring it about."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Final, NoReturn

ENDING: Final = (signal.SIGTERM, signal.SIGINT)
"""Those by which a process is told to end."""


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


def _on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    end_by(number)
