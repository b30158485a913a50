"""Failed messages on their way to another queue: what comes in between is survived, or told."""

from __future__ import annotations

import errno
import threading
from typing import Any

import pytest
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.waiting import DEADLINE, in_thread

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
from taskroute.broker import connection, mailbox, session, wakeup

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


def test_they_begin_when_there_are_descriptors_again(taskroute_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_defect_in_their_first_connection_is_shown_and_survived(
    taskroute_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seen, connect, failed = Calls(), connection.connect, threading.Event()

    def connect_later(*arguments: Any, name: str, **options: Any) -> Any:
        if name.endswith("hand-over") and not failed.is_set():
            failed.set()
            raise MemoryError
        return connect(*arguments, name=name, **options)

    monkeypatch.setattr(session, "connect", connect_later)
    with failing_once(taskroute_url, seen) as worker:
        publish(taskroute_url)
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)
    assert failed.is_set()
    assert "connect_failed session=taskroute-worker-hand-over error=MemoryError" in caplog.text


@pytest.mark.filterwarnings("ignore:Exception in thread taskroute-worker")  # it is what this test is about
def test_when_their_thread_ends_run_raises_and_health_says_so(taskroute_url: str) -> None:
    seen = Calls()
    worker = failing_once(taskroute_url, seen)
    ended = in_thread(worker.run)
    publish(taskroute_url)
    seen.wait(2)
    InsideWorker(worker).fail_hand_overs(SystemExit())
    assert isinstance(ended.exception(DEADLINE), BrokerUnavailableError)
    assert not worker.health().live
