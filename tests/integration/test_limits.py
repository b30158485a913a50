"""Limits of single queues, prefetch and concurrency, on both brokers."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from pydantic import BaseModel
from tests.kit.calls import Calls
from tests.kit.gate import Gate
from tests.kit.inside import InsideWorker
from tests.kit.running import registry_of, running
from tests.kit.specs import media
from tests.kit.waiting import DEADLINE

from taskroute import (
    CircuitBreaker,
    ConfigurationError,
    HandlerRegistry,
    Message,
    QueueSpec,
    RetryPolicy,
    Topology,
    UnknownQueueError,
    Worker,
)

slow = QueueSpec(name="slow", bindings=[media.bind("slow.#")], retry=RetryPolicy(delays=(0.05,)))
fast = QueueSpec(name="fast", type="classic", bindings=[media.bind("fast.#")])
topology = Topology(exchanges=[media], queues=[slow, fast])


class Job(BaseModel):
    number: int


def test_queue_at_its_concurrency_limit_leaves_other_threads_free(broker_url: str) -> None:
    """The limited queue is handled one message at a time, in order, while other threads handle another queue."""
    registry, begun, done, go_on = HandlerRegistry(), Calls(), Calls(), threading.Semaphore(0)

    @registry.handler("#", queue=slow)
    def handle_slow(job: Job) -> None:
        begun(job.number)
        assert go_on.acquire(timeout=DEADLINE)
        done(("slow", job.number))

    @registry.handler("#", queue=fast)
    def handle_fast(job: Job) -> None:
        done(("fast", job.number))

    with running(broker_url, topology, registry, threads=3, concurrency={slow: 1}) as (worker, publisher):
        for number in range(5):
            publisher.publish(Job(number=number), "slow.a", exchange=media)
        begun.wait(1)
        for number in range(50):
            publisher.publish(Job(number=number), "fast.a", exchange=media)
        assert sorted(done.wait(50)) == [("fast", number) for number in range(50)]
        for count in range(1, 6):
            assert len(begun.wait(count)) == count  # the next begins only after this one has ended
            go_on.release()
            done.wait(50 + count)
        assert worker.wait_idle(DEADLINE)

    assert begun.calls == list(range(5))  # in their order, as there is one at a time


def test_failed_handler_frees_its_place_before_the_republish(broker_url: str) -> None:
    registry, attempts = HandlerRegistry(), Calls()

    @registry.handler("#", queue=slow)
    def fail(message: Message) -> None:
        attempts(message.attempt)
        raise ValueError

    with running(broker_url, topology, registry, threads=2, concurrency={"slow": 1}) as (worker, publisher):
        for number in range(3):
            publisher.publish(Job(number=number), "slow.a", exchange=media)
        assert worker.wait_idle(DEADLINE)

    assert sorted(attempts.calls) == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("threads", [0, 2])
def test_async_handlers_keep_their_concurrency_limit(broker_url: str, threads: int) -> None:
    """The limit holds with fewer handler threads than the limit, and with none."""
    registry, gate, done = HandlerRegistry(), Gate(), list[int]()

    @registry.handler("#", queue=fast)
    async def wait(job: Job) -> None:
        await gate.stand()
        done.append(job.number)

    with running(broker_url, topology, registry, threads=threads, concurrency={fast: 3}) as (worker, publisher):
        for number in range(12):
            publisher.publish(Job(number=number), "fast.a", exchange=media)
        gate.wait(3)
        assert not worker.wait_idle(0.2)
        InsideWorker(worker).run_on_loop(gate.open()).result(DEADLINE)
        assert worker.wait_idle(DEADLINE)

    assert gate.most == 3
    assert sorted(done) == list(range(12))


def test_prefetch_of_one_queue_leaves_the_default_to_others(broker_url: str, caplog: pytest.LogCaptureFixture) -> None:
    registry = HandlerRegistry()
    registry.add("#", lambda body: None)
    caplog.set_level(logging.INFO, logger="taskroute")

    with running(broker_url, topology, registry, queues=[slow, fast], threads=2, prefetch={"slow": 3}) as (
        worker,
        publisher,
    ):
        publisher.publish({}, "slow.a", exchange=media)  # consumed with its whole prefetch from here on
        assert worker.wait_idle(DEADLINE)

    consumed = [line.removeprefix("consuming ") for line in caplog.messages if line.startswith("consuming ")]
    assert sorted(line.rpartition(" ")[0] for line in consumed) == [
        "queue=fast prefetch=32",
        "queue=slow prefetch=1",
        "queue=slow prefetch=3",
    ]


@pytest.mark.parametrize("option", ["concurrency", "prefetch", "consumer_timeout", "circuit_breaker"])
def test_option_of_a_queue_that_only_others_consume_is_fine(taskroute_url: str, option: str) -> None:
    """Workers of one service share their options; what is wrong with one is told by each."""
    registry = registry_of(lambda body: None, "#", queue=slow)
    value: Any = CircuitBreaker() if option == "circuit_breaker" else 1
    shared: Any = {option: {fast: value}}
    unknown: Any = {option: {"fats": value}}
    wrong: Any = {option: {"fast": slow}}

    with Worker(taskroute_url, topology, registry, **shared) as worker:
        assert worker.health().ready
    with pytest.raises(UnknownQueueError, match=rf"{option}: .* no queue 'fats'; did you mean 'fast'\?"):
        Worker(taskroute_url, topology, registry, **unknown)
    with pytest.raises(ConfigurationError, match=f"{option}=.* of queue 'fast' must be"):
        Worker(taskroute_url, topology, registry, **wrong)
