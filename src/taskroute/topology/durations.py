"""Durations: whole milliseconds, because the broker's arguments count in them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator

_MILLISECOND: Final = timedelta(milliseconds=1)
_MAX_MILLISECONDS: Final = 2**32 - 1


def _whole_milliseconds(value: timedelta) -> timedelta:
    if value < timedelta(0) or value % _MILLISECOND or milliseconds(value) > _MAX_MILLISECONDS:
        raise ValueError("a duration is a whole number of milliseconds between 0 and 2**32 - 1")
    return value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than 0")
    return value


Duration = Annotated[timedelta, AfterValidator(_whole_milliseconds)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]


def milliseconds(duration: timedelta) -> int:
    """Return whole milliseconds, the unit of the broker's arguments."""
    return duration // _MILLISECOND
