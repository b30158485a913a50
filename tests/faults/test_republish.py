"""Failed messages find their way, or the worker says that they do not: queues deleted, policies, restarts."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from tests.faults import ledger
from tests.faults.site import Site
from tests.faults.traffic import jobs
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.waiting import DEADLINE, until

from taskroute import HandlerRegistry, Message, Publisher, QueueSpec, RetryPolicy, Topology, Worker
from taskroute.broker.roles import confirm_watch

retried = QueueSpec(name="retried", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(0.5,)))
buried = QueueSpec(name="buried", bindings=[jobs.bind("#")], retry=False)


def topology_of(queue: QueueSpec) -> Topology:
    return Topology(exchanges=[jobs], queues=[queue])


def failing_on_first_attempt(queue: QueueSpec, seen: Calls) -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("#", queue=queue)
    def handle(message: Message) -> None:
        seen(message.message_id, message.attempt)
        if message.attempt == 1 and message.body == b"bad":
            raise RuntimeError("as planned")

    return registry


@pytest.mark.row(70)
@pytest.mark.parametrize(("queue", "helper"), [(retried, "retried.retry.500"), (buried, "buried.dead")])
def test_deleted_helper_queue_is_declared_again(queue: QueueSpec, helper: str, site: Site) -> None:
    """An operator deletes the wait queue, or the dead-letter queue, of a running worker."""
    seen, topology = Calls(), topology_of(queue)

    with (
        Worker(site.url, topology, failing_on_first_attempt(queue, seen), prefetch=4) as worker,
        Publisher(site.url, topology) as publisher,
    ):
        site.ctl("delete_queue", helper)
        for number in range(6):
            publisher.publish(b"bad", "a", exchange=jobs, message_id=str(number))
        assert worker.wait_idle(DEADLINE)

        assert worker.health().ready
        assert worker.stats().connections == 1
    assert len(seen.calls) == (12 if queue is retried else 6)
    assert len(ledger.drain(site.url, [f"{queue.name}.dead"])) == (0 if queue is retried else 6)


@pytest.mark.row(71)
def test_missing_wait_queue_that_others_declare_dead_letters_the_retry(
    site: Site, logged: Callable[[str], Calls]
) -> None:
    """A worker with `declare="verify"` creates nothing: the retry is given up, and the dead letter says why."""
    seen, topology = Calls(), topology_of(retried)
    told = logged("message_failed")

    with Publisher(site.url, topology) as publisher:
        with Worker(site.url, topology, failing_on_first_attempt(retried, seen), declare="verify") as worker:
            site.ctl("delete_queue", "retried.retry.500")
            publisher.publish(b"bad", "a", exchange=jobs)
            assert worker.wait_idle(DEADLINE)
            assert worker.stats().dead_lettered == {"retried": 1}
        with looking(site.url) as peer:
            (letter,) = peer.receive("retried.dead", 1)

    headers = letter.properties["application_headers"]
    assert headers["x-taskroute-reason"] == "retry_unavailable"
    assert headers["x-taskroute-error-traceback"]
    lines = [line.splitlines() for line in told.calls]
    assert [line[0].rpartition("to=")[2] for line in lines] == ["retried.retry.500", "retried.dead"]
    assert [len(line) > 1 for line in lines] == [False, True]  # the last failure has the traceback


@pytest.mark.row(72)
def test_held_up_failures_are_a_warning_and_then_a_reason(site: Site) -> None:
    """Nobody declares the dead-letter queue again: failed messages stay here until they fill the prefetch."""
    seen, topology = Calls(), topology_of(buried)
    registry = failing_on_first_attempt(buried, seen)

    with (
        Publisher(site.url, topology) as publisher,
        Worker(site.url, topology, registry, declare="skip", prefetch=2, shutdown_timeout=10) as worker,
    ):
        site.ctl("delete_queue", "buried.dead")

        publisher.publish(b"bad", "a", exchange=jobs)
        until(lambda: worker.health().warnings)
        health = worker.health()
        assert (health.ready, health.reasons) == (True, ())
        assert "1 failed messages are not republished" in health.warnings[0]

        publisher.publish(b"bad", "a", exchange=jobs)
        until(lambda: worker.health().reasons)
        health = worker.health()
        assert (health.live, health.ready, health.warnings) == (True, False, ())
        assert "it takes no others" in health.reasons[0]

        site.ctl("eval", _declared_by_hand("buried.dead", site.name))
        until(lambda: worker.health().ready and not worker.health().warnings)


def _declared_by_hand(queue: str, vhost: str) -> str:
    return (
        f'rabbit_amqqueue:declare(rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>), true, false, '
        f'[{{<<"x-queue-type">>, longstr, <<"quorum">>}}], none, <<"tests">>).'
    )


@pytest.mark.row(73)
def test_length_policy_set_and_lifted_delays_no_retry(site: Site) -> None:
    """RabbitMQ refuses on a channel for ever what it has refused there once: the worker takes another channel.

    So it does if the limit is lifted while the queue is full: messages wait there for longer than rabbitmqctl takes.
    """
    patient = QueueSpec(name="patient", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(8,)))
    seen, topology = Calls(), topology_of(patient)
    registry = failing_on_first_attempt(patient, seen)

    with (
        Worker(site.url, topology, registry, prefetch=64) as worker,
        Publisher(site.url, topology) as publisher,
    ):
        site.ctl("set_policy", "full", "retry", '{"max-length":1}', "--apply-to", "queues")
        for number in range(32):
            publisher.publish(b"bad", "a", exchange=jobs, message_id=str(number))
        until(lambda: worker.health().warnings)
        site.ctl("clear_policy", "full")

        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1
        assert InsideWorker(worker).republish_generation == 1  # another channel, not another connection
    assert Counter(seen.calls) == Counter((str(number), attempt) for number in range(32) for attempt in (1, 2))


@pytest.mark.row(74)
def test_failures_during_a_restart_of_the_broker_end_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers fail while the node is away: the broker delivers again what nobody could republish.

    RabbitMQ loses confirms when it has just started. That costs half a minute, here six seconds: one that comes later
    than that makes a second letter.
    """
    monkeypatch.setattr(confirm_watch, "CONFIRM_TIME", 6.0)
    seen, fail, topology = Calls(), threading.Event(), topology_of(buried)
    registry = HandlerRegistry()

    @registry.handler("#", queue=buried)
    def handle(message: Message) -> None:
        seen(message.message_id)
        assert message.message_id == "first" or fail.wait(DEADLINE)
        raise RuntimeError("as planned")

    with (
        Worker(site.url, topology, registry, threads=4, heartbeat=5) as worker,
        Publisher(site.url, topology) as publisher,
    ):
        publisher.publish(b"bad", "a", exchange=jobs, message_id="first")
        assert worker.wait_idle(DEADLINE)
        # Killed within half a second of a queue's declaration, RabbitMQ 3.10 forgets that the queue has data.
        site.node.eval("[dets:sync(Table) || Table <- dets:all()].")
        for number in range(4):
            publisher.publish(b"bad", "a", exchange=jobs, message_id=str(number))
        seen.wait(1 + 4)
        site.node.kill()
        until(lambda: not worker.health().connected)
        fail.set()
        site.node.start()
        assert worker.wait_idle(2 * DEADLINE)
        assert worker.stats().dead_lettered == {"buried": 1 + 4}

    assert len(ledger.drain(site.url, ["buried.dead"])) == 1 + 4
