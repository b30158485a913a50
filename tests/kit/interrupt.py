"""Exceptions at any line: a thread of the library is traced, and at one line of it something is raised."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from opcode import opmap
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

_NOP: Final = opmap["NOP"]
"""Of a `try:`. No exception can come there, and a `with` around it does not reckon with one."""


class Interrupt(BaseException):
    """What is raised. No `Exception`, as an asynchronous exception or an exit is none."""


class Line(NamedTuple):
    """A line of a function, where it is reached for the first time in a call."""

    code: CodeType
    number: int

    def __str__(self) -> str:
        return f"{self.code.co_qualname}:{self.number}"


class Tracer:
    """Traces the threads that are started in its `tracing` block. Any thread may call."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._codes = frozenset(code for module in modules for code in codes_of(module))
        self._lock = threading.Lock()
        self._target: Line | None = None
        self.reached: dict[Line, None] = {}
        """The lines that were reached, in their order."""
        self.raised = threading.Event()

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace the threads that are started in the block."""
        before = threading.gettrace()
        threading.settrace(self._trace)
        try:
            yield
        finally:
            threading.settrace(before)

    def raise_at(self, line: Line) -> None:
        """Raise once, when a line is reached next."""
        self.raised.clear()
        self._target = line

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code not in self._codes:
            return None
        seen = set[int]()  # a `with` is left on its first line again: there nothing may be raised, as its end is cut

        def trace_lines(frame: FrameType, event: str, argument: object) -> Any:
            if event == "line" and frame.f_lineno not in seen and frame.f_code.co_code[frame.f_lasti] != _NOP:
                seen.add(frame.f_lineno)
                self._reach(Line(frame.f_code, frame.f_lineno))
            return trace_lines

        return trace_lines

    def _reach(self, line: Line) -> None:
        with self._lock:
            self.reached.setdefault(line)
            if line != self._target:
                return
            self._target = None
        self.raised.set()
        raise Interrupt


def codes_of(module: ModuleType) -> Iterator[CodeType]:
    """Yield the code of each function and method that a module defines, and of what is defined in them."""
    for value in vars(module).values():
        if getattr(value, "__module__", None) == module.__name__:
            members = vars(value).values() if isinstance(value, type) else [value]
            for member in members:
                function = member.fget if isinstance(member, property) else member
                if isinstance(function, FunctionType):
                    yield from _nested(function.__code__)


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)
