"""Lifespan: what a service opens before its worker starts, and closes after it has ended.

It is opened and closed by one thread of its own, or by one task of the worker's event loop: some things must be closed
where they were opened. So whoever runs the service can stop waiting for it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, Final, Protocol

from taskroute.errors import ShutdownTimeoutError
from taskroute.service.opening import Opening
from taskroute.worker.event_loop import EventLoop

CLOSE_TIMEOUT: Final = 10.0
"""Seconds that it may take to close, and to open once nobody wants it any more."""

GRACE: Final = 1.0
"""Seconds to end for one that is cancelled."""


class OpeningGivenUpError(Exception):
    """Nothing was opened, as the service is to end. Internal."""


class Lifespan:
    """One opening and closing. Made, opened and closed by the thread that runs the service.

    Args:
        name: of the function, for people.
        life: runs it.
        timeout: seconds for closing, and for opening what nobody wants any more.
    """

    def __init__(self, name: str, life: Life, timeout: float = CLOSE_TIMEOUT) -> None:
        self._name = name
        self._life = life
        self._timeout = timeout

    def open(self, wait: Callable[[Future[Any]], object]) -> Any:
        """Open it, and return what it has yielded.

        Args:
            wait: waits for a future, and may return before it is done: the service is to end.

        Raises:
            OpeningGivenUpError: the service is to end, and nothing is open.
            ShutdownTimeoutError: the service is to end, and it goes on opening.
            BaseException: what it raised.
        """
        opened = self._life.start()
        try:
            wait(opened)
        except BaseException:  # an interrupt
            self._life.give_up()
            with suppress(BaseException):  # the interrupt says more
                self._result(opened, "opened")
                self.close()
            raise
        if not opened.done():
            self._life.give_up()
        return self._result(opened, "opened")

    def close(self) -> None:
        """Close it.

        Raises:
            ShutdownTimeoutError: it takes longer than it may, and is left to itself.
            BaseException: what it raised.
        """
        self._result(self._life.close(self._timeout), "closed")

    def _result(self, future: Future[Any], what: str) -> Any:
        try:
            error = future.exception(self._timeout + GRACE)
        except (FutureTimeoutError, CancelledError):
            error = _OverdueError()
        if isinstance(error, _OverdueError):
            raise ShutdownTimeoutError(f"lifespan {self._name} was not {what} within {self._timeout:g} s")
        if error is None:
            return future.result()
        if not isinstance(error, OpeningGivenUpError):
            error.add_note(f"raised while lifespan {self._name} was {what}")
        raise error


class Life(Protocol):
    """What runs a lifespan."""

    def start(self) -> Future[Any]:
        """Begin to open it; the future has what it has yielded, or OpeningGivenUpError."""

    def give_up(self) -> None:
        """Have the opening end, if that can be; what is open all the same is closed by `close`."""

    def close(self, timeout: float) -> Future[None]:
        """Begin to close it; the future tells how that went."""


class ThreadLife:
    """Runs a plain lifespan in a thread of its own, a daemon: if it hangs, the process can end.

    Args:
        opening: of it.
        name: of the thread.
    """

    def __init__(self, opening: Opening, name: str) -> None:
        self._opening = opening
        self._opened: Future[Any] = Future()
        self._closed: Future[None] = Future()
        self._close = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> Future[Any]:
        """Begin to open it."""
        self._thread.start()
        return self._opened

    def give_up(self) -> None:
        """Have it be closed as soon as it is open: nothing else can be done for plain code."""
        self._close.set()

    def close(self, timeout: float) -> Future[None]:  # noqa: ARG002 - nothing ends plain code in time
        """Have it be closed."""
        self._close.set()
        return self._closed

    def _run(self) -> None:
        if _settle(self._opened, self._opening.open):
            self._close.wait()
            _settle(self._closed, self._opening.close)


class TaskLife:
    """Runs an async lifespan in one task of an event loop, on which it resides.

    Args:
        opening: of it.
        loop: of the worker, so that handlers can await what it yields.
    """

    def __init__(self, opening: Opening, loop: EventLoop) -> None:
        self._opening = opening
        self._opened: Future[Any] = Future()
        self._closed: Future[None] = Future()
        self._loop = loop
        self._limit = asyncio.Timeout(None)
        self._close: asyncio.Queue[float] = asyncio.Queue()  # of the seconds that closing may take

    def start(self) -> Future[Any]:
        """Begin to open it."""
        self._closed = self._loop.reside(self._run())
        return self._opened

    def give_up(self) -> None:
        """Cancel the opening."""
        self._loop.run(self._cancel())

    def close(self, timeout: float) -> Future[None]:
        """Have it be closed, and be cancelled if that takes too long."""
        self._loop.reside(self._close.put(timeout))  # not cancelled with the handlers
        return self._closed

    # On the loop's thread:

    async def _run(self) -> None:
        try:
            async with self._limit:
                value = await self._opening.open()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
            was_given_up = self._limit.expired() and isinstance(error, TimeoutError)
            self._opened.set_exception(OpeningGivenUpError() if was_given_up else error)
            return
        self._opened.set_result(value)
        limit = asyncio.timeout(await self._close.get())
        try:
            async with limit:
                await self._opening.close()
        except TimeoutError:
            if limit.expired():
                raise _OverdueError from None
            raise

    async def _cancel(self) -> None:
        if not self._opened.done():
            self._limit.reschedule(asyncio.get_running_loop().time())


class _OverdueError(Exception):
    """It was cancelled as it took too long."""


def _settle(future: Future[Any], call: Callable[[], Any]) -> bool:
    """Have a future be what a call returns or raises, and return whether it returned."""
    try:
        value = call()
    except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
        future.set_exception(error)
        return False
    future.set_result(value)
    return True
