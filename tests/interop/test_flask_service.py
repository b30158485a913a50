"""examples/flask_service.py under gunicorn: each process opens a connection of its own, after the fork."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from examples import flask_service as example
from tests.kit import rabbitmq as server
from tests.kit.waiting import DEADLINE, PROCESS_DEADLINE

from taskroute.testing import Harness

ROOT = Path(__file__).parents[2]
LAMPS = {"item": "lamp", "count": 2}
PROCESSES = 2


@contextmanager
def gunicorn(url: str) -> Iterator[str]:
    """Serve the example with several processes; give its address. The application is loaded before the fork."""
    options = ["--preload", f"--workers={PROCESSES}", "--bind=127.0.0.1:0", "--no-control-socket"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "examples.flask_service:make_app()"],
        cwd=ROOT,
        env={**os.environ, "TASKROUTE_URL": url},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"Listening at: (http://\S+)", line):
                yield found[1]
                break
        process.send_signal(signal.SIGTERM)
        lines.append(process.communicate(timeout=PROCESS_DEADLINE)[1])
    finally:
        process.kill()
        process.communicate()
    text = "".join(lines)
    assert process.returncode == 0, text
    assert "Traceback" not in text, text


def connections(node: server.Node) -> list[str]:
    """The names of the connections of publishers."""
    listed = node.ctl("-q", "list_connections", "client_properties")
    return re.findall(r'connection_name","?(taskroute-publisher)', listed)


def test_each_process_of_gunicorn_has_a_connection_of_its_own(rabbitmq: server.Node, rabbitmq_url: str) -> None:
    processes: set[int] = set()

    with gunicorn(rabbitmq_url) as address, httpx.Client(base_url=address, timeout=DEADLINE, trust_env=False) as client:
        while len(processes) < PROCESSES:
            answer = client.post("/orders", json=LAMPS, headers={"connection": "close"})
            assert answer.status_code == 202, answer.text
            processes.add(answer.json()["process"])
        assert len(connections(rabbitmq)) == PROCESSES


def test_order_is_packed_by_the_worker() -> None:
    with Harness(example.service) as harness:
        harness.publish(example.placed(example.Order(item="lamp", count=2), number="7"))
        (packed,) = harness.handled(example.pack)

    assert packed.arguments["number"] == "7"


def test_invalid_order_and_absent_broker_are_answers() -> None:
    away = example.service.replace(url="amqp://guest:guest@127.0.0.1:1/", publisher={"timeout": 0.1})
    client = example.make_app(away).test_client()

    assert client.post("/orders", json={"item": "lamp", "count": 0}).status_code == 422
    assert client.post("/orders", json=LAMPS).status_code == 503
