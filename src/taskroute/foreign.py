"""Foreign code that is called on this library's threads: hooks, handlers of `logging`. What it raises stops here.

A thread of the library's own has nobody above it who could take an error, and others wait for what it does next.
"""

from __future__ import annotations

import logging
import threading
from typing import Final


def must_go_on(error: BaseException) -> bool:
    """Return whether an error is not that of the code it came out of: the user's interrupt, in the main thread."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


class Log:
    """A logger of the library. What a handler of `logging` raises over a line is dropped: nobody is left to tell it to.

    Args:
        name: of the logger.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger: Final = logging.getLogger(name)

    @property
    def is_silenced(self) -> bool:
        """Whether a line goes nowhere, not even to stderr: all that a handler does is to keep Python from that."""
        logger: logging.Logger | None = self._logger
        handlers: list[logging.Handler] = []
        while logger is not None:
            handlers += logger.handlers
            logger = logger.parent if logger.propagate else None
        return bool(handlers) and all(isinstance(handler, logging.NullHandler) for handler in handlers)

    def debug(self, text: str, *args: object) -> None:
        """Log what helps to find a defect."""
        self._log(logging.DEBUG, text, args)

    def info(self, text: str, *args: object) -> None:
        """Log what goes as it should."""
        self._log(logging.INFO, text, args)

    def warning(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Log what somebody should look at."""
        self._log(logging.WARNING, text, args, exc_info)

    def error(self, text: str, *args: object, exc_info: BaseException | None = None, trace: str = "") -> None:
        """Log what somebody has to mend, with the lines of a traceback below."""
        text += "".join(f"\n    {line}" for line in trace.replace("%", "%%").split("\n")) if trace else ""
        self._log(logging.ERROR, text, args, exc_info)

    def _log(self, level: int, text: str, args: tuple[object, ...], error: BaseException | None = None) -> None:
        try:
            self._logger.log(level, text, *args, exc_info=error, stacklevel=3)
        except BaseException as raised:
            if must_go_on(raised):
                raise
