"""A publisher reports what became of a message: confirmed, rejected, unroutable, never written, or unknown."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from tests.faults import ledger
from tests.faults.site import Site
from tests.faults.traffic import Traffic, jobs, topology, work
from tests.kit.calls import Calls
from tests.kit.inside import InsidePublisher, callers_waiting_longer
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, PROCESS_DEADLINE, until

from taskroute import (
    BrokerUnavailableError,
    ExchangeSpec,
    HandlerRegistry,
    MessageInvalidError,
    MessageTooLargeError,
    Publisher,
    PublishRejectedError,
    PublishTimeoutError,
    QueueSpec,
    Topology,
    UnroutableError,
    Worker,
)

plain = QueueSpec(name="plain", type="classic", bindings=[jobs.bind("#")], retry=False, dead_letter=False)
to_plain = Topology(exchanges=[jobs], queues=[plain])


@pytest.mark.row(15)
def test_late_confirm_confirms_its_own_message_alone(site: Site, stopwatch: Stopwatch) -> None:
    """A confirm that comes after its `publish` has timed out confirms none of the messages submitted since."""
    proxy = site.proxy()

    with Publisher(site.url_by(proxy), to_plain, heartbeat=30) as publisher:
        publisher.publish(b"0", "a", exchange=jobs)
        with proxy.stalled("to_client"):
            with stopwatch.timed(1, "publish raises"), pytest.raises(PublishTimeoutError, match="may have it"):
                publisher.publish(b"1", "a", exchange=jobs, message_id="one", timeout=1)

            proxy.stall()  # what comes next does not even reach the broker
            second = publisher.submit(b"2", "a", exchange=jobs, timeout=DEADLINE)
            unroutable = publisher.submit(b"3", "b", exchange="", timeout=DEADLINE)
            until(lambda: second.running() and unroutable.running())  # written
            passed = proxy.passed("to_client")

            proxy.resume("to_client")  # the late confirm of the first arrives, and nothing else can
            assert proxy.wait_passed(passed + 1, DEADLINE)
            InsidePublisher(publisher).session.ask(lambda: None, DEADLINE)  # it reads what there is before it answers
            assert not second.done()

            proxy.resume()
            second.result(DEADLINE)
            assert isinstance(unroutable.exception(DEADLINE), UnroutableError)
        publisher.publish(b"1", "a", exchange=jobs, message_id="one")  # once more, under the same id

    assert sorted(ledger.drain(site.url, ["plain"])) == [b"0", b"1", b"1", b"2"]


@pytest.mark.row(15)
def test_return_and_confirm_each_settle_their_own_message(site: Site) -> None:
    """Of 300 messages in flight those that no queue takes are unroutable, and the others are confirmed."""
    with Publisher(site.url, to_plain) as publisher:
        futures = [
            publisher.submit(b"%d" % number, "a" if number % 3 else "nowhere", exchange=jobs if number % 3 else "")
            for number in range(300)
        ]
        outcomes = [future.exception(DEADLINE) for future in futures]

    for number, outcome in enumerate(outcomes):
        assert (outcome is None) == bool(number % 3), number
    assert sorted(map(int, ledger.drain(site.url, ["plain"]))) == [number for number in range(300) if number % 3]


def test_message_given_up_while_connecting_is_never_written(site: Site) -> None:
    proxy = site.proxy()
    proxy.stall()

    with closing(Publisher(site.url_by(proxy), to_plain)) as publisher:
        with pytest.raises(BrokerUnavailableError):
            publisher.publish(b"given up", "a", exchange=jobs, timeout=0.1)

        proxy.resume()
        publisher.publish(b"written", "a", exchange=jobs)

    assert ledger.drain(site.url, ["plain"]) == [b"written"]


@pytest.mark.row(16)
@pytest.mark.parametrize("transport", ["memory", "rabbitmq"])
def test_unroutable_message_raises_with_exchange_key_and_id(
    transport: str, request: pytest.FixtureRequest, site: Site
) -> None:
    url = site.url if transport == "rabbitmq" else request.getfixturevalue("taskroute_url")

    with Publisher(url, topology) as publisher:
        publisher.publish(b"{}", "a", exchange=jobs, message_id="routed")
        unbound = Topology(exchanges=[jobs, other := ExchangeSpec(name="other")])
        with Publisher(url, unbound) as to_other, pytest.raises(UnroutableError) as caught:
            to_other.publish(b"{}", "video.upload", exchange=other, message_id="lonely")

    for part in ("'lonely'", "'other'", "'video.upload'"):
        assert part in str(caught.value)


@pytest.mark.row(17)
def test_full_queue_rejects_the_message_and_the_connection_stays(site: Site) -> None:
    full = plain.model_copy(update={"max_length": 1, "overflow": "reject-publish"})

    with Publisher(site.url, Topology(exchanges=[jobs], queues=[full])) as publisher:
        publisher.publish(b"1", "a", exchange=jobs)
        for _ in range(20):
            with pytest.raises(PublishRejectedError):
                publisher.publish(b"2", "a", exchange=jobs)
        assert InsidePublisher(publisher).generation == 1

    assert ledger.drain(site.url, ["plain"]) == [b"1"]


@pytest.mark.row(18)
def test_memory_alarm_stops_publishing_and_nothing_else(site: Site, stopwatch: Stopwatch) -> None:
    """`publish` raises at its deadline, handling goes on while failed messages wait, and publishing resumes."""
    failed = Calls()

    def handle(number: str) -> None:
        if int(number) % 40 == 0 and number not in failed.calls:  # some are to be republished while the alarm is on
            failed(number)
            raise RuntimeError("as planned")

    traffic = Traffic(handle)
    with Publisher(site.url, traffic.topology) as publisher:
        traffic.publish(publisher, 40)
        with traffic.running(site.url, prefetch=32) as worker:
            assert traffic.all_done(DEADLINE)  # number 40 was republished, so that the connection for it is open
            worker.stop()
        traffic.publish(publisher, 400)

        with site.node.memory_alarm():
            blocked = stopwatch.timed(1, "publish raises while the alarm is on")
            with blocked, pytest.raises((PublishTimeoutError, BrokerUnavailableError)):
                publisher.publish(b"{}", "a", exchange=jobs, timeout=1, message_id="blocked")
            until(lambda: InsidePublisher(publisher).session.is_blocked)
            with pytest.raises(BrokerUnavailableError, match="blocked"):  # known by now, so that nothing is written
                publisher.publish(b"{}", "a", exchange=jobs, timeout=1)

            waiting = publisher.submit(b'{"id": 0}', "a", exchange="", timeout=10 * DEADLINE)
            with traffic.running(site.url, prefetch=32) as worker:
                # 400 messages, of which 10 fail once: all the others come, while those wait to be republished.
                stopwatch.within(20, traffic.done(40 + 390), "390 of 400 messages handled during the alarm")
                failed.wait(11)
                assert not waiting.done()

                site.node.ctl("set_vm_memory_high_watermark", "0.4")
                stopwatch.within(2, lambda timeout: waiting.exception(timeout) or True, "publishing goes on after it")
                assert isinstance(waiting.exception(), UnroutableError)  # answered by the broker
                assert traffic.all_done(DEADLINE)
                assert worker.stats().connections == 1

    assert traffic.verdict(max_duplicates=0, min_confirmed=440).problems == ()


@pytest.mark.row(19)
def test_broker_that_stops_reading_half_a_body_makes_publish_raise(
    site: Site, stopwatch: Stopwatch, logged: Callable[[str], Calls]
) -> None:
    """The connection with half a message on it is discarded, and the next message goes out on a new one."""
    proxy, lost = site.proxy(), logged("connection_lost session=taskroute-publisher ")

    with Publisher(site.url_by(proxy), to_plain, heartbeat=1) as publisher:
        body = b"x" * 16_000_000  # more than the buffers on the way take
        with proxy.stalled("to_broker"):
            with stopwatch.timed(2, "publish of 16 MB raises"), pytest.raises(PublishTimeoutError):
                publisher.publish(body, "a", exchange=jobs, timeout=2)
            stopwatch.within(10 + 2, lost.happened(), "the connection with half a message is given up")
            proxy.reset()

        publisher.publish(b"after", "a", exchange=jobs)
        assert InsidePublisher(publisher).generation == 2

    assert ledger.drain(site.url, ["plain"])[-1] == b"after"


@pytest.mark.row(20)
def test_message_over_a_limit_is_never_written(site: Site) -> None:
    """A body or headers over the limit raise before anything is written; those just within it are published."""
    with Publisher(site.url, to_plain, max_body_size=1000) as publisher:
        with pytest.raises(MessageTooLargeError, match="1001 bytes, the limit is 1000"):
            publisher.publish(b"x" * 1001, "a", exchange=jobs)
        publisher.publish(b"x" * 1000, "a", exchange=jobs)

        with pytest.raises(MessageTooLargeError, match=r"headers take .* the limit is 65536"):
            publisher.publish(b"", "a", exchange=jobs, headers={"x-large": "x" * 65536})
        publisher.publish(b"", "a", exchange=jobs, headers={"x-large": "x" * 65000})

        assert InsidePublisher(publisher).generation == 1
    assert [len(body) for body in ledger.drain(site.url, ["plain"])] == [1000, 0]


@pytest.mark.row(21)
def test_close_waits_for_submitted_messages(site: Site) -> None:
    publisher = Publisher(site.url, to_plain)
    futures = [publisher.submit(b"%d" % number, "a", exchange=jobs) for number in range(500)]

    publisher.close()

    assert all(future.done() and future.exception() is None for future in futures)
    assert len(ledger.drain(site.url, ["plain"])) == 500


@pytest.mark.row(21)
def test_process_that_exits_after_submit_has_published_everything(site: Site) -> None:
    program = f"""
from taskroute import Publisher, Topology
publisher = Publisher({site.url!r}, Topology.model_validate_json({to_plain.model_dump_json()!r}))
for number in range(500):
    publisher.submit(b"x", "a", exchange="jobs")
"""

    subprocess.run([sys.executable, "-c", program], check=True, timeout=PROCESS_DEADLINE)
    assert len(ledger.drain(site.url, ["plain"])) == 500


@pytest.mark.row(21)
@pytest.mark.parametrize(
    ("stage", "error"), [("connected", PublishTimeoutError), ("connecting", BrokerUnavailableError)]
)
def test_close_at_its_deadline_names_unconfirmed_messages(
    stage: str, error: type[Exception], site: Site, stopwatch: Stopwatch
) -> None:
    """They were written, and nobody knows what became of them, or never written. Their futures say the same."""
    proxy = site.proxy()
    publisher = Publisher(site.url_by(proxy), to_plain)
    if stage == "connected":
        publisher.start()
    proxy.stall()
    futures = [publisher.submit(b"x", "a", exchange=jobs, message_id=f"id-{number}") for number in range(15)]

    timed = stopwatch.timed(1 + 2, "close(timeout=1) with a silent broker")
    with timed, pytest.raises(error, match=r"15 messages unconfirmed.*'id-0', 'id-1'.*\.\.\.$"):
        publisher.close(timeout=1)

    assert all(isinstance(future.exception(0), error) for future in futures)
    proxy.resume()


@pytest.mark.row(87)
def test_close_tells_written_messages_from_those_never_written(site: Site) -> None:
    """Each future has the outcome of its own message."""
    proxy = site.proxy()
    publisher = Publisher(site.url_by(proxy), to_plain)
    publisher.start()
    with proxy.stalled("to_client"), callers_waiting_longer(DEADLINE):
        written = publisher.submit(b"x", "a", exchange=jobs, message_id="one")
        until(written.running)
        InsidePublisher(publisher).block()
        queued = publisher.submit(b"x", "a", exchange=jobs, message_id="two")

        text = r"1 never written, safe to publish again .*'two'; 1 written, whose outcome is unknown, .*'one'$"
        with pytest.raises(PublishTimeoutError, match=text):
            publisher.close(0.2)

    assert isinstance(written.exception(0), PublishTimeoutError)
    assert isinstance(queued.exception(0), BrokerUnavailableError)
    assert str(queued.exception(0)).endswith("the last one was closed")


@pytest.mark.row(87)
def test_process_that_exits_without_a_broker_says_what_it_has_not_published(site: Site) -> None:
    """The last line, on stderr if there is no logging; the exit code is the program's own."""
    program = f"""
import sys
from taskroute import Publisher, Topology
topology = Topology.model_validate_json({to_plain.model_dump_json()!r})
publisher = Publisher({site.deserted_url!r}, topology, timeout=0.5)
for number in range(15):
    publisher.submit(b"x", "a", exchange="jobs", message_id=f"id-{{number}}", timeout=60)  # none is given up before
sys.exit(4)
"""

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PROCESS_DEADLINE, check=False
    )

    assert done.returncode == 4
    *before, line = done.stderr.splitlines()
    assert all(each.startswith("connect_failed ") for each in before)
    assert line.startswith("unpublished_at_exit session=taskroute-publisher never_written=15 unknown=0: ")
    assert "'id-0', 'id-1'" in line


@pytest.mark.row(15)
def test_refused_message_that_closes_the_channel_fails_alone(site: Site) -> None:
    """The broker closes the channel over a message to `secret`, where the user may not write; the others arrive."""
    secret = ExchangeSpec(name="secret")
    both = Topology(exchanges=[jobs, secret], queues=[plain])
    with Publisher(site.url, both):
        pass
    site.ctl("set_permissions", "limited", "", "jobs|amq.default", ".*")

    with Publisher(site.limited_url, both, declare="verify", timeout=DEADLINE) as publisher:
        futures = [
            publisher.submit(b"%d" % number, "a", exchange=secret if number in (7, 31) else jobs)
            for number in range(60)
        ]
        outcomes = [future.exception(DEADLINE) for future in futures]

    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [7, 31]
    assert all(isinstance(outcomes[number], PublishRejectedError) for number in (7, 31))
    assert "secret" in str(outcomes[7])
    assert {int(body) for body in ledger.drain(site.url, ["plain"])} == set(range(60)) - {7, 31}


@pytest.mark.row(20)
@pytest.mark.parametrize("headers", [{"CC": "a.b"}, {"BCC": [1]}, {"x": object()}, {"x": [[2**70]]}])
def test_header_that_would_close_the_channel_is_refused(site: Site, headers: dict[str, Any]) -> None:
    with Publisher(site.url, to_plain) as publisher:
        with pytest.raises(MessageInvalidError, match="header"):
            publisher.publish(b"", "a", exchange=jobs, headers=headers)
        publisher.publish(b"", "a", exchange=jobs)
        assert InsidePublisher(publisher).generation == 1


@pytest.mark.row(32)
def test_submit_without_room_raises_at_its_deadline(site: Site, stopwatch: Stopwatch) -> None:
    proxy = site.proxy()

    with Publisher(site.url_by(proxy), to_plain, max_in_flight=5) as publisher, proxy.stalled():
        for _ in range(5):
            publisher.submit(b"x", "a", exchange=jobs)

        began = time.monotonic()
        with stopwatch.timed(1, "submit without room"), pytest.raises(BrokerUnavailableError, match="no room"):
            publisher.submit(b"x", "a", exchange=jobs, timeout=1)
        assert time.monotonic() - began >= 1


@pytest.mark.row(40)
def test_worker_that_may_not_republish_keeps_handling(site: Site, logged: Callable[[str], Calls]) -> None:
    """A failed message that may not be republished stays unacknowledged, and holds no other back."""
    registry, refused, seen = HandlerRegistry(), logged("hand_over_failed queue=work"), Calls()

    @registry.handler("#", queue=work)
    def handle(body: bytes) -> None:
        seen(body)
        if body == b"bad":
            raise RuntimeError("as planned")

    with Publisher(site.url, topology) as publisher:
        publisher.publish(b"bad", "a", exchange=jobs)
        with Worker(site.read_only_url, topology, registry, declare="verify", shutdown_timeout=1) as worker:
            for number in range(10):
                publisher.publish(b"%d" % number, "a", exchange=jobs)
            seen.wait(11)
            refused.wait(2)
            assert worker.stats().connections == 1
            with pytest.raises(Exception, match="on their way to another queue"):
                worker.stop()

    site.wait_ready("work", 1)
    assert ledger.drain(site.url, ["work"]) == [b"bad"]
