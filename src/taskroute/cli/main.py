"""Main: from the arguments of the command line to an exit code. No traceback of ours leaves it."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from taskroute.cli.exits import Exit, UsageError, exit_of
from taskroute.cli.parser import check_command, make_parser
from taskroute.cli.signals import Terminated, end_by, raise_interrupt_behind
from taskroute.cli.table import command_named
from taskroute.cli.target import TargetError
from taskroute.cli.terminal import complain
from taskroute.cli.traceback import is_raised_by_user, users_traceback
from taskroute.errors import TaskrouteError
from taskroute.quoting import without_passwords


def script() -> None:
    """Run the command line of this process and end it. What an interrupt ends, ends by the signal, as shells expect."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may be none of the terminal's characters
    try:
        code = main()
    except KeyboardInterrupt as interrupt:
        end_by(signal.SIGTERM if isinstance(interrupt, Terminated) else signal.SIGINT)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        argv: the arguments; left out, those of the process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the start: what is printed has nobody to read it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - until the process ends
    try:
        code = _run(words)
        sys.stdout.flush()  # here, where what it raises can be told
    except BrokenPipeError:  # the reader has gone, as `| head` does
        return _without_stdout()
    except OSError as error:
        what = f"{error.filename!r}: " if error.filename else "cannot write: "
        _complain(words, f"{what}{error.strerror or error}")
        return _without_stdout()
    return code


def _run(words: list[str]) -> int:
    try:
        if words:
            check_command(words[0])
        chosen = command_named(words[0]) if words else None
        arguments, more = make_parser([chosen] if chosen else []).parse_known_args(words)
        if more:
            arguments.refuse(more)
        code: int = arguments.run(arguments)
    except UsageError as error:
        _complain(words, str(error))
        return Exit.USAGE
    except TargetError as error:
        print(without_passwords(str(error)), file=sys.stderr)
        return Exit.USAGE
    except TaskrouteError as error:
        _complain(words, str(error))
        return exit_of(error)
    except SystemExit as end:  # --help and --version
        return end.code if isinstance(end.code, int) else Exit.OK
    except Exception as error:  # whatever it is, our frames say nothing to who reads it
        raise_interrupt_behind(error)
        if isinstance(error, OSError) and not is_raised_by_user(error):  # of stdout
            raise
        return _tell_surprise(words, error)
    return code


def _tell_surprise(words: list[str], error: Exception) -> Exit:
    """Tell what nobody has foreseen: the user's code that we called, by its traceback; ours, in a line."""
    if is_raised_by_user(error):
        print(without_passwords(users_traceback(error)), file=sys.stderr)
        return Exit.USAGE
    place = traceback.extract_tb(error.__traceback__)[-1]
    told = f"{type(error).__name__}: {error} ({Path(place.filename).name}, line {place.lineno})"
    _complain(words, f"{told}: this is a defect of taskroute, please report it")
    return Exit.FINDINGS


def _complain(words: list[str], text: str) -> None:
    complain(words[0] if words and command_named(words[0]) else "", text)


def _without_stdout() -> Exit:
    """Give stdout up, so that Python does not try to write the rest of it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit.FINDINGS
