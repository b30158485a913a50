"""Hand-overs: to wait queues and dead-letter queues that are full, missing, forbidden, and what they may not copy."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import amqp
import pytest
from tests.faults import ledger
from tests.faults.site import Site
from tests.faults.stopwatch import Stopwatch
from tests.faults.traffic import jobs, topology, work
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE

from taskroute import HandlerRegistry, Message, Publisher, QueueSpec, RetryPolicy, Routes, Topology, Worker
from taskroute.worker.republish import PAUSE


def failing(seen: Calls) -> HandlerRegistry:
    registry = HandlerRegistry()

    @registry.handler("#", queue=work)
    def handle(message: Message) -> None:
        seen(message.attempt, message.exchange, message.routing_key, message.body)
        raise RuntimeError("as planned")

    return registry


def test_a_retry_keeps_body_key_and_exchange_and_is_part_of_the_topology(site: Site) -> None:
    seen = Calls()
    with running(site.url, topology, failing(seen)) as (worker, publisher):
        publisher.publish(b'"x"', "video.upload", exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        assert "work.retry.200" in str(worker.routes.explain("video.upload", exchange=jobs))
    assert seen.calls == [(1, "jobs", "video.upload", b'"x"'), (2, "jobs", "video.upload", b'"x"')]
    assert sorted(name for (name,) in site.table("list_queues", "name")) == ["work", "work.dead", "work.retry.200"]
    assert topology.route("work.retry.200", exchange="") == {"work.retry.200"}


def test_one_stuck_queue_delays_no_others_retries(site: Site, stopwatch: Stopwatch) -> None:
    """A hundred retries parked for a full queue, a hundred for a deleted one, and a third queue's come on time."""
    _have_the_broker_try_dead_letters_again_soon(site)
    parked = RetryPolicy(delays=(10,))  # long enough to fill the one queue and delete the other meanwhile
    queues = {
        "full": QueueSpec(
            name="full", bindings=[jobs.bind("full")], retry=parked, max_length=100, overflow="reject-publish"
        ),
        "gone": QueueSpec(name="gone", bindings=[jobs.bind("gone")], retry=parked),
        "fine": QueueSpec(name="fine", bindings=[jobs.bind("fine")], retry=RetryPolicy(delays=(1,))),
    }
    over = Topology(exchanges=[jobs], queues=list(queues.values()))
    attempts: defaultdict[str, Counter[int]] = defaultdict(Counter)
    changed = threading.Condition()
    first = HandlerRegistry()

    def handle(message: Message) -> None:
        with changed:
            attempts[message.queue][message.attempt] += 1
            changed.notify_all()
        if message.attempt == 1:
            raise RuntimeError("as planned")

    for queue in queues.values():
        first.add("#", handle, queue=queue)
    with Publisher(site.url, over) as publisher:
        with Worker(site.url, over, first, queues=["full", "gone"]) as worker:
            for name in ("full", "gone"):
                list(publisher.publish_many([(b"{}", name)] * 100, exchange=jobs))
            with changed:
                assert changed.wait_for(lambda: attempts["full"][1] == attempts["gone"][1] == 100, DEADLINE)
            worker.stop()
        list(publisher.publish_many([(b"{}", "full")] * 100, exchange=jobs))  # nobody consumes it: it is full
        site.ctl("delete_queue", "gone")
        assert site.depths("full.retry.10000", "gone.retry.10000") == [100, 100], "they came back before that"
        _wait_until_due(site, "full.retry.10000", "gone.retry.10000")
        with Worker(site.url, over, first, queues=["fine"], declare="skip"):
            list(publisher.publish_many([(b"{}", "fine")] * 20, exchange=jobs))
            with changed:
                assert changed.wait_for(lambda: attempts["fine"][1] == 20, DEADLINE)
            stopwatch.within(1 + 1, lambda timeout: _come_back(changed, attempts, timeout), "retries of 1 s are back")
    with Worker(site.url, over, first), changed:  # declares what was deleted, and makes room
        assert changed.wait_for(lambda: attempts["full"][2] >= 100 and attempts["gone"][2] >= 100, DEADLINE)


def _have_the_broker_try_dead_letters_again_soon(site: Site) -> None:
    """After a second instead of three minutes, as it does for a target that did not confirm."""
    site.node.eval("application:set_env(rabbit, dead_letter_worker_publisher_confirm_timeout, 1000).")


def _wait_until_due(site: Site, *wait_queues: str) -> None:
    """Wait until the broker has taken up every message there, to move it on."""
    pause, until = threading.Event(), time.monotonic() + DEADLINE
    while any(site.depths(*wait_queues)):
        assert time.monotonic() < until
        pause.wait(0.1)


def _come_back(changed: threading.Condition, attempts: dict[str, Counter[int]], timeout: float) -> bool:
    with changed:
        return changed.wait_for(lambda: attempts["fine"][2] == 20, timeout)


@pytest.mark.parametrize("kind", ["CC", "BCC"])
def test_an_attackers_cc_is_not_followed_when_a_message_is_handed_over(kind: str, site: Site) -> None:
    victim = QueueSpec(name="victim", retry=False, dead_letter=False)
    over = Topology(exchanges=[jobs], queues=[work, victim])
    seen = Calls()
    with Worker(site.url, over, failing(seen), queues=["work"]) as worker, looking(site.url) as peer:
        # BCC is taken out by the broker; a dead letter of another broker may still bring it along.
        peer.publish(b"{}", "a", "jobs", application_headers={kind: ["victim"]})
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)
        dead = peer.receive("work.dead", 1)[0].properties["application_headers"]
        assert peer.ready("victim") == 0  # a retry and a dead letter went by it
    assert kind not in dead
    if kind == "CC":
        assert dead["x-taskroute-original-cc"] == ["victim"]


def test_an_expiration_does_not_end_a_retry_early(site: Site) -> None:
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


def test_an_expiration_shorter_than_the_delay_is_kept_back(site: Site) -> None:
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


def test_a_user_id_does_not_close_the_channel_of_a_hand_over(site: Site) -> None:
    seen = Calls()
    with Publisher(site.url, topology):
        pass
    with Worker(site.limited_url, topology, failing(seen), declare="verify") as worker:
        with looking(site.url) as peer:
            peer.publish(b"{}", "a", "jobs", user_id="app")  # which is not the worker's
            seen.wait(2)
            dead = peer.receive("work.dead", 1)[0].properties
        assert InsideWorker(worker).hand_over_generation == 1
    assert "user_id" not in dead
    assert dead["application_headers"]["x-taskroute-original-user-id"] == "app"


def at_a_bounded_pace(site: Site, told: Callable[[str], Calls], break_it: Callable[[], object]) -> Worker:
    """A worker whose dead-letter queue does not take messages; returned when it has tried three times, stopped."""
    seen, refused = Calls(), told("hand_over_failed queue=work to=work.dead")
    registry = HandlerRegistry()

    @registry.handler("#", queue=work, retry=False)
    def handle(body: bytes) -> None:
        seen(body)
        if body == b"bad":
            raise RuntimeError("as planned")

    break_it()
    worker = Worker(site.url, topology, registry, declare="skip", prefetch=4, shutdown_timeout=1)
    worker.start()
    with Publisher(site.url, topology, declare="skip") as publisher:
        began = time.monotonic()
        publisher.publish(b"bad", "a", exchange=jobs)
        for _ in range(20):
            publisher.publish(b"good", "a", exchange=jobs)
        seen.wait(21)  # it holds no other message back
        refused.wait(3)
        assert time.monotonic() - began >= 2 * PAUSE  # no hot loop
        assert seen.calls.count(b"bad") == 1  # nor is it handled again
        assert worker.stats().connections == 1
    return worker


def test_row_40_a_full_dead_letter_queue(site: Site, told: Callable[[str], Calls]) -> None:
    def fill() -> None:
        with looking(site.url) as peer:
            arguments: dict[str, Any] = {"x_queue_type": "quorum", "x_max_length": 1, "x_overflow": "reject-publish"}
            with Publisher(site.url, topology):
                pass
            peer.channel.queue_delete("work.dead")
            peer.queue("work.dead", **arguments)
            while peer.publish(b"fill", "work.dead") == "ack":
                pass

    worker = at_a_bounded_pace(site, told, fill)
    assert ledger.drain(site.url, ["work.dead"])[0] == b"fill"  # room
    assert worker.wait_idle(DEADLINE)
    worker.stop()
    assert ledger.drain(site.url, ["work.dead"]) == [b"bad"]


def _delete_dead_letter_queue(site: Site) -> None:
    with Publisher(site.url, topology):
        pass
    site.ctl("delete_queue", "work.dead")


def test_row_40_a_missing_dead_letter_queue(site: Site, told: Callable[[str], Calls]) -> None:
    worker = at_a_bounded_pace(site, told, partial(_delete_dead_letter_queue, site))
    with Publisher(site.url, topology):  # declares it again
        assert worker.wait_idle(DEADLINE)
    worker.stop()
    assert ledger.drain(site.url, ["work.dead"]) == [b"bad"]


def test_row_40_a_message_that_cannot_be_put_away_returns_to_its_queue_at_the_end(
    site: Site, told: Callable[[str], Calls]
) -> None:
    worker = at_a_bounded_pace(site, told, partial(_delete_dead_letter_queue, site))
    with pytest.raises(Exception, match="1 messages on their way to another queue"):
        worker.stop()
    site.wait_unconsumed()
    assert ledger.drain(site.url, ["work"]) == [b"bad"]


def test_row_42_a_full_dead_letter_queue_of_the_broker_keeps_messages_at_their_source(site: Site) -> None:
    """What expires goes to the dead-letter queue by the broker itself, at least once: full, it waits at its source."""
    full = QueueSpec(name="graveyard", max_length=1, overflow="reject-publish", retry=False, dead_letter=False)
    _have_the_broker_try_dead_letters_again_soon(site)
    source = QueueSpec(name="source", bindings=[jobs.bind("#")], message_ttl=0.1, retry=False, dead_letter="graveyard")
    over = Topology(exchanges=[jobs], queues=[source, full])
    with looking(site.url) as peer, Publisher(site.url, over) as publisher:
        while peer.publish(b"fill", "graveyard") == "ack":
            pass
        filled = peer.ready("graveyard")
        list(publisher.publish_many([(b"%d" % number, "a") for number in range(5)], exchange=jobs))
        peer.pass_time(500)  # they have expired by then
        assert peer.ready("graveyard") == filled
        peer.channel.queue_purge("graveyard")
        bodies: set[bytes] = set()
        while len(bodies) < 5:  # or the test's own time is over
            bodies.update(ledger.drain(site.url, ["graveyard"]))
    assert bodies == {b"0", b"1", b"2", b"3", b"4"}


def test_row_41_a_dead_letter_circle_is_found_before_it_drops_anything() -> None:
    one = QueueSpec(name="one", message_ttl=1, retry=False, dead_letter="two")
    two = QueueSpec(name="two", message_ttl=1, retry=False, dead_letter="one")
    registry = registry_of(lambda body: None, "#", queue=one)
    assert "dead_letter_cycle" in [finding.code for finding in Routes(Topology(queues=[one, two]), registry).check()]


def test_headers_too_many_for_a_frame_do_not_keep_a_message_from_being_put_away(site: Site) -> None:
    seen = Calls()
    registry = registry_of(lambda body: seen(body), "#", queue=work)  # noqa: PLW0108 - it reads the signature
    with Worker(site.url, topology, registry) as worker:
        with looking(site.url) as peer:
            message = amqp.Message(b"{}", application_headers={"CC": ["nobody"] * 9_000, "x": "y" * 26_000})
            peer.write(message, "a", "jobs")
            dead = peer.receive("work.dead", 1)[0].properties["application_headers"]
        assert worker.stats().connections == 1
        assert InsideWorker(worker).hand_over_generation == 1
    assert dead["x-taskroute-reason"] == "too_large"
    assert dead["x-taskroute-headers-dropped"] >= 1
    assert seen.calls == []
