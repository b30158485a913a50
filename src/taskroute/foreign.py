"""Foreign code that is called on this library's threads: hooks, handlers of `logging`. What it raises stops here.

A thread of the library's own has nobody above it who could take an error, and others wait for what it does next.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from taskroute.log_fields import fields_of_line, fields_of_raised, safe_args
from taskroute.raised import Raised


def must_go_on(error: BaseException) -> bool:
    """Return whether an error is not that of the code it came out of: the user's interrupt, in the main thread."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


class Log:
    """A logger of the library. What a handler of `logging` raises over a line is dropped: nobody is left to tell it to.

    A line is ``event name=%s name=%d``: the facts become fields of its record as well, see `log_fields`. No value can
    end the line, and no URL has its password. The traceback of what is `raised` stands below, never in `exc_info`: a
    formatter would write it as it is.

    Args:
        name: of the logger.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger: Final = logging.getLogger(name)

    def debug(self, text: str, *args: object) -> None:
        """Log what helps to find a defect."""
        self._log(logging.DEBUG, text, args)

    def info(self, text: str, *args: object) -> None:
        """Log what goes as it should."""
        self._log(logging.INFO, text, args)

    def warning(self, text: str, *args: object, raised: Raised | None = None) -> None:
        """Log what somebody should look at."""
        self._log(logging.WARNING, text, args, raised)

    def error(self, text: str, *args: object, raised: Raised | None = None) -> None:
        """Log what somebody has to mend."""
        self._log(logging.ERROR, text, args, raised)

    def _log(
        self,
        level: int,
        text: str,
        args: tuple[object, ...],
        raised: Raised | None = None,
    ) -> None:
        try:
            if not self._logger.isEnabledFor(level):
                return
            fields, args = fields_of_line(text, args), safe_args(text, args)
            if raised is not None:
                fields |= fields_of_raised(raised)
                if raised.traceback:
                    text, args = text + "%s", (*args, _below(raised.traceback))
            self._logger.log(level, text, *args, extra=fields, stacklevel=3)
        except BaseException as error:
            if must_go_on(error):
                raise


def _below(trace: str) -> str:
    """Return a traceback as it stands below its line: indented, so that none of its lines passes for another event."""
    return "".join(f"\n    {line}" for line in trace.split("\n"))
