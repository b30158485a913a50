"""Messages that are too large, unreadable, compressed or forged: dead-lettered at once, and good traffic goes on."""

from __future__ import annotations

import bz2
import json
import os
import pickle
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import amqp
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from tests.faults import ledger
from tests.faults.site import Site
from tests.faults.traffic import jobs
from tests.kit.calls import Calls, Events
from tests.kit.inside import InsideWorker
from tests.kit.peer import Peer, looking
from tests.kit.running import registry_of, running
from tests.kit.stopwatch import Stopwatch
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import HandlerRegistry, Message, Publisher, QueueSpec, RetryPolicy, Topology, Worker
from taskroute.instrumentation import Retried
from taskroute.message.undecoded import UndecodedValue

work = QueueSpec(name="work", type="classic", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(0.05,)))
topology = Topology(exchanges=[jobs], queues=[work])


class Job(BaseModel):
    id: int
    data: Any = None


class Bench:
    """A worker under a user with no right to configure, a sender of raw messages, and what came of them."""

    def __init__(self, site: Site, **options: Any) -> None:
        self.site = site
        self.seen = Calls()
        registry = HandlerRegistry()

        @registry.handler("#", queue=work)
        def handle(job: Job) -> None:
            self.seen(job.id)

        with Publisher(site.url, topology):
            pass  # declares
        self.worker = Worker(
            site.limited_url, topology, registry, threads=2, declare="verify", max_body_size=100_000, **options
        )

    def __enter__(self) -> Self:
        self.worker.start()
        self.peer = Peer(self.site.url)
        self.peer.channel.auto_decode = False
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.close()
        self.worker.stop()

    def send(self, body: bytes, key: str = "a", **properties: Any) -> None:
        assert self.peer.publish(body, key, "jobs", **properties) == "ack"

    def dead(self) -> Any:
        """The next dead letter."""
        return self.peer.receive("work.dead", 1)[0]

    def still_works(self, number: int) -> None:
        self.send(json.dumps({"id": number}).encode())
        self.seen.wait_for(number)
        assert self.worker.stats().connections == 1, "the connection did not survive"


BAD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "truncated": b'{"id": 1',
    "not UTF-8": b'{"id": 1, "data": "\xff\xfe"}',
    "lone surrogate": b'{"id": 1, "data": "\\ud800"}',
    "NaN": b'{"id": 1, "data": NaN}',
    "Infinity": b'{"id": 1, "data": [-Infinity]}',
    "an integer of a million digits": b'{"id": ' + b"9" * 90_000 + b"}",
    "nested a hundred thousand deep": b"[" * 99_000,
    "nested and closed": b'{"id": 1, "data": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "another type": b'{"id": "seven"}',
    "trailing text": b'{"id": 1} {"id": 2}',
}


@pytest.mark.row(33)
def test_invalid_body_is_dead_lettered_at_the_first_attempt(site: Site) -> None:
    """The handler does not see it, and the next valid message is handled on the same connection."""
    with Bench(site) as bench:
        for number, (name, body) in enumerate(BAD_BODIES.items()):
            bench.send(body)
            dead = bench.dead()
            headers = dead.properties["application_headers"]
            assert bytes(dead.body) == body, name
            assert headers["x-taskroute-reason"] == "invalid_body", name
            assert headers["x-taskroute-attempt"] == 1, name
            bench.still_works(number)
        assert sorted(bench.seen.calls) == list(range(len(BAD_BODIES)))


@pytest.mark.row(33)
def test_nan_inside_a_json_string_is_handled(site: Site) -> None:
    with Bench(site) as bench:
        bench.send(b'{"id": 77, "data": "NaN and Infinity"}')
        bench.seen.wait_for(77)


@pytest.mark.row(33)
def test_random_bytes_are_dead_lettered_as_sent(site: Site) -> None:
    with Bench(site) as bench:

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(body=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
        def send(body: bytes) -> None:
            bench.send(body)
            assert bytes(bench.dead().body) == body

        send()
        bench.still_works(1)


def assert_dead_lettered_as_sent(bench: Bench, body: bytes, properties: dict[str, Any]) -> None:
    bench.send(body, **properties)
    dead = bench.dead()
    assert bytes(dead.body) == body
    assert dead.properties["application_headers"]["x-taskroute-reason"] in ("unsupported_content", "invalid_body")
    for name in ("content_type", "content_encoding"):
        assert dead.properties.get(name) == properties.get(name)


@pytest.mark.row(34)
def test_pickled_body_is_dead_lettered_and_not_unpickled(site: Site, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(canary),)

    declared: list[dict[str, Any]] = [{"content_type": "application/x-python-serialize"}, {}]

    with Bench(site) as bench:
        for number, properties in enumerate(declared):
            assert_dead_lettered_as_sent(bench, pickle.dumps(Payload()), properties)
            bench.still_works(number)

    assert not canary.exists()


@pytest.mark.row(34)
def test_compressed_body_is_dead_lettered_and_not_inflated(site: Site, stopwatch: Stopwatch) -> None:
    """A body that inflates to far more than the limit costs no memory, whatever its headers say."""
    bomb = zlib.compress(b"[" + b" " * 80_000_000 + b"]", 9)
    assert len(bomb) < 100_000
    cases: list[tuple[bytes, dict[str, Any]]] = [
        (bomb, {"content_type": "application/json", "application_headers": {"compression": "application/x-gzip"}}),
        (bz2.compress(b"x" * 50_000_000), {"content_type": "application/data", "content_encoding": "bz2"}),
    ]
    process = psutil.Process()

    with Bench(site) as bench:
        bench.still_works(0)
        before = process.memory_info().rss
        for number, (body, properties) in enumerate(cases, 1):
            assert_dead_lettered_as_sent(bench, body, properties)
            bench.still_works(number)
        grown = process.memory_info().rss - before

    stopwatch.note(f"memory {grown / 1e6:+.1f} MB (promise: 10 MB)")
    assert grown <= 10_000_000


@pytest.mark.row(34)
def test_body_declared_as_foreign_content_is_dead_lettered_as_sent(site: Site) -> None:
    """Encodings, types and codecs other than UTF-8 JSON are not followed, even where the body is valid JSON."""
    cases: list[tuple[bytes, dict[str, Any]]] = [
        (b'{"id": 1}', {"content_encoding": "gzip"}),
        (b'{"id": +AGE-}', {"content_encoding": "utf-7"}),
        (b"\xff\xfe{\x00}\x00", {"content_encoding": "utf-16"}),
        (b"id: 1", {"content_type": "application/x-yaml"}),
        (b'{"__type__": "x"}', {"content_type": "text/plain"}),
        (b"not base 64!", {"application_headers": {"body_encoding": "base64"}}),
    ]

    with Bench(site) as bench:
        for number, (body, properties) in enumerate(cases):
            assert_dead_lettered_as_sent(bench, body, properties)
            bench.still_works(number)


@pytest.mark.row(34)
def test_type_tag_in_a_body_stays_a_dict(site: Site) -> None:
    with Bench(site) as bench:
        bench.send(b'{"id": 5, "data": {"__type__": "datetime", "__value__": "2020-01-01"}}')
        bench.seen.wait_for(5)


@pytest.mark.row(35)
def test_message_without_a_handler_is_dead_lettered(site: Site) -> None:
    registry = registry_of(lambda body: None, "known.#", queue=work)

    with running(site.url, topology, registry) as (worker, publisher):
        publisher.publish({"id": 1}, "unknown", exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            dead = peer.receive("work.dead", 1)[0]

    assert dead.properties["application_headers"]["x-taskroute-reason"] == "no_handler"
    assert dead.properties["application_headers"]["x-taskroute-attempt"] == 1


of_old = QueueSpec(name="work", bindings=[jobs.bind("old.#")], retry=RetryPolicy(delays=(0.2,)))
of_new = of_old.model_copy(update={"bindings": (jobs.bind("old.#"), jobs.bind("new.#"))})
old, new = (Topology(exchanges=[jobs], queues=[queue]) for queue in (of_old, of_new))


@pytest.mark.row(86)
def test_key_bound_by_a_newer_version_waits_for_its_worker(site: Site, logged: Callable[[str], Calls]) -> None:
    """While a deployment rolls, an old worker retries what only the new one handles."""
    seen, events, failed = Calls(), Events(), logged("message_failed")

    def handle(message: Message) -> None:
        seen(message.routing_key, message.attempt)

    with Publisher(site.url, new) as publisher:
        with Worker(site.url, old, registry_of(handle, "old.#", queue="work"), instrumentation=[events]) as old_worker:
            with InsideWorker(old_worker).republishing_held():  # until it stops, so that it does not get the retry
                publisher.publish({}, "new.a", exchange=jobs)
                failed.wait()
                stopping = in_thread(old_worker.stop)
                until(lambda: InsideWorker(old_worker).is_stopping)
            stopping.result(DEADLINE)
            retried = events.wait(Retried)
        with Worker(site.url, new, registry_of(handle, "#", queue="work")):
            seen.wait()

    assert (retried.reason, retried.handler) == ("unknown_key", None)
    assert seen.calls == [("new.a", 2)]


@pytest.mark.row(86)
def test_key_bound_by_somebody_else_is_dead_lettered_after_its_last_attempt(site: Site) -> None:
    """A key that the worker's own topology routes to the queue is dead-lettered at once."""
    with (
        Publisher(site.url, new) as publisher,
        Worker(site.url, old, registry_of(lambda body: None, "old.a", queue="work")) as worker,
    ):
        publisher.publish({}, "new.a", exchange=jobs)
        publisher.publish({}, "old.b", exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            letters = [letter.properties["application_headers"] for letter in peer.receive("work.dead", 2)]

    reasons = [(letter["x-taskroute-reason"], letter["x-taskroute-attempt"]) for letter in letters]
    assert sorted(reasons) == [("no_handler", 1), ("unknown_key", 2)]


@pytest.mark.row(20)
def test_body_over_the_limit_is_dead_lettered_and_one_at_it_handled(site: Site) -> None:
    largest = b'{"id": 1, "data": "' + b"x" * (100_000 - 21) + b'"}'
    assert len(largest) == 100_000

    with Bench(site) as bench:
        bench.send(largest)
        bench.seen.wait_for(1)

        bench.send(largest + b" ")
        dead = bench.dead()
        assert dead.properties["application_headers"]["x-taskroute-reason"] == "too_large"
        assert bytes(dead.body) == largest + b" "
        bench.still_works(2)


def raw_header(*items: bytes) -> bytes:
    """The flags and the table of a content header that holds these encoded items, as no honest client writes them."""
    table = b"".join(items)
    return b"\x20\x00" + len(table).to_bytes(4, "big") + table


def item(name: bytes, kind: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + kind + value


def long(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value


def nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = item(b"n", b"F", long(value))
    return value


TOO_LATE = item(b"t", b"T", (2**62).to_bytes(8, "big"))
TOO_LARGE = {
    "nested ten thousand deep": raw_header(nested(10_000)),
    "more than the limit": raw_header(item(b"big", b"S", long(b"x" * 100_000))),
    "as much as a frame takes": raw_header(item(b"big", b"S", long(b"x" * 130_900))),
}
UNDECODABLE = {
    "nested five thousand deep": raw_header(nested(5_000)),
    "a timestamp in the year 10,000 and beyond": raw_header(TOO_LATE),
    "a name that is not UTF-8": raw_header(item(b"\xff\xfe", b"S", long(b"x"))),
    "a message id that is not UTF-8": b"\x00\x80" + b"\x02\xff\xfe",
}


class RawMessage(amqp.Message):  # type: ignore[misc]
    """A message whose properties are given as bytes."""

    __slots__ = ("raw",)

    def _serialize_properties(self) -> bytes:
        return bytes(self.raw)


@pytest.mark.row(41)
@pytest.mark.parametrize("name", TOO_LARGE)
def test_headers_that_are_too_large_are_dead_lettered_once(name: str, site: Site) -> None:
    """The dead letter keeps the body and names the routing key, and the connection goes on."""
    with Bench(site) as bench:
        message = RawMessage(b'{"id": 1}')
        message.raw = TOO_LARGE[name]
        bench.peer.write(message, "a", "jobs")
        dead = bench.dead()

        headers = dead.properties["application_headers"]
        assert bytes(dead.body) == b'{"id": 1}'
        assert headers["x-taskroute-reason"] == "too_large"
        assert headers["x-taskroute-routing-key"] == "a"

        bench.peer.flush()
        bench.still_works(2)
        assert bench.seen.calls == [2]


@pytest.mark.row(41)
@pytest.mark.parametrize("name", UNDECODABLE)
def test_message_with_an_undecodable_header_is_handled(name: str, site: Site) -> None:
    with Bench(site) as bench:
        message = RawMessage(b'{"id": 1}')
        message.raw = UNDECODABLE[name]
        bench.peer.write(message, "a", "jobs")

        bench.seen.wait_for(1)
        bench.still_works(2)


@pytest.mark.row(41)
def test_dead_letter_keeps_an_undecodable_header_byte_for_byte(site: Site) -> None:
    """It keeps the other headers and properties, too."""
    tenant = item(b"tenant", b"S", long(b"acme"))
    with Bench(site) as bench:
        message = RawMessage(b"no job")
        message.raw = b"\x20\x80" + raw_header(tenant, TOO_LATE)[2:] + b"\x02id"
        bench.peer.write(message, "a", "jobs")
        dead = bench.dead()

        headers = dead.properties["application_headers"]
        assert headers["x-taskroute-reason"] == "invalid_body"
        assert (headers["t"], headers["tenant"]) == (UndecodedValue(b"T", (2**62).to_bytes(8, "big")), "acme")
        assert dead.properties["message_id"] == "id"


@pytest.mark.row(50)
@pytest.mark.parametrize("key", [b"caf\xe9", b"\xff\xfe.a", b"a\x00b", b"a\nb\x1b[31m"])
def test_binary_routing_key_is_dead_lettered_and_forges_no_log_line(
    key: bytes, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """A routing key that is not UTF-8, or has control characters, is escaped wherever it is logged."""

    class Key(str):
        """Encodes itself as the bytes that it was made of."""

        __slots__ = ()

        def encode(self, *_: object) -> bytes:
            return key

    with Bench(site) as bench:
        bench.peer.write(amqp.Message(b"no job"), Key("x"), "jobs")
        dead = bench.dead()

        headers = dead.properties["application_headers"]
        assert bytes(dead.body) == b"no job"
        is_text = b"\xe9" not in key and b"\xff" not in key
        assert headers["x-taskroute-reason"] == ("invalid_body" if is_text else "invalid_key")
        bench.peer.flush()
        bench.still_works(2)

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("taskroute")]
    assert any("message_failed" in line for line in lines)
    assert not any(character in line for line in lines for character in "\n\r\x00\x1b")


WAITED = {"queue": "work.retry.50", "reason": "expired", "count": 7, "exchange": "", "routing-keys": ["work.retry.50"]}


@pytest.mark.row(41)
def test_forged_headers_change_neither_attempt_nor_routing_key(site: Site) -> None:
    """Headers of retries count only on a message straight to the queue, as a wait queue sends it, and are clamped."""
    seen, registry = Calls(), HandlerRegistry()

    @registry.handler("#", queue=work)
    def handle(message: Message) -> None:
        seen(message.attempt, message.routing_key, message.exchange)
        raise RuntimeError("as planned")

    forged = {
        "x-taskroute-attempt": 99,
        "x-taskroute-routing-key": "admin.delete",
        "x-taskroute-exchange": "internal",
        "x-taskroute-queue": "other",
        "x-death": [WAITED],
        "x-delivery-count": 99,
    }
    forged_for_work = {**forged, "x-taskroute-queue": "work"}

    with running(site.url, topology, registry) as (worker, publisher):
        publisher.publish({"id": 1}, "a", exchange=jobs, headers=forged)
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            headers = peer.receive("work.dead", 1)[0].properties["application_headers"]
            # Straight to the queue through the default exchange is where the headers do count: they are clamped.
            publisher.publish({"id": 2}, "work", exchange="", headers={**forged_for_work, "x-taskroute-attempt": 2**62})
            peer.receive("work.dead", 1)
            publisher.publish({"id": 3}, "work", exchange="", headers={**forged_for_work, "x-taskroute-attempt": -5})
            seen.wait(5)
            peer.receive("work.dead", 1)

    assert seen.calls[:2] == [(1, "a", "jobs"), (2, "a", "jobs")]
    assert seen.calls[2][0] == 1_000_000
    assert [call[0] for call in seen.calls[3:]] == [1, 2]
    assert headers["x-taskroute-attempt"] == 2
    assert headers["x-taskroute-routing-key"] == "a"
    assert "x-death" not in headers


@pytest.mark.row(33)
def test_valid_messages_are_handled_while_invalid_ones_pour_in(site: Site) -> None:
    with Bench(site, prefetch=8) as bench:
        pouring = threading.Thread(target=publish_invalid_bodies, args=(site, 300))
        pouring.start()

        for number in range(50):
            bench.send(json.dumps({"id": number}).encode())

        pouring.join()
        bench.seen.wait(50)
        assert bench.worker.wait_idle(DEADLINE)
        assert bench.worker.stats().dead_lettered == {"work": 300}

    assert sorted(bench.seen.calls) == list(range(50))


def publish_invalid_bodies(site: Site, count: int) -> None:
    with Publisher(site.url, topology) as publisher:
        bodies = list(BAD_BODIES.values())
        for outcome in publisher.publish_many(((bodies[n % len(bodies)], "a") for n in range(count)), exchange=jobs):
            assert not isinstance(outcome, Exception)


@pytest.mark.row(34)
def test_dead_letter_keeps_its_body_and_properties(site: Site) -> None:
    body = bytes(range(256)) * 4

    with Bench(site) as bench:
        bench.send(
            body,
            content_encoding="utf-7",
            content_type="application/json",
            message_id="id-1",
            correlation_id="c",
            reply_to="r",
            type="t",
            timestamp=1_700_000_000,
            application_headers={"x-tenant": "acme", "n": 7, "deep": {"list": [1, "two", None, True]}},
        )
        dead = bench.dead()

    properties = dead.properties
    assert bytes(dead.body) == body
    assert {name: properties[name] for name in ("message_id", "correlation_id", "reply_to", "type", "timestamp")} == {
        "message_id": "id-1",
        "correlation_id": "c",
        "reply_to": "r",
        "type": "t",
        "timestamp": 1_700_000_000,
    }

    headers = properties["application_headers"]
    assert headers["x-tenant"] == "acme"
    assert headers["deep"] == {"list": [1, "two", None, True]}
    assert headers["x-taskroute-exchange"] == "jobs"
    assert "id-1" not in headers["x-taskroute-error"]
    assert ledger.drain(site.url, ["work"]) == []
