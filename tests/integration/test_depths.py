"""Worker.depths: how many messages queues have, asked while the worker consumes, on both brokers."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import Any

import pytest
from tests.kit.calls import Calls
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.specs import media
from tests.kit.waiting import DEADLINE, in_thread

from taskroute import (
    BrokerUnavailableError,
    ClosedError,
    HandlerRegistry,
    Publisher,
    QueueSpec,
    Reject,
    Topology,
    UnknownQueueError,
    Worker,
)
from taskroute.worker.prefetch_watch import PrefetchWatch

video = QueueSpec(name="video", bindings=[media.bind("video.#")])
audit = QueueSpec(name="audit", bindings=[media.bind("audit.#")], dead_letter=False, retry=False)
idle = QueueSpec(name="idle", bindings=[media.bind("idle.#")])
topology = Topology(exchanges=[media], queues=[video, audit, idle])


def rejecting() -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("#", queue=video)
    def reject(body: Any) -> None:
        raise Reject("no")

    @registry.handler("#", queue=audit)
    def drop(body: Any) -> None:
        raise Reject("no")

    return registry


def test_depths_count_dead_letters_and_any_queue_asked_for(broker_url: str) -> None:
    with running(broker_url, topology, rejecting()) as (worker, publisher):
        assert worker.depths() == {"video.dead": 0}
        for key in ("video.a", "video.b", "audit.a", "idle.a"):
            publisher.publish({}, key, exchange=media)
        assert worker.wait_idle(DEADLINE)

        assert worker.depths() == {"video.dead": 2}
        assert worker.depths([idle, "audit", "video.dead"]) == {"idle": 1, "audit": 0, "video.dead": 2}
        assert worker.depths([]) == {}


def test_depths_leave_out_a_missing_queue(broker_url: str) -> None:
    """Asking about a deleted queue does not close the worker's connection."""
    with running(broker_url, topology, rejecting()) as (worker, publisher):
        with looking(broker_url) as peer:
            peer.channel.queue_delete("idle.dead")
        assert worker.depths(["idle.dead", idle, "idle.dead", "video.dead"]) == {"idle": 0, "video.dead": 0}

        publisher.publish({}, "video.a", exchange=media)
        assert worker.wait_idle(DEADLINE)
        assert worker.depths() == {"video.dead": 1}
        assert worker.stats().connections == 1


def test_depths_of_a_queue_outside_the_topology_are_refused(taskroute_url: str) -> None:
    with Worker(taskroute_url, topology, rejecting()) as worker, pytest.raises(UnknownQueueError, match="nowhere"):
        worker.depths(["nowhere"])


def test_depths_of_a_worker_that_does_not_run_raise_closed(taskroute_url: str) -> None:
    worker = Worker(taskroute_url, topology, rejecting())

    with pytest.raises(ClosedError, match="not started"):
        worker.depths()
    worker.start()
    worker.stop()
    with pytest.raises(ClosedError, match="stopped"):
        worker.depths()


def test_handler_that_runs_before_start_returns_may_ask_for_depths(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session's thread and the handlers' run already while `start` has not noted it yet."""
    handled, start = Calls(), PrefetchWatch.start

    def start_late(watch: PrefetchWatch) -> None:
        handled.wait()
        start(watch)

    def ask() -> None:
        handled((worker.depths(), worker.health().live))

    monkeypatch.setattr(PrefetchWatch, "start", start_late)
    worker = Worker(taskroute_url, topology, registry_of(ask, "#", queue=idle))
    with Publisher(taskroute_url, topology) as publisher:
        publisher.publish({}, "idle.a", exchange=media)
    with worker:
        assert handled.wait() == [({"idle.dead": 0}, True)]


def test_depths_of_a_silent_broker_raise_at_their_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as ending:
        worker = Worker(f"amqp://guest:guest@127.0.0.1:{silent.getsockname()[1]}", topology, rejecting())
        running = in_thread(worker.run)
        ending.callback(running.result, DEADLINE)
        ending.callback(worker.stop)
        connection, _ = silent.accept()  # the session now waits for the broker's greeting
        ending.callback(connection.close)
        ending.callback(silent.close)  # first: the next attempt would wait for a greeting as well
        with pytest.raises(BrokerUnavailableError, match=r"not answered within 0\.01 s"):
            worker.depths(timeout=0.01)
