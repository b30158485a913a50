"""OpenService: what `Service.running` returns, to be entered with ``with`` or ``async with``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, suppress
from types import TracebackType

from taskroute.service.running import RunningService


class OpenService(AbstractContextManager[RunningService, None], AbstractAsyncContextManager[RunningService, None]):
    """A service that runs inside of it. Entered once.

    Args:
        open_: returns the context manager in which it runs.
    """

    def __init__(self, open_: Callable[[], AbstractContextManager[RunningService]]) -> None:
        self._open = open_
        self._stack = ExitStack()

    def __enter__(self) -> RunningService:
        return self._stack.enter_context(self._open())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    async def __aenter__(self) -> RunningService:
        entering = asyncio.ensure_future(asyncio.to_thread(self.__enter__))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            # The thread cannot be cancelled: what it opens is closed.
            with suppress(Exception):
                await entering
                await asyncio.to_thread(self.__exit__, None, None, None)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)
