"""Consent: whoever is at the terminal is asked before something is changed."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from taskroute.cli.exits import UsageError


def add_yes(parser: ArgumentParser) -> None:
    """Give a command the option --yes."""
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where no terminal is there to ask")


def check_can_ask(is_given: bool, way_out: str = "") -> None:
    """Raise UsageError if nobody can be asked, and nobody has said yes."""
    if not is_given and not _is_terminal():
        raise UsageError(f"it changes something, and no terminal is there to ask: give --yes{way_out}")


def agrees(question: str) -> bool:
    """Ask on the terminal. Anything but yes is no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _is_terminal() -> bool:
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except ValueError:  # it is closed
        return False
