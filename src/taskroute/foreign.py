"""Foreign code that is called on this library's threads: hooks, handlers of `logging`. What it raises stops here.

A thread of the library's own has nobody above it who could take an error, and others wait for what it does next.
"""

from __future__ import annotations

import threading
from typing import Protocol


class LogMethod(Protocol):
    """A method of a logger, such as `warning`."""

    def __call__(self, text: str, /, *args: object, exc_info: BaseException | None = None, stacklevel: int = 1) -> None:
        """Log a line."""


def must_go_on(error: BaseException) -> bool:
    """Return whether an error is not that of the code it came out of: the user's interrupt, in the main thread."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def say(log: LogMethod, text: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Log a line. What a handler of `logging` raises over it is dropped, as nobody is left to tell it to."""
    try:
        log(text, *args, exc_info=exc_info, stacklevel=2)
    except BaseException as error:
        if must_go_on(error):
            raise
