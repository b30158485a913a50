"""A worker and a publisher inside a FastAPI service, where they live as long as the application does.

Runs with no broker at all; ``--url amqp://user:password@host/`` makes it RabbitMQ. Needs ``fastapi`` and ``uvicorn``.

    python examples/fastapi_service.py --port 8000
    curl localhost:8000/orders --json '{"item": "lamp", "count": 2}'
    curl localhost:8000/health
"""

from __future__ import annotations

import argparse
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, PositiveInt

from taskroute import (
    BrokerUnavailableError,
    EventSpec,
    ExchangeSpec,
    HandlerRegistry,
    Health,
    Publisher,
    QueueSpec,
    Resource,
    RunningService,
    Service,
    Topology,
    Worker,
)


class Order(BaseModel):
    """What a customer wants."""

    item: str
    count: PositiveInt


shop = ExchangeSpec(name="shop")
placed = EventSpec(pattern="order.{number}.placed", exchange=shop, body=Order)
shipped = EventSpec(pattern="order.{number}.shipped", exchange=shop, body=Order)
orders = QueueSpec(name="orders", bindings=[placed])
topology = Topology(exchanges=[shop], queues=[orders], events=[placed])


registry = HandlerRegistry()


@dataclass
class States:
    """What became of each order. In a real service a table: handlers and endpoints run in different threads."""

    by_number: dict[str, str] = field(default_factory=dict)


@registry.handler(placed, queue=orders)
async def ship(order: Order, number: str, publisher: Publisher, states: Annotated[States, Resource()]) -> None:
    """What the service does in the background."""
    states.by_number[number] = "shipped"
    # Other services may bind a queue to it; that none does is no error.
    await publisher.publish_async(shipped(order, number=number), mandatory=False)


async def current_service(request: Request) -> RunningService:
    """The service that the application has opened."""
    running: RunningService = request.state.running
    return running


async def current_publisher(running: Annotated[RunningService, Depends(current_service)]) -> Publisher:
    """Its publisher."""
    return running.publisher


async def current_worker(running: Annotated[RunningService, Depends(current_service)]) -> Worker:
    """Its worker."""
    return running.worker


def make_app(url: str) -> FastAPI:
    """Return the application; it connects when it starts."""
    states = States()
    service = Service(topology, registry, url=url, lifespan=lambda: nullcontext(states))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        # A broker that is away for 30 seconds ends the application.
        async with service.running() as running:
            yield {"running": running}

    app = FastAPI(lifespan=lifespan)

    @app.post("/orders", status_code=202)
    async def place(order: Order, publisher: Annotated[Publisher, Depends(current_publisher)]) -> dict[str, str]:
        number = uuid.uuid4().hex
        await publisher.publish_async(placed(order, number=number))  # confirmed, or an error
        states.by_number.setdefault(number, "placed")
        return {"number": number}

    @app.get("/orders/{number}")
    async def look_up(number: str) -> dict[str, str]:
        if number not in states.by_number:
            raise HTTPException(404, "no such order")
        return {"number": number, "state": states.by_number[number]}

    @app.get("/health")
    async def health(response: Response, worker: Annotated[Worker, Depends(current_worker)]) -> Health:
        health = worker.health()
        response.status_code = 200 if health.ready else 503
        return health

    @app.exception_handler(BrokerUnavailableError)
    async def unavailable(request: Request, error: BrokerUnavailableError) -> JSONResponse:
        """Nothing was written, so the client can safely repeat its request."""
        return JSONResponse({"detail": "the broker is away, try again"}, 503, {"retry-after": "5"})

    return app


def main() -> None:
    """Serve until a signal comes; uvicorn then ends the application, which stops the worker."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", default="memory://")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 for a free one")
    arguments = parser.parse_args()
    uvicorn.run(make_app(arguments.url), host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
