"""Traceback: what the user's own code raised, as Python prints it, without a frame of ours or of the import system."""

from __future__ import annotations

import traceback
from pathlib import Path

from taskroute.code_place import is_our_file, is_users, walk


def users_traceback(error: BaseException) -> str:
    """Return the traceback of an error that the user's module raised while it was imported."""
    told = traceback.TracebackException.from_exception(error)
    _strip(told, set())
    return "".join(told.format()).rstrip("\n")


def has_users_frame(error: BaseException) -> bool:
    """Return whether an error was raised in, or below, a file of somebody else."""
    return any(not _is_ours(frame.f_code.co_filename) for frame, _ in walk(error.__traceback__))


def is_raised_by_user(error: BaseException) -> bool:
    """Return whether code of the user's own was running: neither ours, nor Python's, nor that of a package."""
    return any(is_users(frame) for frame, _ in walk(error.__traceback__))


def _strip(told: traceback.TracebackException, seen: set[int]) -> None:
    if id(told) in seen:
        return
    seen.add(id(told))
    told.stack = traceback.StackSummary.from_list(_users(list(told.stack)))
    for other in (told.__cause__, told.__context__, *(told.exceptions or ())):
        if other is not None:
            _strip(other, seen)


def _users(frames: list[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    """Return the frames from the first of the user's to the last before our code, and whatever that was called by."""
    while frames and _is_ours(frames[0].filename):
        frames = frames[1:]
    while len(frames) > 1 and _is_pydantic(frames[0].filename):  # we call it for a body, and it calls a validator
        frames = frames[1:]
    ours = next((place for place, frame in enumerate(frames) if is_our_file(frame.filename)), None)
    if ours is None:
        return [frame for frame in frames if not _is_ours(frame.filename)]
    above = [frame for frame in frames[:ours] if not _is_ours(frame.filename)]
    while len(above) > 1 and _is_pydantic(above[-1].filename):  # specs are models: it calls us for the user
        above = above[:-1]
    return above


def _is_ours(file: str) -> bool:
    return is_our_file(file) or file.startswith("<frozen importlib") or "/importlib/" in file


def _is_pydantic(file: str) -> bool:
    return "pydantic" in Path(file).parts or "pydantic_core" in Path(file).parts
