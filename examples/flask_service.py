"""Web processes of Flask that publish, and a worker beside them: one service, wired once.

Each process opens a connection of its own with its first message, so it may be forked before: by gunicorn, for example.
Needs ``flask``; TASKROUTE_URL names the broker.

    gunicorn --workers 4 'examples.flask_service:make_app()'
    taskroute run examples.flask_service:service
"""

from __future__ import annotations

import atexit
import os
import threading
import uuid
from contextlib import ExitStack
from typing import Any

from flask import Flask, current_app, request
from pydantic import BaseModel, PositiveInt, ValidationError

from taskroute import (
    BrokerUnavailableError,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    Service,
    Topology,
)


class Order(BaseModel):
    """What a customer wants."""

    item: str
    count: PositiveInt


shop = ExchangeSpec(name="shop")
placed = EventSpec(pattern="order.{number}.placed", exchange=shop, body=Order)
orders = QueueSpec(name="orders", bindings=[placed])
topology = Topology(exchanges=[shop], queues=[orders], events=[placed])
registry = HandlerRegistry()


@registry.handler(placed, queue=orders)
def pack(order: Order, number: str) -> None:
    """What the worker does."""
    print(f"order {number}: pack {order.count} of {order.item}", flush=True)


service = Service(topology, registry)


class Taskroute:
    """An extension of Flask: the publisher of this process, opened when it is first asked for.

    Args:
        service: says how.
        app: takes it.
    """

    def __init__(self, service: Service, app: Flask) -> None:
        self._service = service
        self._lock = threading.Lock()
        self._running = ExitStack()
        self._publisher: Publisher | None = None
        app.extensions["taskroute"] = self

    @property
    def publisher(self) -> Publisher:
        """The publisher. Any thread of the process may use it."""
        with self._lock:
            if self._publisher is None:
                self._publisher = self._running.enter_context(self._service.running(worker=False)).publisher
                atexit.register(self._running.close)
            return self._publisher


def publisher() -> Publisher:
    """The publisher of the current application."""
    extension: Taskroute = current_app.extensions["taskroute"]
    return extension.publisher


def make_app(service: Service = service) -> Flask:
    """Return the application. Nothing is opened yet."""
    app = Flask(__name__)
    Taskroute(service, app)

    @app.post("/orders")
    def place() -> tuple[dict[str, Any], int]:
        number = uuid.uuid4().hex
        order = Order.model_validate(request.get_json())
        publisher().publish(placed(order, number=number))  # confirmed, or an error
        return {"number": number, "process": os.getpid()}, 202

    @app.errorhandler(ValidationError)
    def invalid(error: ValidationError) -> tuple[dict[str, Any], int]:
        return {"errors": error.errors(include_url=False, include_context=False)}, 422

    @app.errorhandler(BrokerUnavailableError)
    def unavailable(error: BrokerUnavailableError) -> tuple[dict[str, Any], int, dict[str, str]]:
        """Nothing was written, so the client can safely repeat its request."""
        return {"error": "the broker is away, try again"}, 503, {"retry-after": "5"}

    return app
