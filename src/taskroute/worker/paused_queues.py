"""Pauses: queues whose handlers keep failing are left alone for a while, and then tried with one message."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from taskroute.handling.circuit_breaker import Change, Circuit, CircuitBreaker, succeeded
from taskroute.instrumentation.events import Paused, Resumed
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Outcome

log = logging.getLogger(__name__)


class Pauses:
    """A circuit for each queue that has a breaker, and what follows from it. Safe from any thread.

    A change takes effect in the order in which it came, as all of it is asked for under one lock; who listens is told
    afterwards.

    Args:
        breakers: by queue.
        permit: lets so many messages that wait be handled, None for all.
        consume: has the consumer look at `admits` again.
        later: has something called after so many seconds.
        tell: is told of pauses and their ends.
    """

    def __init__(
        self,
        breakers: Mapping[str, CircuitBreaker],
        *,
        permit: Callable[[str, int | None], None],
        consume: Callable[[str], None],
        later: Callable[[float, Callable[[], None]], None],
        tell: Callable[[Paused | Resumed], None],
    ) -> None:
        self._lock = threading.Lock()
        self._circuits = {queue: Circuit(breaker) for queue, breaker in breakers.items()}
        self._until = dict.fromkeys(breakers, 0.0)
        self._permit = permit
        self._consume = consume
        self._later = later
        self._tell = tell

    def admits(self, queue: str) -> Literal["all", "one", "none"]:
        """Which messages of a queue the broker may deliver now."""
        circuit = self._circuits.get(queue)
        if circuit is None or circuit.state == "closed":
            return "all"
        return "one" if circuit.state == "half_open" else "none"

    def reasons(self) -> dict[str, str]:
        """The queues that are paused, and why, for people."""
        reasons = {}
        for queue, circuit in self._circuits.items():
            if circuit.state != "closed":
                left = max(0.0, self._until[queue] - time.monotonic())
                how = f"paused for {left:.1f} s more" if circuit.state == "open" else "tried with one message"
                reasons[queue] = f"queue {queue!r} is {how}, after {circuit.failures} failures in a row"
        return reasons

    def begin(self, delivery: Delivery) -> None:
        """A handler is about to be called."""
        circuit = self._circuits.get(delivery.queue)
        if circuit is not None:
            with self._lock:
                circuit.begin(delivery)

    def end(self, delivery: Delivery, outcome: Outcome) -> None:
        """A handler has ended."""
        self._end(delivery, succeeded(outcome))

    def give_up(self, delivery: Delivery) -> None:
        """A handler has outlived its timeout, and goes on; or it has ended just now, which counts then."""
        self._end(delivery, False)

    def let_one_through(self, queue: str) -> None:
        """A pause is over."""
        with self._lock:
            self._circuits[queue].let_one_through()  # first: whoever takes the message looks at it
            self._permit(queue, 1)
            self._consume(queue)

    def _end(self, delivery: Delivery, succeeded: bool | None) -> None:
        circuit = self._circuits.get(delivery.queue)
        if circuit is not None:
            with self._lock:
                event = self._follow(delivery.queue, circuit, circuit.end(delivery, succeeded))
            self._announce(event)

    def _follow(self, queue: str, circuit: Circuit, change: Change | None) -> Paused | Resumed | None:
        if change is None:
            return None
        self._permit(queue, {"opened": 0, "still_on_trial": 1, "closed": None}[change])
        self._consume(queue)
        if change == "closed":
            return Resumed(queue=queue)
        if change == "still_on_trial":
            return None
        seconds = circuit.breaker.pause
        self._until[queue] = time.monotonic() + seconds
        self._later(seconds, partial(self.let_one_through, queue))
        return Paused(queue=queue, failures=circuit.failures, seconds=seconds)

    def _announce(self, event: Paused | Resumed | None) -> None:
        if event is None:
            return
        if isinstance(event, Paused):
            log.warning("queue_paused queue=%s failures=%d seconds=%s", event.queue, event.failures, event.seconds)
        else:
            log.info("queue_resumed queue=%s", event.queue)
        self._tell(event)
