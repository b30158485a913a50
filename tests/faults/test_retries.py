"""Retries and dead letters: target queues that are full or missing, and properties that are not republished."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import amqp
import pytest
from tests.faults import ledger
from tests.faults.site import Site
from tests.faults.traffic import jobs, topology, work
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE

from taskroute import (
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    RetryPolicy,
    Routes,
    ShutdownTimeoutError,
    Topology,
    Worker,
)
from taskroute.worker.republish import PAUSE


@pytest.fixture
def impatient(site: Site) -> Iterator[Site]:
    """A broker that dead-letters again after a second, not three minutes, to a target that did not confirm."""
    setting = "application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, {})."
    site.node.eval(setting.format(1000))
    try:
        yield site
    finally:
        site.node.eval(setting.format(180_000))


def failing(seen: Calls) -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("#", queue=work)
    def handle(message: Message) -> None:
        seen(message.attempt, message.exchange, message.routing_key, message.body)
        raise RuntimeError("as planned")

    return registry


def test_retry_keeps_body_routing_key_and_exchange(site: Site) -> None:
    """The wait queue of a retry is part of the topology, which explains and routes it."""
    seen = Calls()

    with running(site.url, topology, failing(seen)) as (worker, publisher):
        publisher.publish(b'"x"', "video.upload", exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        assert "work.retry.200" in str(worker.routes.explain("video.upload", exchange=jobs))

    assert seen.calls == [(1, "jobs", "video.upload", b'"x"'), (2, "jobs", "video.upload", b'"x"')]
    assert sorted(name for (name,) in site.table("list_queues", "name")) == ["work", "work.dead", "work.retry.200"]
    assert topology.route("work.retry.200", exchange="") == {"work.retry.200"}


parked = RetryPolicy(delays=(10,))  # long enough to fill the one queue and delete the other meanwhile
full = QueueSpec(name="full", bindings=[jobs.bind("full")], retry=parked, max_length=100, overflow="reject-publish")
gone = QueueSpec(name="gone", bindings=[jobs.bind("gone")], retry=parked)
fine = QueueSpec(name="fine", bindings=[jobs.bind("fine")], retry=RetryPolicy(delays=(1,)))
three_queues = Topology(exchanges=[jobs], queues=[full, gone, fine])


class Attempts:
    """A handler of three queues that fails the first attempt at each message, and counts them."""

    def __init__(self) -> None:
        self._counts: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._changed = threading.Condition()
        self.registry = HandlerRegistry()
        for queue in three_queues.queues:
            self.registry.add("#", self._handle, queue=queue)

    def reach(self, count: int, queue: QueueSpec, attempt: int, timeout: float = DEADLINE) -> bool:
        """Wait until so many messages of a queue have had this attempt; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self._counts[queue.name][attempt] >= count, timeout)

    def _handle(self, message: Message) -> None:
        with self._changed:
            self._counts[message.queue][message.attempt] += 1
            self._changed.notify_all()
        if message.attempt == 1:
            raise RuntimeError("as planned")


def park_retries_of_stuck_queues(site: Site, attempts: Attempts) -> None:
    """Have a hundred retries due for the queue `full`, which is full, and a hundred for `gone`, which is deleted."""
    with Publisher(site.url, three_queues) as publisher:
        with Worker(site.url, three_queues, attempts.registry, queues=["full", "gone"]) as worker:
            for name in ("full", "gone"):
                list(publisher.publish_many([(b"{}", name)] * 100, exchange=jobs))
            assert attempts.reach(100, full, attempt=1)
            assert attempts.reach(100, gone, attempt=1)
            worker.stop()
        list(publisher.publish_many([(b"{}", "full")] * 100, exchange=jobs))  # without a consumer it stays full
        with looking(site.url) as peer:
            peer.channel.queue_delete("gone")
        assert site.depths("full.retry.10000", "gone.retry.10000") == [100, 100], "they came back before that"
        _wait_until_due(site, "full.retry.10000", "gone.retry.10000")


@pytest.mark.row(40)
def test_stuck_queues_delay_no_retry_of_another_queue(impatient: Site, stopwatch: Stopwatch) -> None:
    """While a hundred retries wait for a full queue and a hundred for a deleted one, those of a third are on time."""
    attempts = Attempts()
    park_retries_of_stuck_queues(impatient, attempts)

    with (
        Publisher(impatient.url, three_queues, declare="skip") as publisher,
        Worker(impatient.url, three_queues, attempts.registry, queues=["fine"], declare="skip"),
    ):
        list(publisher.publish_many([(b"{}", "fine")] * 20, exchange=jobs))
        assert attempts.reach(20, fine, attempt=1)
        stopwatch.within(1 + 1, lambda timeout: attempts.reach(20, fine, 2, timeout), "retries of 1 s are back")


@pytest.mark.row(40)
def test_retries_of_a_stuck_queue_come_back_once_it_takes_them(impatient: Site) -> None:
    """No retry is lost while its queue is full or deleted."""
    attempts = Attempts()
    park_retries_of_stuck_queues(impatient, attempts)

    with Worker(impatient.url, three_queues, attempts.registry):  # declares the deleted queue and empties the full one
        assert attempts.reach(100, full, attempt=2)
        assert attempts.reach(100, gone, attempt=2)


def _wait_until_due(site: Site, *wait_queues: str) -> None:
    """Wait until the broker has taken up every message of these queues, to dead-letter it."""
    pause, until = threading.Event(), time.monotonic() + DEADLINE
    while any(site.depths(*wait_queues)):
        assert time.monotonic() < until
        pause.wait(0.1)


@pytest.mark.row(40)
@pytest.mark.parametrize("kind", ["CC", "BCC"])
def test_republished_message_does_not_follow_cc_or_bcc(kind: str, site: Site) -> None:
    """Neither a retry nor a dead letter goes to the queues that a publisher has put into CC or BCC."""
    victim = QueueSpec(name="victim", retry=False, dead_letter=False)
    own_topology = Topology(exchanges=[jobs], queues=[work, victim])
    seen = Calls()

    with Worker(site.url, own_topology, failing(seen), queues=["work"]) as worker, looking(site.url) as peer:
        # BCC is taken out by the broker; a dead letter of another broker may still bring it along.
        peer.publish(b"{}", "a", "jobs", application_headers={kind: ["victim"]})
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)
        dead = peer.receive("work.dead", 1)[0].properties["application_headers"]
        assert peer.ready("victim") == 0  # a retry and a dead letter went by it

    assert kind not in dead
    if kind == "CC":
        assert dead["x-taskroute-original-cc"] == ["victim"]


@pytest.mark.row(40)
def test_expiration_does_not_end_a_retry_early(site: Site) -> None:
    seen = Calls()

    with Worker(site.url, topology, failing(seen)) as worker, looking(site.url) as peer:
        began = time.monotonic()
        peer.publish(b"{}", "a", "jobs", expiration="100000")
        seen.wait(2)
        waited = time.monotonic() - began
        assert worker.wait_idle(DEADLINE)
        dead = peer.receive("work.dead", 1)[0].properties

    assert waited >= 0.2
    assert "expiration" not in dead
    assert dead["application_headers"]["x-taskroute-original-expiration"] == "100000"


def test_expiration_shorter_than_the_delay_is_not_republished(site: Site) -> None:
    seen, long, registry = Calls(), work.model_copy(update={"retry": RetryPolicy(delays=(1.5,))}), HandlerRegistry()

    @registry.handler("#", queue=long)
    def handle(body: bytes) -> None:
        seen(time.monotonic())
        raise RuntimeError("as planned")

    with Worker(site.url, Topology(exchanges=[jobs], queues=[long]), registry), looking(site.url) as peer:
        peer.publish(b"{}", "a", "jobs", expiration="1000")
        first, second = seen.wait(2)
        assert second - first >= 1.4  # copied, it would have come back after one second
        peer.receive("work.dead", 1)


@pytest.mark.row(40)
def test_user_id_of_another_user_does_not_fail_a_republish(site: Site) -> None:
    """A worker that logs in as another user republishes the message without its `user_id`."""
    seen = Calls()
    with Publisher(site.url, topology):
        pass

    with Worker(site.limited_url, topology, failing(seen), declare="verify") as worker:
        with looking(site.url) as peer:
            peer.publish(b"{}", "a", "jobs", user_id="app")  # which is not the worker's
            seen.wait(2)
            dead = peer.receive("work.dead", 1)[0].properties
        assert InsideWorker(worker).republish_generation == 1

    assert "user_id" not in dead
    assert dead["application_headers"]["x-taskroute-original-user-id"] == "app"


@contextmanager
def worker_without_dead_letter_queue(
    site: Site, logged: Callable[[str], Calls], break_it: Callable[[], object], url: str | None = None, **options: Any
) -> Iterator[Worker]:
    """Run a worker whose dead-letter queue takes no message; the block begins after three attempts to dead-letter one.

    `url`: of the worker.
    """
    seen, refused = Calls(), logged("hand_over_failed queue=work to=work.dead")
    registry = HandlerRegistry()

    @registry.handler("#", queue=work, retry=False)
    def handle(body: bytes) -> None:
        seen(body)
        if body == b"bad":
            raise RuntimeError("as planned")

    break_it()
    with Worker(url or site.url, topology, registry, declare="skip", prefetch=4, **options) as worker:
        with Publisher(site.url, topology, declare="skip") as publisher:
            began = time.monotonic()
            publisher.publish(b"bad", "a", exchange=jobs)
            for _ in range(20):
                publisher.publish(b"good", "a", exchange=jobs)
            seen.wait(21)  # the failed message holds no other back
            refused.wait(3)
            assert time.monotonic() - began >= 2 * PAUSE  # no hot loop
            assert seen.calls.count(b"bad") == 1  # nor is it handled again
            assert worker.stats().connections == 1
        yield worker


@pytest.mark.row(40)
def test_full_dead_letter_queue_gets_the_message_once_it_has_room(site: Site, logged: Callable[[str], Calls]) -> None:
    def fill() -> None:
        with looking(site.url) as peer:
            arguments: dict[str, Any] = {"x_queue_type": "quorum", "x_max_length": 1, "x_overflow": "reject-publish"}
            with Publisher(site.url, topology):
                pass
            peer.channel.queue_delete("work.dead")
            peer.queue("work.dead", **arguments)
            while peer.publish(b"fill", "work.dead") == "ack":
                pass

    with worker_without_dead_letter_queue(site, logged, fill) as worker:
        with looking(site.url) as peer:
            assert peer.channel.queue_purge("work.dead") > 0  # room, and what comes now stays
        assert worker.wait_idle(DEADLINE)

    assert ledger.drain(site.url, ["work.dead"]) == [b"bad"]


def _delete_dead_letter_queue(site: Site) -> None:
    with Publisher(site.url, topology):
        pass
    site.ctl("delete_queue", "work.dead")


@pytest.mark.row(40)
def test_missing_dead_letter_queue_gets_the_message_once_declared(site: Site, logged: Callable[[str], Calls]) -> None:
    with (
        worker_without_dead_letter_queue(site, logged, partial(_delete_dead_letter_queue, site)) as worker,
        Publisher(site.url, topology),  # declares it again
    ):
        assert worker.wait_idle(DEADLINE)

    assert ledger.drain(site.url, ["work.dead"]) == [b"bad"]


@pytest.mark.row(40)
def test_message_never_dead_lettered_returns_to_its_queue_at_stop(site: Site, logged: Callable[[str], Calls]) -> None:
    """Also if the broker does not answer by then, which is told beside it."""
    proxy, delete = site.proxy(), partial(_delete_dead_letter_queue, site)
    told = "1 messages on their way to another queue; the consuming connection does not close"

    with (
        worker_without_dead_letter_queue(site, logged, delete, site.url_by(proxy), shutdown_timeout=1) as worker,
        proxy.stalled(),
        pytest.raises(ShutdownTimeoutError, match=told),
    ):
        worker.stop()

    site.wait_ready("work", 1)
    assert ledger.drain(site.url, ["work"]) == [b"bad"]


@pytest.mark.row(42)
def test_full_dead_letter_queue_keeps_expired_messages_in_their_queue(impatient: Site) -> None:
    """RabbitMQ dead-letters an expired message at least once: it waits in its queue while the target is full."""
    full = QueueSpec(name="graveyard", max_length=1, overflow="reject-publish", retry=False, dead_letter=False)
    source = QueueSpec(name="source", bindings=[jobs.bind("#")], message_ttl=0.1, retry=False, dead_letter="graveyard")
    own_topology = Topology(exchanges=[jobs], queues=[source, full])

    with looking(impatient.url) as peer, Publisher(impatient.url, own_topology) as publisher:
        while peer.publish(b"fill", "graveyard") == "ack":
            pass
        filled = peer.ready("graveyard")

        list(publisher.publish_many([(b"%d" % number, "a") for number in range(5)], exchange=jobs))
        peer.pass_time(500)  # they have expired by then
        assert peer.ready("graveyard") == filled

        peer.channel.queue_purge("graveyard")
        bodies: set[bytes] = set()
        while len(bodies) < 5:  # or the test's own time is over
            bodies.update(ledger.drain(impatient.url, ["graveyard"]))

    assert bodies == {b"0", b"1", b"2", b"3", b"4"}


@pytest.mark.row(41)
def test_dead_letter_cycle_is_found_by_check() -> None:
    one = QueueSpec(name="one", message_ttl=1, retry=False, dead_letter="two")
    two = QueueSpec(name="two", message_ttl=1, retry=False, dead_letter="one")
    registry = registry_of(lambda body: None, "#", queue=one)

    assert "dead_letter_cycle" in [finding.code for finding in Routes(Topology(queues=[one, two]), registry).check()]


@pytest.mark.row(40)
def test_message_with_headers_too_large_for_a_frame_is_dead_lettered(site: Site) -> None:
    """Headers that do not fit beside those of the dead letter are dropped and counted."""
    seen = Calls()
    registry = registry_of(lambda body: seen(body), "#", queue=work)  # noqa: PLW0108 - it reads the signature

    with Worker(site.url, topology, registry) as worker:
        with looking(site.url) as peer:
            message = amqp.Message(b"{}", application_headers={"CC": ["nobody"] * 9_000, "x": "y" * 26_000})
            peer.write(message, "a", "jobs")
            dead = peer.receive("work.dead", 1)[0].properties["application_headers"]
        assert worker.stats().connections == 1
        assert InsideWorker(worker).republish_generation == 1

    assert dead["x-taskroute-reason"] == "too_large"
    assert dead["x-taskroute-headers-dropped"] >= 1
    assert seen.calls == []
