"""Traceback text: the traceback of an exception in bounded lines, each safe for a log. Any thread may call.

Unlike `traceback`, it goes through a bounded number of frames, causes and members of groups, and no text in it can pass
for a line of its own.
"""

from __future__ import annotations

import linecache
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from types import FrameType, TracebackType
from typing import Final

from taskroute.code_place import is_ours, walk
from taskroute.quoting import escaped

MAX_SIZE: Final = 4096
"""Bytes; of a longer traceback, the end is kept."""

_FRAMES: Final = 20
_CAUSES: Final = 5
_MEMBERS: Final = 5
_NOTES: Final = 5
_DEPTH: Final = 3
"""Groups inside of each other."""
_LINES: Final = 300
_WIDTH: Final = 600

_CAUSE: Final = "The above exception was the direct cause of the following exception:"
_CONTEXT: Final = "During handling of the above exception, another exception occurred:"

Tell = Callable[[BaseException], str]


def traceback_text(error: BaseException, kind: Tell, text: Tell, hidden: Callable[[str], str]) -> str:
    """Return the traceback of an exception with those that it came from; the last `MAX_SIZE` bytes, cut at a line.

    Empty if it cannot be had, as the exceptions of others may raise when they are asked.

    Args:
        error: whose traceback it is.
        kind: returns the class of an exception.
        text: returns the text of an exception, cut.
        hidden: returns a text without what nobody may read.
    """
    try:
        lines = list(islice(_Lines(kind, text, hidden).of_chain(error, 0), _LINES))
    except BaseException:  # noqa: BLE001 - exits included
        return ""
    kept: deque[str] = deque()
    room = MAX_SIZE
    for line in reversed(lines):
        room -= len(line.encode(errors="replace")) + 1
        if room < 0:
            break
        kept.appendleft(line)
    return "\n".join(kept)


class _Lines:
    def __init__(self, kind: Tell, text: Tell, hidden: Callable[[str], str]) -> None:
        self._kind = kind
        self._text = text
        self._hidden = hidden

    def of_chain(self, error: BaseException, depth: int) -> Iterator[str]:
        chain, link = [(error, "")], _came_from(error)
        while link is not None and len(chain) < _CAUSES and all(link[0] is not each for each, _ in chain):
            chain.append(link)
            link = _came_from(link[0])
        for each, joint in reversed(chain):
            yield from self._of_one(each, depth)
            if joint:
                yield joint

    def _of_one(self, error: BaseException, depth: int) -> Iterator[str]:
        if error.__traceback__ is not None:
            yield "Traceback (most recent call last):"
            yield from self._frames(error.__traceback__)
        text = self._text(error)
        yield f"{self._kind(error)}: {escaped(text)}"[:_WIDTH] if text else self._kind(error)
        notes = getattr(error, "__notes__", ())
        for note in islice(notes, _NOTES) if isinstance(notes, list | tuple) else ():
            yield escaped(self._hidden(str(note)))[:_WIDTH]
        if isinstance(error, BaseExceptionGroup):
            yield from self._members(error, depth)

    def _members(self, group: BaseExceptionGroup[BaseException], depth: int) -> Iterator[str]:
        members = group.exceptions if depth < _DEPTH else ()
        for number, member in enumerate(members[:_MEMBERS], 1):
            yield f"  + {number} of {len(group.exceptions)}"
            for line in self.of_chain(member, depth + 1):
                yield f"  | {line}"
        if left := len(group.exceptions) - len(members[:_MEMBERS]):
            yield f"  + {left} more"

    def _frames(self, trace: TracebackType) -> Iterator[str]:
        frames: deque[tuple[FrameType, int]] = deque(maxlen=_FRAMES)
        count = 0
        for frame, line in walk(_to_users(trace) or trace):
            frames.append((frame, line))
            count += 1
        if count > len(frames):
            yield f"  ... {count - len(frames)} more frames"
        for frame, line in frames:
            code = frame.f_code
            yield escaped(f'  File "{code.co_filename}", line {line}, in {code.co_name}')[:_WIDTH]
            source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
            if source:
                yield f"    {escaped(self._hidden(source))}"[:_WIDTH]


def _to_users(trace: TracebackType | None) -> TracebackType | None:
    """Return the rest of a traceback after our own way to the handler, which says nothing; None if there is no rest."""
    while trace is not None and is_ours(trace.tb_frame):
        trace = trace.tb_next
    return trace


def _came_from(error: BaseException) -> tuple[BaseException, str] | None:
    if error.__cause__ is not None:
        return error.__cause__, _CAUSE
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, _CONTEXT
    return None
