"""Window: the messages of a publisher that are not settled yet, and the callers that wait for room."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future

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
        self._awaiting_room: OrderedDict[Future[None], None] = OrderedDict()
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
            rooms = self._take_rooms(len(self._awaiting_room))
            submissions = tuple(self._open.values())
        for room in rooms:
            room.set_result(None)
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
        """Do the same on an event loop. No thread waits: a loop has few, and waits for each of them at its end."""
        until = time.monotonic() + timeout
        while not self.enter(submission, 0):
            if self.is_closed:
                return False
            room = self._room()
            try:
                async with asyncio.timeout(until - time.monotonic()):
                    await asyncio.wrap_future(room)
            except BaseException as error:
                self._let_in(room)  # if it was this caller's turn, it is the next one's now
                if isinstance(error, TimeoutError):
                    return False
                raise
        return True

    def _room(self) -> Future[None]:
        room: Future[None] = Future()
        with self._changed:
            if self._is_full and not self._is_closed:
                self._awaiting_room[room] = None
            else:
                room.set_result(None)
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
            if not self._open or (self._is_full and len(self._open) <= self._size // 2):
                self._is_full = False
                self._changed.notify_all()
            is_awaited = bool(self._awaiting_room)
        if is_awaited:
            self._let_in()

    def _let_in(self, leaving: Future[None] | None = None) -> None:
        """Give the room that there is to callers on event loops, in the order in which they came."""
        with self._changed:
            if leaving is not None:
                self._awaiting_room.pop(leaving, None)
            rooms = self._take_rooms(0 if self._is_full else self._size - len(self._open))
        for room in rooms:
            room.set_result(None)

    def _take_rooms(self, most: int) -> list[Future[None]]:
        """Take out those whose turn it is. Whoever holds the lock gives them their room after it."""
        rooms: list[Future[None]] = []
        while self._awaiting_room and len(rooms) < most:
            room, _ = self._awaiting_room.popitem(last=False)
            if room.set_running_or_notify_cancel():
                rooms.append(room)
        return rooms
