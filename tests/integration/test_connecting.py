"""Connecting that hangs: who waits for it comes back in time, is told what hangs, and leaves no thread behind.

Nothing but the caller's own timeout ends a step here: each may take an hour.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.kit import ports
from tests.kit.calls import Calls, logged
from tests.kit.inside import InsidePublisher, InsideWorker, callers_waiting_longer, counting_from
from tests.kit.running import registry_of, running
from tests.kit.specs import topology
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import BrokerUnavailableError, Publisher, Worker
from taskroute.broker import connection

HOUR = 3600.0


@pytest.fixture(autouse=True)
def steps_take_an_hour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", HOUR)
    with callers_waiting_longer(HOUR):
        yield


@pytest.fixture
def silent_port() -> Iterator[int]:
    with ports.silent_port() as port:
        yield port


@pytest.fixture(params=["amqp", "amqps", "full", "function"])
def hanging(request: pytest.FixtureRequest, silent_port: int) -> Iterator[tuple[Any, str]]:
    """A URL with which connecting hangs, and what is said of it."""
    url, released = f"amqp://u:p@127.0.0.1:{silent_port}/", threading.Event()

    def ask() -> str:
        released.wait()
        return url

    if request.param == "amqp":
        yield url, rf"waiting for the broker's connection.start, at amqp://u@127.0.0.1:{silent_port}/"
    elif request.param == "amqps":
        yield url.replace("amqp", "amqps"), "waiting for the TLS handshake, at amqps://"
    elif request.param == "full":
        with ports.full_port() as port:
            yield f"amqp://u:p@127.0.0.1:{port}/", f"waiting for 127.0.0.1:{port} to take a connection"
    else:
        yield ask, "waiting for the function that was given as url"
    released.set()


def make_worker(url: Any) -> Worker:
    return Worker(url, topology, registry_of(lambda body: None), shutdown_timeout=HOUR)


def test_worker_start_ends_at_its_timeout_and_says_what_hangs(hanging: tuple[Any, str]) -> None:
    url, step = hanging
    worker = make_worker(url)

    with counting_from(step):
        error = in_thread(lambda: worker.start(timeout=0.1)).exception(DEADLINE)

    assert isinstance(error, BrokerUnavailableError)
    assert re.search(step, str(error))
    assert not worker.health().live


def test_publisher_start_ends_at_its_timeout_and_says_what_hangs(hanging: tuple[Any, str]) -> None:
    url, step = hanging
    publisher = Publisher(url, topology)

    with counting_from(step):
        error = in_thread(lambda: publisher.start(timeout=0.1)).exception(DEADLINE)

    assert isinstance(error, BrokerUnavailableError)
    assert re.search(step, str(error))


@pytest.mark.parametrize("is_async", [False, True])
def test_publish_ends_at_its_timeout_and_says_what_hangs(hanging: tuple[Any, str], is_async: bool) -> None:
    url, step = hanging
    publisher = Publisher(url, topology, timeout=0.1)
    waiting = publisher.submit({}, "video", exchange="", timeout=HOUR)
    until(lambda: re.search(step, str(InsidePublisher(publisher).session.unavailable())))

    def publish() -> None:
        if is_async:
            asyncio.run(publisher.publish_async({}, "video", exchange=""))
        else:
            publisher.publish({}, "video", exchange="")

    error = in_thread(publish).exception(DEADLINE)

    assert isinstance(error, BrokerUnavailableError)
    assert re.search(step, str(error))
    assert not waiting.done()
    with pytest.raises(BrokerUnavailableError):
        publisher.close(0)


def test_stop_ends_a_worker_whose_connecting_hangs(hanging: tuple[Any, str]) -> None:
    """Its thread is gone, or counts as ended where nobody can cut what it waits for."""
    url, step = hanging
    worker = make_worker(url)
    runner = in_thread(worker.run)
    session = InsideWorker(worker).session
    until(lambda: re.search(step, str(session.unavailable())))

    worker.stop()

    assert runner.exception(DEADLINE) is None
    assert session.join(DEADLINE)
    assert session.is_alive == callable(url)


def test_url_of_a_function_connects_worker_and_publisher(taskroute_url: str) -> None:
    """Each session asks for itself, before each attempt."""
    asked, handled = Calls(), Calls()

    def url() -> str:
        asked(threading.current_thread().name)
        if len(asked.calls) == 1:
            raise PermissionError("s3cret")
        return taskroute_url

    def handle(body: Any) -> None:
        handled(body)
        if len(handled.calls) == 1:
            raise ValueError("a test")

    with (
        logged("connect_failed session=taskroute-worker ") as failed,
        running(url, topology, registry_of(handle, "#")) as (worker, publisher),
    ):
        publisher.publish({"id": 1}, "video", exchange="")
        handled.wait(2)
        assert worker.wait_idle(DEADLINE)

    assert asked.calls[:2] == ["taskroute-worker", "taskroute-worker"]
    assert set(asked.calls[2:]) == {"taskroute-publisher", "taskroute-worker-hand-over"}
    (line,) = failed.calls
    assert "the function that was given as url raised PermissionError" in line
    assert "s3cret" not in line
