"""PausedQueues: what follows from a circuit, in its order, whichever thread brings it about."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from taskroute import CircuitBreaker
from taskroute.broker.roles.consumed_queue import Admission
from taskroute.instrumentation import Event, Paused, Resumed
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled
from taskroute.worker.notifications import Notifications
from taskroute.worker.paused_queues import PausedQueues
from taskroute.worker.stats import StatsCounter

GOOD, BAD = Handled("f"), Failed("handler_error", "")


class World:
    """What paused queues act on: a gate, a scheduler, and instrumentation that hears of it."""

    def __init__(self, failures: int = 1) -> None:
        self.permits: list[int | None] = []
        self.admitted: list[Admission] = []
        self.later: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.told: list[Event] = []
        self.paused = PausedQueues(
            {"q": CircuitBreaker(failures=failures, pause=7)},
            gate=self,
            scheduler=self,
            notifications=Notifications(StatsCounter(), self.told.append),
        )

    def permit(self, queue: str, count: int | None) -> None:
        self.permits.append(count)

    def reconsider(self, queue: str) -> None:
        self.admitted.append(self.paused.admission(queue))

    def call_later(self, delay: float, call: Callable[[], object]) -> bool:
        self.later.put(call)
        return True

    def handle(self, outcome: Handled | Failed, queue: str = "q") -> None:
        delivery = delivered(queue)
        self.paused.on_handler_start(delivery)
        self.paused.on_handler_end(delivery, outcome)


def delivered(queue: str = "q") -> Delivery:
    return Delivery(queue=queue, exchange="", routing_key="k", body=b"", properties={})


def test_a_pause_from_its_beginning_to_its_end() -> None:
    world = World(failures=2)
    for outcome in (BAD, GOOD, BAD, BAD):
        world.handle(outcome)
    assert (world.permits, world.admitted) == ([0], ["none"])
    assert world.told == [Paused(queue="q", failures=2, seconds=7)]
    assert list(world.paused.reasons()) == ["q"]
    world.later.get_nowait()()
    assert (world.permits, world.admitted) == ([0, 1], ["none", "one"])
    assert "tried with one message" in world.paused.reasons()["q"]
    world.handle(BAD)
    world.later.get_nowait()()
    world.handle(GOOD)
    assert (world.permits, world.admitted[2:]) == ([0, 1, 0, 1, None], ["none", "one", "all"])
    assert world.told[1:] == [Paused(queue="q", failures=3, seconds=7), Resumed(queue="q")]
    assert world.paused.reasons() == {}
    assert world.later.empty()


def test_a_handler_that_ends_as_it_is_given_up_counts_once() -> None:
    world = World(failures=2)
    for first, second in ((GOOD, None), (None, BAD), (None, GOOD)):
        delivery = delivered()
        world.paused.on_handler_start(delivery)
        for outcome in (first, second):
            if outcome is None:
                world.paused.on_overdue(delivery)
            else:
                world.paused.on_handler_end(delivery, outcome)
    assert world.told == [Paused(queue="q", failures=2, seconds=7)]


def test_a_queue_without_a_breaker_is_none_of_its_business() -> None:
    world = World()
    world.handle(BAD, queue="other")
    world.paused.on_overdue(delivered("other"))
    assert (world.permits, world.paused.admission("other")) == ([], "all")


def test_from_many_threads_each_change_is_followed_before_the_next_one() -> None:
    world = World()

    def handle(seed: int) -> None:
        numbers = random.Random(seed)
        for _ in range(20_000):
            world.handle(GOOD if numbers.random() < 0.5 else BAD)
            if not world.later.empty():
                try:
                    call = world.later.get_nowait()
                except Empty:  # another thread was faster
                    continue
                call()

    threads = [threading.Thread(target=handle, args=(seed,)) for seed in range(8)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that threads get between each other
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    finally:
        sys.setswitchinterval(interval)
    assert len(world.permits) > 100
    follows: dict[int | None, set[int | None]] = {None: {0}, 0: {1}, 1: {0, None}}
    before: int | None = None
    for permit in world.permits:
        assert permit in follows[before]
        before = permit
    assert world.admitted == [{0: "none", 1: "one", None: "all"}[permit] for permit in world.permits]
