"""Scheduler: something that makes calls at a later time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Scheduler(Protocol):
    """Makes calls on one thread of its own. Any thread may ask."""

    def call_later(self, delay: float, call: Callable[[], object]) -> bool:
        """Have `call` made after `delay` seconds. Return False if the call will not be made."""
