"""Window: the messages of a publisher that are not settled yet, and the callers that wait for room."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import NamedTuple

from taskroute.broker.roles.submission import Receipt, Submission


class Window:
    """Lets so many messages in at a time. Safe from any thread.

    Once it is full it takes no more until half of it is settled: callers are then woken for many messages at a time.
    To wake them for each message would cost more than all the rest of publishing it.

    Once it is closed it takes none, and wakes who waits.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._open: dict[Future[Receipt], Submission] = {}
        self._is_full = False
        self._is_closed = False
        self._changed = threading.Condition()
        self._awaiting_room: OrderedDict[Future[bool], Submission] = OrderedDict()
        self._exempt: int | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more."""
        with self._changed:
            return self._is_closed

    def close(self) -> tuple[Submission, ...]:
        """Take no more, and return those that are not settled yet."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
            turns = self._next_turns()
            # One that has its outcome leaves in a moment: its caller was told.
            submissions = tuple(each for each in self._open.values() if not each.future.done())
        self._tell(turns)
        return submissions

    def exempt(self) -> None:
        """Never have the calling thread wait for room: it is the thread that makes room."""
        with self._changed:
            self._exempt = threading.get_ident()

    def enter(self, submission: Submission, timeout: float) -> bool:
        """Wait for room, and return whether there was; at once if it is closed."""
        with self._changed:
            if (self._is_full and not self._wait_for_room(timeout)) or self._is_closed:
                return False
            self._open[submission.future] = submission
            self._is_full = len(self._open) >= self._size
        submission.future.add_done_callback(self._leave)
        return True

    def _wait_for_room(self, timeout: float) -> bool:
        return threading.get_ident() == self._exempt or self._changed.wait_for(
            lambda: not self._is_full or self._is_closed, timeout
        )

    async def enter_async(self, submission: Submission, timeout: float) -> bool:
        """Do the same on an event loop. No thread waits: a loop has few, and waits for each of them at its end.

        Callers come in by turns: room is kept for the one whose turn it is. One that leaves cancels its message, which
        makes room as any other does.
        """
        if self.enter(submission, 0):
            return True
        room = self._room(submission)
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(room)
        except TimeoutError:
            return False
        except BaseException:
            submission.future.cancel()
            raise
        finally:
            with self._changed:
                self._awaiting_room.pop(room, None)

    def _room(self, submission: Submission) -> Future[bool]:
        """Return a future that says whether a message is in; False: the window was closed."""
        room: Future[bool] = Future()
        with self._changed:
            self._awaiting_room[room] = submission
            turns = self._next_turns()
        self._tell(turns)
        return room

    def wait_empty(self, timeout: float) -> bool:
        """Wait until all are settled, and return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._open, min(timeout, threading.TIMEOUT_MAX))

    def unsettled(self) -> tuple[Submission, ...]:
        """Return those that are not settled yet."""
        with self._changed:
            return tuple(self._open.values())

    def _leave(self, future: Future[Receipt]) -> None:
        with self._changed:
            del self._open[future]
            turns: list[_Turn] = []
            if not self._open or (self._is_full and len(self._open) <= self._size // 2):
                self._is_full = False
                turns = self._next_turns()
                self._changed.notify_all()
        self._tell(turns)

    def _next_turns(self) -> list[_Turn]:
        """Take in the messages of those on event loops whose turn it is: half of the room is left to threads.

        Who holds the lock tells them after it.
        """
        most = 0 if self._is_full else (self._size - len(self._open) + 1) // 2
        turns: list[_Turn] = []
        while self._awaiting_room and (len(turns) < most or self._is_closed):
            room, submission = self._awaiting_room.popitem(last=False)
            if room.set_running_or_notify_cancel():
                turns.append(_Turn(room, submission, not self._is_closed))
        self._open |= {turn.submission.future: turn.submission for turn in turns if turn.is_in}
        self._is_full = self._is_full or len(self._open) >= self._size
        return turns

    def _tell(self, turns: list[_Turn]) -> None:
        for turn in turns:
            if turn.is_in:
                turn.submission.future.add_done_callback(self._leave)
            turn.room.set_result(turn.is_in)


class _Turn(NamedTuple):
    """Of a caller on an event loop: what tells it whether its message is in."""

    room: Future[bool]
    submission: Submission
    is_in: bool
