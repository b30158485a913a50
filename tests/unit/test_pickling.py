"""Arguments of a process that is started, as Python 3.14 does by default: specs can be sent, threads cannot."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from taskroute import EventSpec, ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, RetryPolicy, Topology, Worker


class Order(BaseModel):
    id: int


shop = ExchangeSpec(name="shop", alternate_exchange="others", arguments={"x-own": 1})
event = EventSpec(pattern="order.{action}", exchange=shop, body=Order)
orders = QueueSpec(name="orders", bindings=[event.bind()], expires=timedelta(days=1), retry=RetryPolicy(delays=(1,)))
topology = Topology(exchanges=[shop, ExchangeSpec(name="others")], queues=[orders], events=[event])
registry = HandlerRegistry()
registry.add(event, lambda body: None, queue=orders)


def test_specs_are_the_same_in_another_process() -> None:
    again = pickle.loads(pickle.dumps(topology))

    assert again == topology
    assert again.queues[0].arguments == {}
    with pytest.raises(TypeError):
        again.exchanges[0].arguments["more"] = 1
    assert again.events[0](Order(id=1), action="paid").encode() == event(Order(id=1), action="paid").encode()


@pytest.mark.parametrize(
    ("make", "way_out"),
    [
        (lambda: Worker("memory://", topology, registry), "a worker .*: make it there"),
        (lambda: Publisher("memory://", topology), "a publisher .*: make it there"),
        (lambda: registry, "a registry .*: let its module be imported there"),
    ],
)
def test_what_belongs_to_its_process_is_refused_with_the_way_out(make: Callable[[], Any], way_out: str) -> None:
    with pytest.raises(TypeError, match=way_out):
        pickle.dumps(make())
