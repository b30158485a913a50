"""ThreadPool: how many threads there are while some of them hang, and that they end."""

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
        self.thread_of: dict[str, threading.Thread] = {}
        self._go_on: defaultdict[str, threading.Event] = defaultdict(threading.Event)
        self._deliveries: dict[str, Delivery] = {}

    def _handle(self, delivery: Delivery) -> None:
        self.thread_of[delivery.routing_key] = threading.current_thread()
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
def pool() -> Iterator[Hanging]:
    hanging = Hanging(1)
    hanging.threads.start()
    yield hanging
    hanging.stop()


def test_freed_thread_takes_the_place_of_one_without_replacement(pool: Hanging) -> None:
    """A handler that ends after it was given up gives its thread back to the pool, where the pool lacks one."""
    pool.begin("a")
    assert pool.give_up("a")

    pool.begin("b")  # in the thread that replaced the first
    assert pool.give_up("b")  # there are twice as many as asked for: no further one
    assert pool.threads.is_none_left()

    pool.put("c")
    pool.end("a")
    assert pool.begun.get(timeout=DEADLINE) == "c"
    assert not pool.threads.is_none_left()
    assert len(pool.threads.stuck()) == 1


def test_ended_thread_leaves_room_for_a_further_replacement(pool: Hanging) -> None:
    """It counts neither against the limit of threads nor as one that still works."""
    pool.begin("a")
    assert pool.give_up("a")

    pool.begin("b")
    pool.end("a")
    pool.thread_of["a"].join(DEADLINE)  # one is enough: the replaced one is not needed
    assert not pool.thread_of["a"].is_alive()
    assert pool.give_up("b")

    pool.begin("c")
    assert pool.give_up("c")
    assert pool.threads.is_none_left()


def test_thread_that_has_settled_its_last_message_is_waited_for(pool: Hanging, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it has forgotten it as well: whoever stops a worker may count threads afterwards."""
    join = threading.Thread.join
    pool.begin("a")
    pool.ready.close()

    def end_and_join(thread: threading.Thread, timeout: float | None = None) -> None:
        pool.end("a")
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", end_and_join)
    pool.threads.end(time.monotonic() + DEADLINE, has_finished=True)

    assert not pool.thread_of["a"].is_alive()


def test_thread_whose_handler_is_overdue_is_not_waited_for(pool: Hanging) -> None:
    """Its message has been settled by its timeout, so that nothing is open."""
    pool.begin("a")
    pool.ready.close()
    assert pool.give_up("a")

    pool.threads.end(time.monotonic() + DEADLINE, has_finished=True)

    assert pool.thread_of["a"].is_alive()
    pool.end("a")


def test_threads_that_were_not_started_are_not_waited_for() -> None:
    Hanging(2).threads.end(time.monotonic() + DEADLINE)
