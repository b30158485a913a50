"""WorkQueue: which threads are woken for which deliveries."""

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


class TakingThreads:
    """Threads that take deliveries and hold each one until they are told to go on."""

    def __init__(self, queue: WorkQueue, count: int) -> None:
        self.taken: SimpleQueue[int] = SimpleQueue()
        self._go_on = threading.Semaphore(0)
        self._ready = queue
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while (taken := self._ready.take()) is not None:
            self.taken.put(taken.tag)
            self._go_on.acquire()
            self._ready.done(taken)

    def finish(self, count: int) -> None:
        self._go_on.release(count)

    def end(self) -> None:
        self._ready.close()
        self._go_on.release(1000)
        for thread in self._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()


def numbers(taken: SimpleQueue[int], count: int) -> set[int]:
    return {taken.get(timeout=DEADLINE) for _ in range(count)}


def test_each_free_thread_takes_a_delivery_while_handlers_wait() -> None:
    queue = WorkQueue()
    threads = TakingThreads(queue, 4)

    queue.put([delivery(number) for number in range(10)])
    assert numbers(threads.taken, 4) == {0, 1, 2, 3}

    threads.finish(2)
    assert numbers(threads.taken, 2) == {4, 5}

    threads.end()


def test_threads_busy_when_deliveries_came_take_them_later() -> None:
    """No thread waited when the delivery came, so none was woken for it."""
    queue = WorkQueue()
    threads = TakingThreads(queue, 2)

    queue.put([delivery(0), delivery(1)])
    assert numbers(threads.taken, 2) == {0, 1}

    queue.put([delivery(2)])  # no thread waits that could be woken
    threads.finish(1)
    assert numbers(threads.taken, 1) == {2}

    threads.finish(2)
    assert queue.wait_idle(DEADLINE)

    queue.put([delivery(3), delivery(4)])
    assert numbers(threads.taken, 2) == {3, 4}

    threads.end()


def test_every_delivery_is_taken_exactly_once() -> None:
    queue, taken = WorkQueue(), SimpleQueue[int]()

    def run() -> None:
        while (work := queue.take()) is not None:
            taken.put(work.tag)
            queue.done(work)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()

    sizes = [1, 3, 8, 40] * 250
    for index, size in enumerate(sizes):
        queue.put([delivery(sum(sizes[:index]) + number) for number in range(size)])

    assert queue.wait_idle(DEADLINE)
    assert {taken.get_nowait() for _ in range(sum(sizes))} == set(range(sum(sizes)))

    queue.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def test_closed_work_queue_gives_out_no_delivery() -> None:
    queue = WorkQueue()
    queue.put([delivery(0), delivery(1)])

    queue.close()

    assert queue.take() is None
    assert queue.open_count == 0


# --- limits ---


def test_threads_held_back_by_a_limit_serve_other_queues() -> None:
    """They take the limited queue again as soon as it is released."""
    queue = WorkQueue(FairQueue({"slow": 1}))
    threads = TakingThreads(queue, 3)

    slow = [delivery(number, "slow") for number in range(3)]
    queue.put([*slow, delivery(3), delivery(4)])
    assert numbers(threads.taken, 3) == {0, 3, 4}  # no thread idles, and none has a second slow one

    threads.finish(3)
    queue.put([delivery(5)])
    assert numbers(threads.taken, 1) == {5}  # while a slow one would have been next

    queue.release(slow[0])  # by a thread that takes nothing itself
    assert numbers(threads.taken, 1) == {1}

    queue.release(slow[1])
    assert numbers(threads.taken, 1) == {2}

    threads.end()


def test_every_delivery_of_limited_queues_is_taken_exactly_once() -> None:
    """No queue has more deliveries in hand than its limit."""
    limits = {"a": 1, "b": 2}
    queue, taken = WorkQueue(FairQueue(limits)), SimpleQueue[int]()
    in_hand, most = Counter[str](), Counter[str]()
    lock = threading.Lock()

    def run() -> None:
        while (work := queue.take()) is not None:
            with lock:
                in_hand[work.queue] += 1
                most[work.queue] = max(most[work.queue], in_hand[work.queue])
            taken.put(work.tag)
            with lock:
                in_hand[work.queue] -= 1
            if work.queue in limits:
                queue.release(work)
            queue.done(work)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()

    for number in range(0, 6000, 3):
        queue.put([delivery(number, "a"), delivery(number + 1, "b"), delivery(number + 2, "c")])

    assert queue.wait_idle(DEADLINE)
    assert {taken.get_nowait() for _ in range(6000)} == set(range(6000))
    assert most["a"] == 1
    assert most["b"] <= 2

    queue.close()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()
