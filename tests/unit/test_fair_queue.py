"""FairQueue: turns, limits and permits, against a model that looks at every queue."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskroute.handling.fair_queue import FairQueue
from taskroute.message.delivery import Delivery

QUEUES = "abcd"


def delivery(queue: str, number: int = 0) -> Delivery:
    return Delivery(queue=queue, exchange="", routing_key="k", body=b"", properties={}, tag=number)


class FairQueueAgainstModel(RuleBasedStateMachine):
    """A model of lists and counts that looks at all queues for every turn."""

    @initialize(limits=st.dictionaries(st.sampled_from(QUEUES), st.none() | st.integers(1, 3)))
    def begin(self, limits: dict[str, int | None]) -> None:
        self.limits = limits
        self.fair_queue = FairQueue(limits)
        self.waiting: dict[str, list[Delivery]] = {queue: [] for queue in QUEUES}
        self.in_hand: list[Delivery] = []
        self.permits: dict[str, int] = {}
        self.permitted: set[Delivery] = set()  # taken by these permits
        self.held: set[str] = set()
        self.passed_over: dict[str, Counter[str]] = {queue: Counter() for queue in QUEUES}

    def may_be_taken(self, queue: str) -> bool:
        limit = self.limits.get(queue)
        has_room = limit is None or sum(taken.queue == queue for taken in self.in_hand) < limit
        return queue not in self.held and bool(self.waiting[queue]) and has_room and self.permits.get(queue, 1) > 0

    @rule(queues=st.lists(st.sampled_from(QUEUES), max_size=6))
    def put(self, queues: list[str]) -> None:
        batch = [delivery(queue) for queue in queues]
        self.fair_queue.put(batch)
        for each in batch:
            self.waiting[each.queue].append(each)

    @precondition(lambda self: any(self.may_be_taken(queue) for queue in QUEUES))
    @rule()
    def take(self) -> None:
        before = [queue for queue in QUEUES if self.may_be_taken(queue)]
        taken = self.fair_queue.take()
        assert taken.queue in before
        assert taken is self.waiting[taken.queue].pop(0)
        if taken.queue in self.limits:
            self.in_hand.append(taken)
        if taken.queue in self.permits:
            self.permits[taken.queue] -= 1
            self.permitted.add(taken)
        self.passed_over[taken.queue].clear()
        for queue in before:
            if queue != taken.queue:
                self.passed_over[queue][taken.queue] += 1
                assert self.passed_over[queue][taken.queue] == 1, "one queue had two turns while another one waited"

    @precondition(lambda self: self.in_hand)
    @rule()
    def put_back(self) -> None:
        """The last one that was taken, as when a thread was interrupted over it."""
        last = self.in_hand.pop()
        self.fair_queue.put_back(last)
        self.waiting[last.queue].insert(0, last)
        if last in self.permitted:
            self.permits[last.queue] += 1

    @precondition(lambda self: self.in_hand)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self.fair_queue.release(self.in_hand.pop(data.draw(st.integers(0, len(self.in_hand) - 1))))

    @precondition(lambda self: self.limits)
    @rule(data=st.data(), count=st.none() | st.integers(0, 2))
    def permit(self, data: Any, count: int | None) -> None:
        queue = data.draw(st.sampled_from(sorted(self.limits)))
        self.fair_queue.permit(queue, count)
        self.permitted = {each for each in self.permitted if each.queue != queue}
        if count is None:
            self.permits.pop(queue, None)
        else:
            self.permits[queue] = count

    @rule(queue=st.sampled_from(QUEUES))
    def hold(self, queue: str) -> None:
        self.fair_queue.hold(queue)
        self.held.add(queue)

    @rule(queue=st.sampled_from(QUEUES))
    def let_go(self, queue: str) -> None:
        self.fair_queue.let_go(queue)
        self.held.discard(queue)

    @rule(queue=st.sampled_from(QUEUES), keep=st.integers(0, 3))
    def withdraw(self, queue: str, keep: int) -> None:
        """The last ones are taken away."""
        assert self.fair_queue.withdraw(queue, keep) == self.waiting[queue][keep:]
        del self.waiting[queue][keep:]

    @rule(queue=st.sampled_from((None, *QUEUES)))
    def clear(self, queue: str | None) -> None:
        dropped = self.fair_queue.clear(queue)

        for name in QUEUES if queue is None else (queue,):
            assert [one for one in dropped if one.queue == name] == list(self.waiting[name])
            self.waiting[name].clear()
        assert {one.queue for one in dropped} <= ({*QUEUES} if queue is None else {queue})

    @invariant()
    def there_is_a_turn_if_and_only_if_something_may_be_taken(self) -> None:
        eligible = [queue for queue in QUEUES if self.may_be_taken(queue)]
        assert len(self.fair_queue.turns) == len(eligible)
        for queue in set(QUEUES).difference(eligible):
            self.passed_over[queue].clear()


TestFairQueueAgainstModel = FairQueueAgainstModel.TestCase


def test_queue_at_its_limit_is_passed_over_until_a_release() -> None:
    fair_queue = FairQueue({"slow": 1})
    fair_queue.put([delivery("slow", 1), delivery("slow", 2), delivery("fast", 3), delivery("fast", 4)])

    taken = [fair_queue.take() for _ in range(3)]
    assert [each.tag for each in taken] == [1, 3, 4]
    assert not fair_queue.turns

    fair_queue.release(taken[0])
    assert fair_queue.take().tag == 2


def test_taken_delivery_counts_for_the_limit_after_a_clear() -> None:
    fair_queue = FairQueue({"slow": 1})
    fair_queue.put([delivery("slow", 1), delivery("slow", 2)])
    taken = fair_queue.take()

    assert len(fair_queue.clear()) == 1

    fair_queue.put([delivery("slow", 3)])
    assert not fair_queue.turns

    fair_queue.release(taken)
    assert fair_queue.take().tag == 3


def test_paused_queue_gives_as_many_deliveries_as_permitted() -> None:
    fair_queue = FairQueue({"paused": None})
    fair_queue.put([delivery("paused", 1), delivery("other", 2), delivery("paused", 3)])

    fair_queue.permit("paused", 0)
    fair_queue.put([delivery("paused", 4)])
    assert fair_queue.take().tag == 2
    assert not fair_queue.turns

    fair_queue.permit("paused", 1)
    assert fair_queue.take().tag == 1
    assert not fair_queue.turns

    fair_queue.permit("paused", None)
    assert [fair_queue.take().tag for _ in range(2)] == [3, 4]
