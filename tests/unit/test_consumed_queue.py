"""ConsumedQueue: whether a queue is consumed, and with which prefetch, against a broker that fills every prefetch."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskroute import QueueSpec
from taskroute.broker.roles.consumed_queue import FIRST_PAUSE, LONGEST_PAUSE, ConsumedQueue, Wanted
from taskroute.errors import BrokerError

quorum = QueueSpec(name="jobs")
classic = QueueSpec(name="jobs", type="classic")
admissions = st.sampled_from(("all", "one", "none"))


class Consuming(RuleBasedStateMachine):
    """A queue, and the consumers that follow from its state: each of them may hold as many messages as its prefetch."""

    def __init__(self) -> None:
        super().__init__()
        self.holding: dict[str, int] = {}  # unsettled messages by consumer, cancelled consumers included
        self.numbers = iter(range(10_000))
        self.allowed = 0

    @initialize(spec=st.sampled_from((quorum, classic)), prefetch=st.integers(1, 8), admission=admissions)
    def open(self, spec: QueueSpec, prefetch: int, admission: Wanted) -> None:
        self.queue = ConsumedQueue(spec, prefetch)
        self.admission = admission
        self.queue.start(admission)
        self.follow()

    def follow(self) -> None:
        if not self.queue.is_wanted:
            self.queue.tag = None
        elif self.queue.tag is None:
            self.consume()

    def consume(self) -> None:
        self.queue.tag = f"consumer {next(self.numbers)}"
        self.allowed = self.queue.next_prefetch
        self.holding[self.queue.tag] = 0

    @rule(admission=admissions)
    def admit(self, admission: Wanted) -> None:
        self.admission = admission
        self.queue.admit(admission)
        self.follow()

    @precondition(lambda self: self.queue.tag is not None)
    @rule(redelivered=st.booleans())
    def deliver(self, redelivered: bool) -> None:
        tag = self.queue.tag
        assert tag is not None
        if self.holding[tag] < self.allowed:
            self.holding[tag] += 1
            if self.queue.on_delivery(redelivered) and self.queue.state == "wide":
                self.consume()

    @rule()
    def lose(self) -> None:
        """The broker ends the consumer; what it holds can still be settled."""
        self.queue.lose(BrokerError(), 0)
        self.queue.tag = None
        assert self.queue.state == "missing"

    @precondition(lambda self: self.queue.state == "missing")
    @rule()
    def find(self) -> None:
        self.queue.find(0)
        self.queue.admit(self.admission)
        self.follow()

    @precondition(lambda self: any(self.holding.values()))
    @rule(data=st.data())
    def settle(self, data: Any) -> None:
        tag = data.draw(st.sampled_from([tag for tag, count in self.holding.items() if count]))
        self.holding[tag] -= 1
        self.queue.unsettled -= 1
        if self.queue.state == "full" and self.queue.has_room:
            self.queue.admit(self.admission)
            self.follow()

    @invariant()
    def counts_what_consumers_hold(self) -> None:
        assert self.queue.unsettled == sum(self.holding.values())

    @invariant()
    def takes_one_message_more_than_the_prefetch_at_most(self) -> None:
        assert self.queue.unsettled <= self.queue.prefetch + 1

    @invariant()
    def has_a_consumer_unless_it_is_missing_left_or_full(self) -> None:
        assert (self.queue.tag is None) == (self.queue.state in ("missing", "left", "full"))
        if self.queue.state == "full":
            assert not self.queue.has_room
        if self.admission == "none":
            assert self.queue.state in ("missing", "left")


TestConsuming = Consuming.TestCase
TestConsuming.settings = settings(max_examples=300, stateful_step_count=40)


@given(st.integers(0, 5))
def test_fresh_delivery_widens_the_prefetch_of_a_quorum_queue(redelivered: int) -> None:
    """A redelivered message may kill its process, so it is consumed with a prefetch of one."""
    queue = ConsumedQueue(quorum, 10)
    queue.start("all")
    for _ in range(redelivered):
        queue.on_delivery(True)
        queue.unsettled -= 1

    assert (queue.state, queue.next_prefetch) == ("careful", 1)

    assert queue.on_delivery(False)
    assert (queue.state, queue.next_prefetch) == ("wide", 10)


def test_classic_queue_starts_with_the_whole_prefetch() -> None:
    queue = ConsumedQueue(classic, 10)
    queue.start("all")

    assert (queue.state, queue.next_prefetch) == ("wide", 10)


@pytest.mark.parametrize("spec", [quorum, classic])
def test_queue_resumes_with_a_prefetch_of_one(spec: QueueSpec) -> None:
    queue = ConsumedQueue(spec, 10)

    for admission in ("none", "one", "all"):
        queue.admit(admission)

    assert (queue.state, queue.next_prefetch) == ("careful", 1)


def test_deliveries_unsettled_before_a_pause_use_the_prefetch() -> None:
    queue = ConsumedQueue(classic, 4)
    queue.start("all")
    for _ in range(3):
        queue.on_delivery(False)

    queue.admit("none")
    queue.admit("all")

    assert queue.state == "careful"
    assert not queue.on_delivery(False)  # most of the prefetch is taken

    queue.unsettled -= 2
    assert queue.on_delivery(False)
    assert queue.next_prefetch == 2


@pytest.mark.parametrize(
    "spec",
    [
        QueueSpec(name="one", single_active_consumer=True),
        QueueSpec(name="own", exclusive=True),
        QueueSpec(name="gone", auto_delete=True),
        QueueSpec(name="old", type="classic", expires=60),
    ],
    ids=lambda spec: spec.name,
)
def test_queue_harmed_by_a_cancel_keeps_its_consumer(spec: QueueSpec) -> None:
    """Without its consumer it could be deleted, or lose its place as the single active consumer."""
    assert ConsumedQueue(spec, 1).is_kept
    assert not ConsumedQueue(quorum, 1).is_kept


def test_pause_of_a_queue_lost_again_and_again_grows_to_its_longest() -> None:
    queue, now, pauses = ConsumedQueue(classic, 4), 0.0, []
    queue.start("all")

    for _ in range(9):
        queue.lose(BrokerError(), now)
        pauses.append(queue.pause)
        now = queue.due
        queue.find(now)
        queue.admit("all")

    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE

    queue.lose(BrokerError(), now + LONGEST_PAUSE)
    assert queue.pause == FIRST_PAUSE


def test_single_active_queue_begins_carefully() -> None:
    queue = ConsumedQueue(QueueSpec(name="jobs", single_active_consumer=True), 10)
    queue.start("all")

    assert (queue.state, queue.next_prefetch, queue.prefetch_when_wide) == ("careful", 1, 10)
