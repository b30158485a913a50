"""A TCP proxy between a client and its broker, which cuts, stalls and trickles. Runs an event loop in a thread."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, TypeVar

from tests.kit.ports import KeptPort

T = TypeVar("T")
Direction = Literal["to_broker", "to_client"]
BOTH: tuple[Direction, ...] = ("to_broker", "to_client")
CHUNK = 4096


class Link:
    """One client's connection through the proxy."""

    def __init__(self, client: asyncio.StreamWriter, broker: asyncio.StreamWriter) -> None:
        self.client = client
        self.broker = broker
        self.passed: dict[Direction, int] = {"to_broker": 0, "to_client": 0}

    def reset(self) -> None:
        """End both sides with a reset, as a broken network does."""
        for writer in (self.client, self.broker):
            sock = writer.get_extra_info("socket")
            with suppress(OSError):  # closed already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


class Proxy:
    """Passes bytes on to a port of this machine. Every public method may be called from any thread."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._links: set[Link] = set()
        self._accepted = 0
        self._changed = threading.Condition()
        self._rate: int | None = None
        self._cuts: Iterator[int] = iter(())
        self._loop = asyncio.new_event_loop()
        self._open: dict[Direction, asyncio.Event] = {direction: asyncio.Event() for direction in BOTH}
        for event in self._open.values():
            event.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._kept = KeptPort()
        self.port = self._kept.number
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))

    def close(self) -> None:
        """End everything."""
        self.reset()
        self._run(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._kept.let_go()

    @property
    def open(self) -> int:
        """How many connections there are."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """How many connections there have been."""
        return self._accepted

    def wait_accepted(self, count: int, timeout: float) -> bool:
        """Wait until there have been so many connections."""
        with self._changed:
            return self._changed.wait_for(lambda: self._accepted >= count, timeout)

    def wait_passed(self, count: int, timeout: float, direction: Direction = "to_client") -> bool:
        """Wait until a connection that is open has passed so many bytes."""
        with self._changed:
            return self._changed.wait_for(lambda: self.passed(direction) >= count, timeout)

    def passed(self, direction: Direction) -> int:
        """How many bytes an open connection has passed, the one that has passed most."""
        return max((link.passed[direction] for link in tuple(self._links)), default=0)

    def reset(self) -> None:
        """Break every connection."""
        self._run(self._reset())

    def stall(self, *directions: Direction) -> None:
        """Pass nothing on any more, in both directions unless one is given; neither side is notified."""
        self._run(self._set(directions or BOTH, passing=False))

    def resume(self, *directions: Direction) -> None:
        """Pass everything on again, what has waited first; in both directions unless one is given."""
        self._run(self._set(directions or BOTH, passing=True))

    @contextmanager
    def stalled(self, *directions: Direction) -> Iterator[None]:
        """Stalled for as long as the block takes."""
        self.stall(*directions)
        try:
            yield
        finally:
            self.resume()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Break every connection and take no other one, as a node that is down, for as long as the block takes."""
        self._server.close()
        self.reset()
        try:
            yield
        finally:
            self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", self.port))

    def trickle(self, bytes_per_second: int | None) -> None:
        """Pass on so much from the broker, 64 bytes at a time; None for no limit."""
        self._rate = bytes_per_second

    def cut_after(self, counts: Iterator[int]) -> None:
        """Break each next connection after so many bytes from the broker; when `counts` is at its end, none."""
        self._cuts = counts

    async def _reset(self) -> None:
        for link in tuple(self._links):
            link.reset()

    async def _set(self, directions: tuple[Direction, ...], *, passing: bool) -> None:
        for direction in directions:
            event = self._open[direction]
            event.set() if passing else event.clear()

    async def _shut(self) -> None:
        self._server.close()
        for event in self._open.values():
            event.set()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = next(self._cuts, None)
        with self._changed:
            self._accepted += 1
            self._changed.notify_all()
        try:
            broker_reader, broker_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = Link(writer, broker_writer)
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pass(link, reader, broker_writer, "to_broker", None),
                self._pass(link, broker_reader, writer, "to_client", limit),
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._links.discard(link)
            link.reset()

    async def _pass(
        self,
        link: Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        direction: Direction,
        limit: int | None,
    ) -> None:
        while True:
            # Stalled, it does not even read: the sender's buffers fill up, as they do when a network falls silent.
            await self._open[direction].wait()
            size = CHUNK
            if limit is not None:
                size = min(size, limit - link.passed[direction])
                if size == 0:
                    raise ConnectionResetError
            data = await reader.read(size)
            if not data:
                raise ConnectionResetError
            while data:
                rate = self._rate if direction == "to_client" else None
                piece, data = (data[:64], data[64:]) if rate else (data, b"")
                if rate:
                    await asyncio.sleep(len(piece) / rate)
                await self._open[direction].wait()
                writer.write(piece)
                await writer.drain()
                with self._changed:
                    link.passed[direction] += len(piece)
                    self._changed.notify_all()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
