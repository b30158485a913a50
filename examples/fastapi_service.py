"""A worker and a publisher inside a FastAPI service, where they live as long as the application does.

Runs with no broker at all; ``--url amqp://user:password@host/`` makes it RabbitMQ. Needs ``fastapi`` and ``uvicorn``.

    python examples/fastapi_service.py --port 8000
    curl localhost:8000/orders --json '{"item": "lamp", "count": 2}'
    curl localhost:8000/health
"""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


def handlers(publisher: Publisher, states: dict[str, str]) -> HandlerRegistry:
    """What the service does in the background."""
    registry = HandlerRegistry()

    @registry.handler(placed, queue=orders)
    async def ship(order: Order, number: str) -> None:
        states[number] = "shipped"
        # Other services may bind a queue to it; that none does is no error.
        await publisher.publish_async(shipped(order, number=number), mandatory=False)

    return registry


async def current_publisher(request: Request) -> Publisher:
    """The publisher that the application has opened."""
    publisher: Publisher = request.state.publisher
    return publisher


async def current_worker(request: Request) -> Worker:
    """The worker that the application has started."""
    worker: Worker = request.state.worker
    return worker


def make_app(url: str) -> FastAPI:
    """Return the application; it connects when it starts."""
    states: dict[str, str] = {}  # in a real service a table; handlers and endpoints run in different threads

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        publisher = Publisher(url, topology)
        worker = Worker(url, topology, handlers(publisher, states))
        try:
            # In a thread, as they wait for the broker. One that is away for 30 seconds ends the application.
            await asyncio.to_thread(publisher.start)
            await asyncio.to_thread(worker.start)
            yield {"publisher": publisher, "worker": worker}
        finally:
            await asyncio.to_thread(worker.stop)  # first: what its handlers have begun may still publish
            await asyncio.to_thread(publisher.close)

    app = FastAPI(lifespan=lifespan)

    @app.post("/orders", status_code=202)
    async def place(order: Order, publisher: Annotated[Publisher, Depends(current_publisher)]) -> dict[str, str]:
        number = uuid.uuid4().hex
        await publisher.publish_async(placed(order, number=number))  # confirmed, or an error
        states.setdefault(number, "placed")
        return {"number": number}

    @app.get("/orders/{number}")
    async def look_up(number: str) -> dict[str, str]:
        if number not in states:
            raise HTTPException(404, "no such order")
        return {"number": number, "state": states[number]}

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
