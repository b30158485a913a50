"""Logs: where the lines of a process go that is run by the command line, if nobody has said it."""

from __future__ import annotations

import logging
import sys

from taskroute.cli.progress import CLEAR_LINE


def configure_logging(process: int | None, *, is_watched: bool) -> bool:
    """Have lines of INFO and above written to stderr, unless logging is configured; return whether that was needed.

    Args:
        process: its number, for each line; None if it is alone.
        is_watched: a progress line stands in the terminal, to be overwritten.
    """
    root, ours = logging.getLogger(), logging.getLogger("taskroute")
    if root.handlers or any(not isinstance(handler, logging.NullHandler) for handler in ours.handlers):
        return False
    number = "" if process is None else f"process={process} "
    layout = f"%(asctime)s %(levelname)s {number}%(name)s %(message)s"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter((CLEAR_LINE if is_watched else "") + layout))
    root.addHandler(handler)
    if root.level == logging.WARNING:  # as it is where nobody has chosen
        root.setLevel(logging.INFO)
    return True
