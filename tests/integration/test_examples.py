"""The examples, run as a user runs them, and the example of the contract as it is printed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import IO

import pytest
from tests.kit import rabbitmq as server
from tests.kit.peer import looking
from tests.kit.ports import kept_port
from tests.kit.waiting import PROCESS_DEADLINE

from taskroute import ExchangeSpec, Publisher, QueueSpec, Topology

EXAMPLES = Path(__file__).parents[2] / "examples"

CONTRACT = """
from pydantic import BaseModel
from taskroute import ExchangeSpec, HandlerRegistry, Message, Publisher, QueueSpec, Topology, Worker

class Video(BaseModel):
    id: str
    file: str

media = ExchangeSpec(name="media_exchange", type="topic")
video = QueueSpec(name="video_queue", bindings=[media.bind("video.#")])
audit = QueueSpec(name="audit_queue", bindings=[media.bind("#")])
topology = Topology(exchanges=[media], queues=[video, audit])

registry = HandlerRegistry()

@registry.handler("video.{action}", queue=video)
def transcode(task: Video, action: str) -> None: ...

@registry.handler("#", queue=audit)
def log(message: Message) -> None: ...

with Worker("memory://", topology, registry, threads=4) as worker, Publisher("memory://", topology) as publisher:
    publisher.publish(Video(id="1", file="movie.mp4"), "video.upload", exchange=media)
    worker.wait_idle(timeout=10)
"""


def run(*arguments: str, timeout: float = PROCESS_DEADLINE) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_contract_example_runs_as_printed() -> None:
    out = run("-c", CONTRACT + "print(sorted(worker.stats().handled.items()))")

    assert out == "[(('audit_queue', '__main__.log'), 1), (('video_queue', '__main__.transcode'), 1)]\n"


def test_media_pipeline_example_adds_up(broker_url: str) -> None:
    """Its counts agree with each other, and it names the messages that it dead-lettered."""
    out = run(str(EXAMPLES / "media_pipeline.py"), "--url", broker_url)

    assert "published and confirmed: 200 messages with 5 routing keys" in out
    assert len(re.findall(r"sum of \d+ routed +agrees", out)) == 2
    assert "DIFFERS" not in out
    assert "32 with key 'video.upload': invalid_body (file: missing)" in out


def test_broker_watch_example_prints_a_created_queue(rabbitmq: server.Node) -> None:
    watching = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "broker_watch.py"), "--url", rabbitmq.url(), "--timeout", "30"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert watching.stdout is not None
    lines: list[str] = []
    found = threading.Event()

    def read() -> None:
        assert watching.stdout is not None
        for line in watching.stdout:
            lines.append(line)
            if line.startswith("watching"):
                with looking(rabbitmq.url()) as peer:
                    peer.queue("seen", durable=False, exclusive=True)
            if "seen" in line:
                found.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert found.wait(PROCESS_DEADLINE), lines
    finally:
        watching.send_signal(signal.SIGINT)
        reader.join(PROCESS_DEADLINE)
        watching.wait(PROCESS_DEADLINE)
        watching.stdout.close()

    assert any(re.match(r"queue +created +seen", line) for line in lines), lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_a_running_worker(number: signal.Signals, broker_url: str) -> None:
    """The handler that runs finishes, Worker.run returns, and the process exits with 0."""
    program = f"""
import threading
from taskroute import HandlerRegistry, Publisher, QueueSpec, Topology, Worker
jobs = QueueSpec(name="jobs")
topology = Topology(queues=[jobs])
registry = HandlerRegistry()
release = threading.Event()
@registry.handler("jobs", queue=jobs)
def handle(body: dict) -> None:
    print("begun", flush=True)
    assert release.wait(30)
    print("finished", flush=True)
with Publisher({broker_url!r}, topology) as publisher:
    publisher.publish({{}}, "jobs", exchange="")
worker = Worker({broker_url!r}, topology, registry)
threading.Thread(target=lambda: (input(), release.set()), daemon=True).start()
worker.run()
print("stopped", dict(worker.stats().handled), flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"

        process.send_signal(number)
        rest, _ = process.communicate("go on\n", timeout=PROCESS_DEADLINE)
    finally:
        process.kill()
        process.communicate()

    assert rest == "finished\nstopped {('jobs', '__main__.handle'): 1}\n"
    assert process.returncode == 0


def test_service_example_answers_probes_and_ends_by_a_signal(rabbitmq: server.Node) -> None:
    """Its broker user may not declare anything: the service verifies the topology of another one."""
    with rabbitmq.vhost_name() as vhost:
        rabbitmq.ctl("add_user", f"shop-{vhost}", "secret")
        rabbitmq.ctl("set_permissions", "--vhost", vhost, f"shop-{vhost}", "^$", r"^(shop|amq\.default)$", "^orders$")
        owner = rabbitmq.url(vhost)
        shop = ExchangeSpec(name="shop")
        declared = Topology(exchanges=[shop], queues=[QueueSpec(name="orders", bindings=[shop.bind("order.#")])])
        with kept_port() as port, Publisher(owner, declared) as publisher:
            service = subprocess.Popen(
                [sys.executable, "-W", "error", str(EXAMPLES / "service.py")],
                stderr=subprocess.PIPE,
                text=True,
                env={
                    **os.environ,
                    "AMQP_URL": rabbitmq.url(vhost, user=f"shop-{vhost}:secret"),
                    "DECLARE": "verify",
                    "PROBE_PORT": str(port),
                },
            )
            try:
                assert service.stderr is not None
                wait_for("consuming queue=orders", service.stderr)
                publisher.publish({"goods": "tea"}, "order.7.paid", exchange=shop)
                publisher.publish("no order", "order.8.paid", exchange=shop)  # must be dead-lettered to orders.dead
                wait_for("order 7: pack tea", service.stderr)
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=PROCESS_DEADLINE) as answer:
                    assert json.load(answer)["ready"] is True
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/live", timeout=PROCESS_DEADLINE) as answer:
                    assert json.load(answer)["consuming"] == ["orders"]
                with looking(owner) as peer:
                    assert peer.receive("orders.dead", 1).bodies == [b"no order"]
            finally:
                service.terminate()
                _, rest = service.communicate(timeout=PROCESS_DEADLINE)

        assert service.returncode == 0, rest


def wait_for(text: str, stream: IO[str]) -> None:
    """Read lines until one contains a text."""
    lines: list[str] = []
    for line in stream:
        lines.append(line)
        if text in line:
            return
    pytest.fail(f"no {text!r} in {lines}")
