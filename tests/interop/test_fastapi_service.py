"""examples/fastapi_service.py over real HTTP: what a client sees, and what another service sees on the broker."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import uvicorn
from examples import fastapi_service as example
from fastapi import FastAPI
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker

LAMPS = {"item": "lamp", "count": 2}


@contextmanager
def serving(app: FastAPI) -> Iterator[httpx.Client]:
    """Serve an application on a free port, in a thread; gives a client of it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # a client that connects before the server has started waits
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            with httpx.Client(
                base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=DEADLINE, trust_env=False
            ) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(DEADLINE)
            assert not thread.is_alive()


@contextmanager
def mail_service(url: str) -> Iterator[Calls]:
    """Run another service, which consumes the event `shipped`; give the calls of its handler."""
    mail = QueueSpec(name="mail", bindings=[example.shipped])
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler(example.shipped, queue=mail)
    def write(order: example.Order, number: str) -> None:
        seen((number, order))

    with Worker(url, Topology(exchanges=[example.shop], queues=[mail]), registry):
        yield seen


def providing(thing: object) -> Callable[[], object]:
    return lambda: thing


def test_order_is_handled_and_its_event_reaches_another_service(broker_url: str) -> None:
    with mail_service(broker_url) as seen, serving(example.make_app(broker_url)) as client:
        placed = client.post("/orders", json=LAMPS)
        assert placed.status_code == 202
        number = placed.json()["number"]
        assert seen.wait() == [(number, example.Order(item="lamp", count=2))]

        assert client.get(f"/orders/{number}").json() == {"number": number, "state": "shipped"}
        assert client.get("/orders/none").status_code == 404
        assert client.post("/orders", json={"item": "lamp", "count": 0}).status_code == 422


def test_health_endpoint_has_the_health_of_the_worker(broker_url: str) -> None:
    app = example.make_app(broker_url)

    with serving(app) as client:
        healthy = client.get("/health")
        assert healthy.status_code == 200
        health = healthy.json()
        assert health.pop("broker")["product"] == "RabbitMQ"
        assert health == {
            "live": True,
            "ready": True,
            "reasons": [],
            "warnings": [],
            "connected": True,
            "consuming": ["orders"],
            "paused": [],
            "stuck": [],
            "last_activity": None,
        }

        idle = Worker(
            broker_url,
            example.topology,
            example.registry,
            resources=example.States(),
            publisher=Publisher(broker_url, example.topology),
        )
        app.dependency_overrides[example.current_worker] = providing(idle)
        unhealthy = client.get("/health")

    assert unhealthy.status_code == 503
    assert unhealthy.json()["reasons"] == ["not started"]


def test_order_without_a_broker_is_answered_with_503(taskroute_url: str) -> None:
    app = example.make_app(taskroute_url)
    nowhere = Publisher("amqp://guest:guest@127.0.0.1:1/", example.topology, timeout=0.1)

    with closing(nowhere), serving(app) as client:
        app.dependency_overrides[example.current_publisher] = providing(nowhere)
        answer = client.post("/orders", json=LAMPS)

    assert answer.status_code == 503
    assert answer.json() == {"detail": "the broker is away, try again"}


def test_program_serves_until_a_signal_shuts_it_down() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(Path(example.__file__)), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    output = ""

    try:
        with process.stderr as lines:
            for line in lines:
                output += line
                if found := re.search(r"running on (http://\S+)", line):
                    assert httpx.get(f"{found[1]}/health", timeout=DEADLINE, trust_env=False).json()["ready"] is True
                    process.send_signal(signal.SIGTERM)
    finally:
        process.kill()
        process.wait(DEADLINE)

    assert "Application shutdown complete" in output, output
