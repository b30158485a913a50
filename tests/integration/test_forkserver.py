"""Processes by the start method that is the default of Python 3.14: they import, and share nothing."""

from __future__ import annotations

import multiprocessing

from tests.kit.calls import Calls
from tests.kit.waiting import PROCESS_DEADLINE

from taskroute import ExchangeSpec, HandlerRegistry, Publisher, QueueSpec, Topology, Worker

shop = ExchangeSpec(name="shop")
orders = QueueSpec(name="orders", bindings=[shop.bind("order.#")])
topology = Topology(exchanges=[shop], queues=[orders])


def publish(url: str, topology: Topology, number: int) -> None:
    """Publish in the process that was started."""
    with Publisher(url, topology) as publisher:
        publisher.publish({"number": number}, "order.paid", exchange=shop)


def test_process_of_a_forkserver_publishes_beside_its_makers_worker(rabbitmq_url: str) -> None:
    seen = Calls()
    registry = HandlerRegistry()

    @registry.handler("order.paid", queue=orders)
    def paid(body: dict[str, int]) -> None:
        seen(body)

    with Worker(rabbitmq_url, topology, registry), Publisher(rabbitmq_url, topology) as publisher:
        process = multiprocessing.get_context("forkserver").Process(target=publish, args=(rabbitmq_url, topology, 1))
        process.start()
        process.join(PROCESS_DEADLINE)
        seen.wait(1)
        publisher.publish({"number": 2}, "order.paid", exchange=shop)

        assert process.exitcode == 0
        assert seen.wait(2) == [{"number": 1}, {"number": 2}]
