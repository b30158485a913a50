"""Admissions: each change of a circuit sets permits and events in its order, from any thread."""

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
from taskroute.worker.admissions import Admissions
from taskroute.worker.notifications import Notifications
from taskroute.worker.stats import StatsCounter

GOOD, BAD = Handled("f"), Failed("handler_error", "")


class World:
    """What paused queues act on: a gate, a scheduler, and instrumentation that hears the events."""

    def __init__(self, failures: int = 1) -> None:
        self.permits: list[int | None] = []
        self.holds: list[bool] = []
        self.admitted: list[Admission] = []
        self.later: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.events: list[Event] = []
        self.admissions = Admissions(
            {"q": CircuitBreaker(failures=failures, pause=7)},
            gate=self,
            scheduler=self,
            notifications=Notifications(StatsCounter(), self.events.append),
        )

    def permit(self, queue: str, count: int | None) -> None:
        self.permits.append(count)

    def hold(self, queue: str) -> None:
        self.holds.append(True)

    def let_go(self, queue: str) -> None:
        self.holds.append(False)

    def reconsider(self, queue: str) -> None:
        self.admitted.append(self.admissions.of(queue))

    def call_later(self, delay: float, call: Callable[[], object]) -> bool:
        self.later.put(call)
        return True

    def handle(self, outcome: Handled | Failed, queue: str = "q") -> None:
        delivery = delivered(queue)
        self.admissions.on_handler_start(delivery)
        self.admissions.on_handler_end(delivery, outcome)


def delivered(queue: str = "q") -> Delivery:
    return Delivery(queue=queue, exchange="", routing_key="k", body=b"", properties={})


def test_paused_queue_tries_one_message_before_it_resumes() -> None:
    """Failures pause it; after the pause one message is tried: a failure pauses it again, a success resumes it."""
    world = World(failures=2)

    for outcome in (BAD, GOOD, BAD, BAD):
        world.handle(outcome)
    assert (world.permits, world.admitted) == ([0], ["none"])
    assert world.events == [Paused(queue="q", failures=2, seconds=7)]
    assert list(world.admissions.reasons()) == ["q"]

    world.later.get_nowait()()
    assert (world.permits, world.admitted) == ([0, 1], ["none", "one"])
    assert "tried with one message" in world.admissions.reasons()["q"]

    world.handle(BAD)
    world.later.get_nowait()()
    world.handle(GOOD)
    assert (world.permits, world.admitted[2:]) == ([0, 1, 0, 1, None], ["none", "one", "all"])
    assert world.events[1:] == [Paused(queue="q", failures=3, seconds=7), Resumed(queue="q")]
    assert world.admissions.reasons() == {}
    assert world.later.empty()


def test_queue_held_by_hand_hides_what_its_circuit_says_until_it_is_let_go() -> None:
    """Of a circuit that closes meanwhile, `Resumed` comes when the queue is let go."""
    world = World()
    world.handle(BAD)
    trial = delivered()
    world.later.get_nowait()()
    world.admissions.on_handler_start(trial)

    world.admissions.hold("q")
    assert (world.admissions.of("q"), world.admissions.reasons(), world.holds) == ("leave", {}, [True])
    world.admissions.on_handler_end(trial, GOOD)
    assert world.events[1:] == [Paused(queue="q", failures=0, seconds=None)]

    world.admissions.let_go("q")
    world.admissions.let_go("q")
    assert (world.admissions.of("q"), world.holds) == ("all", [True, False])
    assert world.events[2:] == [Resumed(queue="q")]


def test_handler_given_up_as_it_ends_counts_once() -> None:
    """Of the end of a handler and its timeout, only the first counts."""
    world = World(failures=2)

    for first, second in ((GOOD, None), (None, BAD), (None, GOOD)):
        delivery = delivered()
        world.admissions.on_handler_start(delivery)
        for outcome in (first, second):
            if outcome is None:
                world.admissions.on_overdue(delivery)
            else:
                world.admissions.on_handler_end(delivery, outcome)

    assert world.events == [Paused(queue="q", failures=2, seconds=7)]


def test_queue_without_breaker_is_never_paused() -> None:
    world = World()

    world.handle(BAD, queue="other")
    world.admissions.on_overdue(delivered("other"))

    assert (world.permits, world.admissions.of("other")) == ([], "all")


def test_changes_of_many_threads_are_followed_one_by_one() -> None:
    """No permit of a later change is set before that of an earlier one."""
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
