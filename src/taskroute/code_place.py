"""Code place: where in whose code an exception was raised. Reads frames, and no files. Any thread may call."""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable, Iterator
from functools import lru_cache
from inspect import unwrap
from pathlib import Path, PurePath
from types import CodeType, FrameType, TracebackType
from typing import Any, Final

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
_OURS: Final = str(Path(__file__).parent) + os.sep
_FILES_REMEMBERED: Final = 1024


def _standard_library() -> tuple[str, ...]:
    named = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")} | {str(Path(os.__file__).parent)}
    return tuple({path + os.sep for each in named for path in (each, os.path.realpath(each))})


_STANDARD_LIBRARY: Final = _standard_library()


def place_of(trace: TracebackType | None, package: str = "") -> str:
    """Return file and line of the user's code in which an exception was raised, empty if it has no traceback.

    That is the innermost frame whose file is neither ours, nor of the standard library, nor installed; if there is
    none, the innermost of `package`; if there is none, the innermost of all.

    Args:
        trace: of the exception.
        package: of the handler; one that is installed as a whole is known by it.
    """
    users = of_package = innermost = None
    for frame, line in walk(trace):
        innermost = (frame.f_code, line)
        if is_users(frame):
            users = innermost
        elif package and str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            of_package = innermost
    found = users or of_package or innermost
    return "" if found is None else _shown(*found)


def place_of_function(function: Callable[..., Any]) -> str:
    """Return file and line where a function begins, empty if it was not written in Python."""
    code = code_of(function)
    return "" if code is None else _shown(code, code.co_firstlineno)


def code_of(function: Callable[..., Any]) -> CodeType | None:
    """Return the code of a function, below what is wrapped around it; None if it was not written in Python."""
    function = unwrap(getattr(function, "func", function))
    code = getattr(function, "__code__", None) or getattr(getattr(function, "__call__", None), "__code__", None)  # noqa: B004
    return code if isinstance(code, CodeType) else None


def walk(trace: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a traceback and the line that each is at, the innermost last."""
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def comes_from_us(error: BaseException) -> bool:
    """Return whether an exception was raised in this library, so that its text is ours."""
    frames = [frame for frame, _ in walk(error.__traceback__)]
    return bool(frames) and is_ours(frames[-1])


def is_ours(frame: FrameType) -> bool:
    """Return whether a frame is one of this library."""
    return is_our_file(frame.f_code.co_filename)


def is_our_file(file: str) -> bool:
    """Return whether a file is one of this library."""
    return file.startswith(_OURS)


def is_users(frame: FrameType) -> bool:
    """Return whether a frame is of code that its user has written.

    What was typed in has no file, as its module has none; code without a file in a module that has one was generated,
    as the methods of a dataclass are.
    """
    file = frame.f_code.co_filename
    if file.startswith("<"):
        return not file.startswith("<frozen ") and "__name__" in frame.f_globals and "__file__" not in frame.f_globals
    return not _is_of_library(file)


@lru_cache(maxsize=_FILES_REMEMBERED)
def _is_of_library(file: str) -> bool:
    return file.startswith((_OURS, *_STANDARD_LIBRARY)) or not _INSTALLED.isdisjoint(PurePath(file).parts)


def _shown(code: CodeType, line: int) -> str:
    return f"{PurePath(code.co_filename).name}:{line}"
