"""AsyncHandlers: the async handlers that run on a worker's event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from taskroute.message.delivery import Delivery
from taskroute.worker.event_loop import EventLoop
from taskroute.worker.thread_pool import describe


class AsyncHandlers:
    """Knows which deliveries are being handled on the loop. Safe from any thread.

    Args:
        loop: runs them.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._running: dict[Delivery, _Running] = {}

    @property
    def are_stopping(self) -> bool:
        """Whether they are being cancelled, or were."""
        return self._loop.is_stopping

    @property
    def are_dead(self) -> bool:
        """Whether the loop's thread has ended that should run them."""
        return self._loop.is_dead

    def run(
        self, delivery: Delivery, handling: Coroutine[Any, Any, None], on_drop: Callable[[Delivery], object]
    ) -> None:
        """Have a coroutine run that handles a delivery, and calls `on_end` last.

        Args:
            delivery: for the record.
            handling: the coroutine.
            on_drop: is called with the delivery if it never runs.

        Raises:
            OSError, RuntimeError: the loop's thread cannot be had now. It was closed.
        """
        with self._lock:
            self._running[delivery] = _Running(time.monotonic())
        try:
            self._loop.run(handling, partial(self._dropped, delivery, on_drop))
        except BaseException:
            self.on_end(delivery)
            raise

    def on_end(self, delivery: Delivery) -> None:
        """Record that a delivery is not handled any longer."""
        with self._lock:
            self._running.pop(delivery, None)

    def current(self) -> Iterator[tuple[Delivery, float]]:
        """Yield what is being handled, and since when by the monotonic clock."""
        for delivery, running in self._snapshot():
            yield delivery, running.since

    def describe_current(self) -> list[str]:
        """Return what is being handled, for people."""
        return [self._describe(delivery) for delivery, _ in self._snapshot()]

    def give_up(self, delivery: Delivery) -> bool:
        """Note that a handler outlives its timeout, and return whether it still runs."""
        with self._lock:
            running = self._running.get(delivery)
            if running is not None:
                running.is_overdue = True
            return running is not None

    def stuck(self) -> list[str]:
        """Return what the handlers are doing that have outlived their timeout, for people."""
        return [self._describe(delivery) for delivery, running in self._snapshot() if running.is_overdue]

    def _dropped(self, delivery: Delivery, on_drop: Callable[[Delivery], object]) -> None:
        self.on_end(delivery)
        on_drop(delivery)

    def _snapshot(self) -> list[tuple[Delivery, _Running]]:
        with self._lock:
            return list(self._running.items())

    def _describe(self, delivery: Delivery) -> str:
        return f"{self._loop.name} is handling {describe(delivery)}"


@dataclass(slots=True)
class _Running:
    """A handler that runs: since when, and whether it has not ended although it was cancelled."""

    since: float
    is_overdue: bool = False
