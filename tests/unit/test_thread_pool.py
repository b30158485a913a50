"""ThreadPool: how many there are when some of them hang, and that they end."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from tests.kit.waiting import DEADLINE

from taskroute.message.delivery import Delivery
from taskroute.worker.thread_pool import ThreadPool
from taskroute.worker.work_queue import WorkQueue


class Hanging:
    """Threads whose handlers begin, and hang until they are told to go on."""

    def __init__(self, count: int) -> None:
        self.ready = WorkQueue()
        self.threads = ThreadPool(count, self.ready, self._handle, "handler")
        self.begun: SimpleQueue[str] = SimpleQueue()
        self.in_thread: dict[str, threading.Thread] = {}
        self._go_on: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._deliveries: dict[str, Delivery] = {}

    def _handle(self, delivery: Delivery) -> None:
        self.in_thread[delivery.routing_key] = threading.current_thread()
        self.begun.put(delivery.routing_key)
        assert self._go_on[delivery.routing_key].wait(DEADLINE)

    def put(self, key: str) -> None:
        delivery = Delivery(queue="q", exchange="", routing_key=key, body=b"", properties={})
        self._deliveries[key] = delivery
        self._go_on[key].clear()
        self.ready.put([delivery])

    def begin(self, key: str) -> None:
        self.put(key)
        assert self.begun.get(timeout=DEADLINE) == key

    def give_up(self, key: str) -> bool:
        return self.threads.give_up(self._deliveries[key])

    def end(self, *keys: str) -> None:
        for key in keys:
            self._go_on[key].set()

    def stop(self) -> None:
        self.ready.close()
        self.end(*self._deliveries)
        self.threads.end(time.monotonic() + DEADLINE)


@pytest.fixture
def one() -> Iterator[Hanging]:
    hanging = Hanging(1)
    hanging.threads.start()
    yield hanging
    hanging.stop()


def test_a_thread_that_was_replaced_takes_the_place_of_one_that_could_not_be(one: Hanging) -> None:
    one.begin("a")
    assert one.give_up("a")
    one.begin("b")  # in the thread that took the first one's place
    assert one.give_up("b")  # there are twice as many as there should be: no further one
    assert one.threads.are_all_stuck()
    one.put("c")
    one.end("a")
    assert one.begun.get(timeout=DEADLINE) == "c"
    assert not one.threads.are_all_stuck()
    assert len(one.threads.stuck()) == 1


def test_a_thread_that_has_ended_leaves_room_and_is_not_taken_for_one_that_works(one: Hanging) -> None:
    one.begin("a")
    assert one.give_up("a")
    one.begin("b")
    one.end("a")
    one.in_thread["a"].join(DEADLINE)  # one is enough: it is not needed any more
    assert not one.in_thread["a"].is_alive()
    assert one.give_up("b")
    one.begin("c")
    assert one.give_up("c")
    assert one.threads.are_all_stuck()


def test_threads_that_were_not_started_are_not_waited_for() -> None:
    Hanging(2).threads.end(time.monotonic() + DEADLINE)
