"""Faults of the session that republishes failed messages are survived, or reported by the worker."""

from __future__ import annotations

import errno
import threading
from typing import Any

import pytest
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import (
    BrokerUnavailableError,
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    RetryPolicy,
    Topology,
    Worker,
)
from taskroute.broker import connection, connector, mailbox, wakeup
from taskroute.worker import republish
from taskroute.worker.republication import republication

work = QueueSpec(name="work", retry=RetryPolicy(delays=(0.01,)))
topology = Topology(queues=[work])


def failing_once(url: str, seen: Calls) -> Worker:
    registry = HandlerRegistry()

    @registry.handler("#", queue=work)
    def handle(message: Message) -> None:
        seen(message.attempt)
        if message.attempt == 1:
            raise RuntimeError("as planned")

    return Worker(url, topology, registry)


def publish(url: str) -> None:
    with Publisher(url, topology) as publisher:
        publisher.publish({}, "work", exchange="")


def test_republish_without_a_file_descriptor_begins_later(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A republish session that finds no free file descriptor is made once there is one."""
    seen, none_left = Calls(), threading.Event()

    class Wakeup(wakeup.Wakeup):
        def __init__(self) -> None:
            if threading.current_thread().name.startswith("taskroute-worker") and not none_left.is_set():
                none_left.set()
                raise OSError(errno.EMFILE, "Too many open files")
            super().__init__()

    with failing_once(taskroute_url, seen) as worker:
        monkeypatch.setattr(mailbox, "Wakeup", Wakeup)
        publish(taskroute_url)
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)

    assert none_left.is_set()
    assert seen.calls == [1, 2]


def test_republish_session_logs_a_failed_connect_and_tries_again(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that no connect is expected to raise costs one attempt, not the session's thread."""
    seen, connect, failed = Calls(), connection.connect, threading.Event()

    def connect_later(*arguments: Any, name: str, **options: Any) -> Any:
        if name.endswith("hand-over") and not failed.is_set():
            failed.set()
            raise MemoryError
        return connect(*arguments, name=name, **options)

    monkeypatch.setattr(connector, "connect", connect_later)
    with failing_once(taskroute_url, seen) as worker:
        publish(taskroute_url)
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)

    assert failed.is_set()
    assert "connect_failed session=taskroute-worker-hand-over error=MemoryError" in caplog.text


@pytest.mark.filterwarnings("ignore:Exception in thread taskroute-worker")  # it is what this test is about
def test_worker_whose_republish_thread_ends_is_not_live(taskroute_url: str) -> None:
    """Worker.run raises as well, since failed messages would never leave the worker."""
    seen = Calls()
    worker = failing_once(taskroute_url, seen)
    ended = in_thread(worker.run)

    publish(taskroute_url)
    seen.wait(2)
    InsideWorker(worker).fail_republishing(SystemExit())

    assert isinstance(ended.exception(DEADLINE), BrokerUnavailableError)
    assert not worker.health().live


def test_failure_of_a_lost_connection_is_not_republished_as_well(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Handlers fail while the consuming connection is down: the broker delivers their messages again."""
    jobs = QueueSpec(name="jobs", retry=False)
    seen, down, connect, fail = Calls(), threading.Event(), connection.connect, threading.Event()
    registry, failed, connecting = HandlerRegistry(), Calls(), threading.Event()

    @registry.handler("#", queue=jobs)
    def handle(message: Message) -> None:
        seen(message.message_id)
        assert fail.wait(DEADLINE)
        failed(message.message_id)
        raise RuntimeError("as planned")

    def connect_later(*arguments: Any, name: str, **options: Any) -> Any:
        if name == "taskroute-worker" and down.is_set():
            connecting.set()
            failed.wait(4)
            down.clear()
        return connect(*arguments, name=name, **options)

    monkeypatch.setattr(connector, "connect", connect_later)
    topology = Topology(queues=[jobs])
    with (
        Worker(taskroute_url, topology, registry, threads=4) as worker,
        Publisher(taskroute_url, topology) as publisher,
    ):
        for number in range(4):
            publisher.publish({}, "jobs", exchange="", message_id=str(number))
        seen.wait(4)
        down.set()
        InsideWorker(worker).fail_on_session(ConnectionError("lost"))
        assert connecting.wait(DEADLINE)  # all of the worker knows by then that the connection is gone
        fail.set()
        assert worker.wait_idle(DEADLINE)

        assert worker.stats().dead_lettered == {"jobs": 4}
        assert worker.depths() == {"jobs.dead": 4}
    assert len(seen.calls) == 8


def test_failure_held_up_during_a_careful_beginning_is_a_reason(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a reconnect a queue is consumed with one message at a time: one that is held up takes the whole room."""
    jobs = QueueSpec(name="jobs", type="quorum", retry=False)
    topology, seen, registry = Topology(queues=[jobs]), Calls(), HandlerRegistry()
    monkeypatch.setattr(republish, "USUAL_TIME", 0.1)

    @registry.handler("#", queue=jobs)
    def handle(message: Message) -> None:
        seen(message.message_id)
        raise RuntimeError("as planned")

    with (
        Worker(taskroute_url, topology, registry, threads=2) as worker,
        Publisher(taskroute_url, topology) as publisher,
    ):
        with InsideWorker(worker).republishing_held():
            for number in range(3):
                publisher.publish({}, "jobs", exchange="", message_id=str(number))
            seen.wait(3)
            InsideWorker(worker).fail_on_session(ConnectionError("lost"))
            seen.wait(4)  # one of the three, again
            until(lambda: worker.health().connected and worker.health().reasons)
            assert "1 failed messages are not republished" in worker.health().reasons[0]
        assert worker.wait_idle(DEADLINE)


def test_failure_is_dropped_that_becomes_stale_while_it_is_handed_in(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that consumes is lost when nothing is there yet to drop, and the other one cannot be had."""
    jobs = QueueSpec(name="jobs", retry=False)
    topology, seen, go_on, may_connect = Topology(queues=[jobs]), Calls(), threading.Event(), threading.Event()
    registry, connect = HandlerRegistry(), connection.connect

    @registry.handler("#", queue=jobs)
    def handle(message: Message) -> None:
        seen(message.message_id)
        assert len(seen.calls) == 1 or go_on.wait(DEADLINE)
        raise RuntimeError("as planned")

    def connect_later(*arguments: Any, name: str, **options: Any) -> Any:
        if name.endswith("hand-over") and not may_connect.is_set():
            raise ConnectionError("not now")
        return connect(*arguments, name=name, **options)

    def make_later(*arguments: Any) -> Any:
        if worker.stats().connections == 1:
            InsideWorker(worker).fail_on_session(ConnectionError("lost"))
            seen.wait(2)
        return republication(*arguments)

    monkeypatch.setattr(connector, "connect", connect_later)
    monkeypatch.setattr(republish, "republication", make_later)
    with (
        Worker(taskroute_url, topology, registry, threads=2) as worker,
        Publisher(taskroute_url, topology) as publisher,
    ):
        publisher.publish({}, "jobs", exchange="")
        seen.wait(2)
        until(lambda: InsideWorker(worker).open_count == 1)

        go_on.set()
        may_connect.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.depths() == {"jobs.dead": 1}


def test_stale_failures_do_not_pile_up_without_a_republishing_connection(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection that consumes is cut again and again, while the other one cannot be had."""
    jobs = QueueSpec(name="jobs", retry=False)
    topology, seen, connect, may_connect = Topology(queues=[jobs]), Calls(), connection.connect, threading.Event()
    registry = HandlerRegistry()

    @registry.handler("#", queue=jobs)
    def handle(message: Message) -> None:
        seen(message.message_id)
        raise RuntimeError("as planned")

    def connect_later(*arguments: Any, name: str, **options: Any) -> Any:
        if name.endswith("hand-over") and not may_connect.is_set():
            raise ConnectionError("not now")
        return connect(*arguments, name=name, **options)

    monkeypatch.setattr(connector, "connect", connect_later)
    with (
        Worker(taskroute_url, topology, registry) as worker,
        Publisher(taskroute_url, topology) as publisher,
    ):
        inside = InsideWorker(worker)
        publisher.publish({}, "jobs", exchange="")
        for cuts in range(5):
            seen.wait(cuts + 1)
            until(lambda: inside.count_to_republish() == 1)
            inside.fail_on_session(ConnectionError("lost"))
        seen.wait(6)
        until(lambda: inside.count_to_republish() == 1)

        may_connect.set()
        assert worker.wait_idle(DEADLINE)
        assert worker.depths() == {"jobs.dead": 1}
