"""Terminal: text for people, as wide as their terminal; colours where somebody sees them. Anything else is left plain.

Where stdout is no terminal, a line stays a line, so that it can be searched.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from typing import Final, Literal

from taskroute.quoting import escaped, without_passwords

Colour = Literal["red", "yellow", "blue", "green", "bold"]

_CODES: Final[dict[Colour, str]] = {"red": "31", "yellow": "33", "blue": "34", "green": "32", "bold": "1"}
_NARROWEST: Final = 20
_PROGRAM: Final = "taskroute"


def show(text: str, *, indent: int = 0, first_word: Colour | None = None) -> None:
    """Print a line, on a terminal wrapped within its width, what follows the first line two columns further in."""
    for line in _lines(escaped(text), indent):
        print(line if first_word is None else _painted(line, first_word))
        first_word = None


def complain(command: str, text: str) -> None:
    """Print what went wrong with a command, in one line of stderr."""
    line = f"{_PROGRAM} {command}: {' '.join(text.split())}" if command else f"{_PROGRAM}: {' '.join(text.split())}"
    print(escaped(without_passwords(line)), file=sys.stderr)


def _lines(text: str, indent: int) -> list[str]:
    if not sys.stdout.isatty():
        return [f"{' ' * indent}{text}"]
    width = max(shutil.get_terminal_size().columns, indent + _NARROWEST)
    return textwrap.wrap(
        text,
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,  # so that a name can be copied
        break_on_hyphens=False,
    ) or [""]


def _painted(line: str, colour: Colour) -> str:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return line
    word, space, rest = line.lstrip().partition(" ")
    return f"{line[: len(line) - len(line.lstrip())]}\x1b[{_CODES[colour]}m{word}\x1b[0m{space}{rest}"
