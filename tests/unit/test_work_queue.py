"""Ready: who is woken for what."""

from __future__ import annotations

import threading
from collections import Counter
from queue import SimpleQueue

from tests.kit.waiting import DEADLINE

from taskroute.handling.fair_queue import FairQueue
from taskroute.message.delivery import Delivery
from taskroute.worker.work_queue import WorkQueue


def delivery(number: int, queue: str = "q") -> Delivery:
    return Delivery(queue=queue, exchange="", routing_key="k", body=b"", properties={}, tag=number)


class Takers:
    """Threads that take deliveries and hold each one until they are told to go on."""

    def __init__(self, ready: WorkQueue, count: int) -> None:
        self.taken: SimpleQueue[int] = SimpleQueue()
        self._go_on = threading.Semaphore(0)
        self._ready = ready
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while (taken := self._ready.take()) is not None:
            self.taken.put(taken.tag)
            self._go_on.acquire()
            self._ready.done()

    def let_go(self, count: int) -> None:
        self._go_on.release(count)

    def end(self) -> None:
        self._ready.close()
        self._go_on.release(1000)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def numbers(taken: SimpleQueue[int], count: int) -> set[int]:
    return {taken.get(timeout=DEADLINE) for _ in range(count)}


def test_as_many_threads_take_as_there_are_deliveries_while_handlers_wait() -> None:
    ready = WorkQueue()
    takers = Takers(ready, 4)
    ready.put([delivery(number) for number in range(10)])
    assert numbers(takers.taken, 4) == {0, 1, 2, 3}
    takers.let_go(2)
    assert numbers(takers.taken, 2) == {4, 5}
    takers.end()


def test_threads_that_were_busy_when_deliveries_came_are_woken_later() -> None:
    ready = WorkQueue()
    takers = Takers(ready, 2)
    ready.put([delivery(0), delivery(1)])
    assert numbers(takers.taken, 2) == {0, 1}
    ready.put([delivery(2)])  # nobody waits that could be called
    takers.let_go(1)
    assert numbers(takers.taken, 1) == {2}
    takers.let_go(2)
    assert ready.wait_idle(DEADLINE)
    ready.put([delivery(3), delivery(4)])
    assert numbers(takers.taken, 2) == {3, 4}
    takers.end()


def test_every_delivery_is_taken_once_and_none_is_forgotten() -> None:
    ready, taken = WorkQueue(), SimpleQueue[int]()

    def run() -> None:
        while (one := ready.take()) is not None:
            taken.put(one.tag)
            ready.done()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    sizes = [1, 3, 8, 40] * 250
    for index, size in enumerate(sizes):
        ready.put([delivery(sum(sizes[:index]) + number) for number in range(size)])
    assert ready.wait_idle(DEADLINE)
    assert {taken.get_nowait() for _ in range(sum(sizes))} == set(range(sum(sizes)))
    ready.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_a_closed_one_gives_out_nothing_more() -> None:
    ready = WorkQueue()
    ready.put([delivery(0), delivery(1)])
    ready.close()
    assert ready.take() is None
    assert ready.open_count == 0


# --- limits ---


def test_threads_that_a_limit_holds_back_are_free_for_other_queues_and_called_when_it_lets_go() -> None:
    ready = WorkQueue(FairQueue({"slow": 1}))
    takers = Takers(ready, 3)
    ready.put([delivery(0, "slow"), delivery(1, "slow"), delivery(2, "slow"), delivery(3), delivery(4)])
    assert numbers(takers.taken, 3) == {0, 3, 4}  # no thread idles, and none has a second slow one
    takers.let_go(3)
    ready.put([delivery(5)])
    assert numbers(takers.taken, 1) == {5}  # while a slow one would have been next
    ready.release("slow")  # by a thread that takes nothing itself
    assert numbers(takers.taken, 1) == {1}
    ready.release("slow")
    assert numbers(takers.taken, 1) == {2}
    takers.end()


def test_with_limits_every_delivery_is_taken_once_and_none_is_forgotten() -> None:
    limits = {"a": 1, "b": 2}
    ready, taken = WorkQueue(FairQueue(limits)), SimpleQueue[int]()
    in_hand, most = Counter[str](), Counter[str]()
    lock = threading.Lock()

    def run() -> None:
        while (one := ready.take()) is not None:
            with lock:
                in_hand[one.queue] += 1
                most[one.queue] = max(most[one.queue], in_hand[one.queue])
            taken.put(one.tag)
            with lock:
                in_hand[one.queue] -= 1
            if one.queue in limits:
                ready.release(one.queue)
            ready.done()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(0, 6000, 3):
        ready.put([delivery(number, "a"), delivery(number + 1, "b"), delivery(number + 2, "c")])
    assert ready.wait_idle(DEADLINE)
    assert {taken.get_nowait() for _ in range(6000)} == set(range(6000))
    assert most["a"] == 1
    assert most["b"] <= 2
    ready.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
