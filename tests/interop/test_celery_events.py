"""celery's event stream: the events of its workers and their tasks, consumed by a registry of patterns."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import kombu
import pytest
from celery import Celery
from celery.events.event import get_exchange
from pydantic import BaseModel
from tests.kit.calls import Calls
from tests.kit.waiting import DEADLINE

from taskroute import (
    ExchangeSpec,
    HandlerRegistry,
    Header,
    Message,
    QueueSpec,
    Routes,
    Topology,
    TopologyMismatchError,
    Worker,
)

ROOT = Path(__file__).parents[2]

celeryev = ExchangeSpec(name="celeryev", passive=True)
events = QueueSpec(name="events", exclusive=True, bindings=[celeryev.bind("task.*"), celeryev.bind("worker.*")])
topology = Topology(exchanges=[celeryev], queues=[events])


class Event(BaseModel):
    """The fields of every event. Its type decides which others it has."""

    type: str
    hostname: str
    timestamp: float


class TaskEvent(Event):
    """An event about a task."""

    uuid: str


class Monitor:
    """Keeps each event with its routing key. Handler threads add to it, the test's thread reads it."""

    def __init__(self) -> None:
        self._heard = Calls()

    def __call__(self, routing_key: str, *events: Event) -> None:
        for event in events:
            self._heard(routing_key, event)

    def wait_for(self, *types: str, uuid: str | None = None) -> dict[str, str]:
        """Wait for events of these types, of one task if it is given; the routing key of each."""

        def found(heard: Sequence[tuple[str, Event]]) -> dict[str, str]:
            return {event.type: key for key, event in heard if uuid is None or getattr(event, "uuid", None) == uuid}

        return found(self._heard.wait_until(lambda heard: found(heard).keys() >= set(types)))


def registry_recording(monitor: Monitor) -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("worker.{state}", queue=events)
    def worker(event: Event, state: str, hostname: Annotated[str, Header("hostname")]) -> None:
        assert (event.type, event.hostname) == (f"worker-{state}", hostname)
        monitor(f"worker.{state}", event)

    @registry.handler("task.{state}", queue=events)
    def task(event: TaskEvent, state: str) -> None:
        assert event.type == f"task-{state}"
        monitor(f"task.{state}", event)

    @registry.handler("task.multi", queue=events)
    def tasks(batch: list[TaskEvent], message: Message) -> None:
        monitor(message.routing_key, *batch)

    return registry


@contextmanager
def celery_worker(url: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A celery worker in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.interop.celery_tasks", *options],
        cwd=ROOT,
        env={**os.environ, "CELERY_BROKER_URL": url},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(DEADLINE)


@contextmanager
def celery_client(url: str) -> Iterator[Callable[..., str]]:
    """A celery client that sends tasks, and an event for each; gives a function that sends one and returns its id."""
    with kombu.Connection(url) as connection, Celery("client", broker=url, set_as_current=False) as app:
        app.conf.task_send_sent_event = True
        yield lambda name, *arguments: app.send_task(name, arguments, connection=connection).id


def declare_as_celery(url: str) -> None:
    with kombu.Connection(url) as connection:
        get_exchange(connection)(connection.default_channel).declare()


def test_every_bound_event_has_a_handler() -> None:
    assert Routes(topology, registry_recording(Monitor())).check() == ()


@pytest.mark.parametrize("has_loop", [True, False], ids=["in batches", "one by one"])
def test_registry_follows_a_celery_worker_and_its_tasks(has_loop: bool, rabbitmq_url: str) -> None:
    """A celery worker with an event loop, the default, sends its task events as lists with the key task.multi."""
    declare_as_celery(rabbitmq_url)
    monitor = Monitor()

    with Worker(rabbitmq_url, topology, registry_recording(monitor)) as worker, celery_client(rabbitmq_url) as send:
        with celery_worker(rabbitmq_url, *[] if has_loop else ["--no-loop"]) as process:
            monitor.wait_for("worker-online")
            succeeded, failed = send("shop.add", 2, 3), send("shop.fail")
            keys = monitor.wait_for(
                "task-sent", "task-received", "task-started", "task-succeeded", uuid=succeeded
            ) | monitor.wait_for("task-sent", "task-received", "task-started", "task-failed", uuid=failed)
            process.terminate()
            monitor.wait_for("worker-offline")
        assert worker.wait_idle(DEADLINE)

        assert worker.stats().dropped == {}
    from_the_worker = {"task-received", "task-started", "task-succeeded", "task-failed"}
    assert keys == {"task-sent": "task.sent"} | {
        kind: "task.multi" if has_loop else kind.replace("-", ".") for kind in from_the_worker
    }


@pytest.mark.parametrize("first", ["celery", "here"])
def test_event_exchange_may_be_declared_on_both_sides(first: str, rabbitmq_url: str) -> None:
    """A default ExchangeSpec declares the exchange as celery does, so either side may start first."""
    own = ExchangeSpec(name="celeryev")
    queue = QueueSpec(name="events", exclusive=True, bindings=[own.bind("task.*"), own.bind("worker.*")])
    own_topology = Topology(exchanges=[own], queues=[queue])

    if first == "celery":
        declare_as_celery(rabbitmq_url)
    with Worker(rabbitmq_url, own_topology, registry_recording(Monitor())):
        declare_as_celery(rabbitmq_url)


def test_event_exchange_that_celery_has_not_declared_is_named(rabbitmq_url: str) -> None:
    with pytest.raises(TopologyMismatchError, match="celeryev"):
        Worker(rabbitmq_url, topology, registry_recording(Monitor())).start()
