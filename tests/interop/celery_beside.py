"""A process in which celery and taskroute work side by side: `python -m tests.interop.celery_beside URL`.

A celery task publishes an event; its handler sends a celery task, which ends the program. Prints the versions.
"""

from __future__ import annotations

import sys
from importlib.metadata import version
from queue import SimpleQueue

from celery import Celery
from celery.contrib.testing.worker import start_worker
from tests.interop.shop import Order, orders, shop, topology
from tests.kit.waiting import DEADLINE

from taskroute import HandlerRegistry, Publisher, Worker


def main(url: str) -> None:
    """Pay an order by a celery task, and deliver it by another one."""
    app = Celery("shop", broker=url, set_as_current=False)
    app.conf.update(task_ignore_result=True, worker_hijack_root_logger=False)
    delivered: SimpleQueue[int] = SimpleQueue()
    publisher = Publisher(url, topology)
    registry = HandlerRegistry()

    @app.task(name="shop.pay")
    def pay(number: int) -> None:
        publisher.publish(Order(id=number, customer="Ada"), "order.paid", exchange=shop)

    @app.task(name="shop.deliver")
    def deliver(number: int) -> None:
        delivered.put(number)

    @registry.handler("order.paid", queue=orders)
    def on_paid(order: Order) -> None:
        app.send_task("shop.deliver", [order.id])

    # Its event loop, in a thread, looks at its end only when something comes.
    celery = start_worker(app, perform_ping_check=False, use_eventloop=False)
    with publisher, Worker(url, topology, registry), celery:
        for number in range(3):
            app.send_task("shop.pay", [number])
        assert sorted(delivered.get(timeout=DEADLINE) for _ in range(3)) == [0, 1, 2]
    print(*(f"{name} {version(name)}" for name in ("celery", "kombu", "amqp", "pydantic")), sep=", ")


if __name__ == "__main__":
    main(sys.argv[1])
