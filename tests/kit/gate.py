"""A place where async handlers wait until the test lets them through."""

from __future__ import annotations

import asyncio
import threading

from tests.kit.waiting import DEADLINE


class Gate:
    """Counts the coroutines that stand before it, and lets all through once it is open."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._opened = asyncio.Event()
        self._waiting = self._most = 0

    @property
    def most(self) -> int:
        """How many have stood before it at once."""
        return self._most

    def wait(self, count: int) -> None:
        """Wait, in the test's thread, until so many stand before it."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting >= count, DEADLINE), self._waiting

    async def stand(self) -> None:
        """Wait, on the loop, until it is open."""
        with self._changed:
            self._waiting += 1
            self._most = max(self._most, self._waiting)
            self._changed.notify_all()
        try:
            await self._opened.wait()
        finally:
            with self._changed:
                self._waiting -= 1

    async def open(self) -> None:
        """Open it, on the same loop."""
        self._opened.set()
