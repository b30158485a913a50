"""Deliverer: how fast letters are sent, and when a run ends, by a clock that the test moves."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, cast

import pytest
from tests.kit.dead import letter

from taskroute.broker.roles.submission import Receipt
from taskroute.errors import BrokerUnavailableError
from taskroute.message.delivery import Delivery
from taskroute.operate.dead_letters.delivering import Deliverer, Parcel, Tally
from taskroute.operate.dead_letters.letter import read_letter

START = 1000.0


class Prepared(NamedTuple):
    """A message that is to be sent."""

    queue: str
    future: Future[Receipt]


class Broker:
    """What letters are taken by and sent by. It confirms at once, and the clock moves by what is waited for alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        self.sent_at: list[float] = []
        self.acknowledged = 0
        self.lost_after = math.inf
        """Seconds after the start at which the connection is lost that they were taken by."""
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        if self.now - START > self.lost_after:
            raise BrokerUnavailableError("the connection was lost")

    def tick(self) -> None: ...

    def acknowledge(self, delivery: object) -> None:
        self.acknowledged += 1

    def prepare(self, queue: str, body: bytes, properties: Mapping[str, object], deadline: float) -> Prepared:
        return Prepared(queue, Future())

    def send(self, prepared: Prepared) -> None:
        self.sent_at.append(self.now - START)
        prepared.future.set_result(Receipt("", prepared.queue, "m"))


def deliver(broker: Broker, count: int, *, rate: float | None, seconds: float) -> Tally:
    """Deliver letters in a run of so many seconds."""
    tally = Tally(count, lambda done, of: None)
    deadline = START + seconds
    deliverer = Deliverer(cast("Any", broker), cast("Any", broker), tally, {}, deadline=deadline, rate=rate)
    found = read_letter("orders.dead", ("", "orders.dead"), letter(1), b"{}")
    taken = cast("Delivery", object())
    deliverer.deliver([Parcel(found, taken, "orders", found.properties) for _ in range(count)])
    return tally


@pytest.mark.parametrize(("rate", "at"), [(4, [0.0, 0.25, 0.5, 0.75]), (0.5, [0.0, 2.0, 4.0, 6.0])])
def test_rate_is_never_exceeded_not_even_at_the_start(
    monkeypatch: pytest.MonkeyPatch, rate: float, at: list[float]
) -> None:
    broker = Broker(monkeypatch)

    tally = deliver(broker, 4, rate=rate, seconds=60)

    assert (broker.sent_at, len(tally.done), broker.acknowledged) == (at, 4, 4)


def test_run_without_a_rate_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch)

    deliver(broker, 4, rate=None, seconds=60)

    assert broker.sent_at == [0.0] * 4


def test_run_ends_at_its_time_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch)

    tally = deliver(broker, 10, rate=1, seconds=2.5)

    assert (broker.sent_at, len(tally.done), len(tally.left)) == ([0.0, 1.0, 2.0], 3, 7)
    assert tally.problem == "the time of a run is over: run it again"
    assert {each.why for each in tally.left} == {tally.problem}


def test_run_ends_at_its_time_before_the_turn_of_a_letter_that_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch)

    tally = deliver(broker, 2, rate=0.001, seconds=60)

    assert (broker.now - START, len(tally.done), len(tally.left)) == (60, 1, 1)


def test_each_letter_is_told_once_when_the_connection_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(monkeypatch)
    broker.lost_after = 1.5

    tally = deliver(broker, 4, rate=1, seconds=60)

    assert (len(tally.done), [each.may_be_twice for each in tally.left]) == (1, [True, False, False])
    assert tally.problem == "the connection was lost"
