"""Messages that are wrong: too large, unreadable, packed, forged. Each is put away at once and good traffic goes on."""

from __future__ import annotations

import bz2
import json
import os
import pickle
import threading
import zlib
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
from tests.faults.stopwatch import Stopwatch
from tests.faults.traffic import jobs
from tests.kit.calls import Calls
from tests.kit.peer import Peer, looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE

from taskroute import HandlerRegistry, Message, Publisher, QueueSpec, RetryPolicy, Topology, Worker

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


def test_row_33_bodies_that_are_no_job_are_dead_letters_at_the_first_attempt(site: Site) -> None:
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


def test_row_33_nan_within_a_text_is_no_nan(site: Site) -> None:
    with Bench(site) as bench:
        bench.send(b'{"id": 77, "data": "NaN and Infinity"}')
        bench.seen.wait_for(77)


def test_row_33_any_bytes_at_all(site: Site) -> None:
    with Bench(site) as bench:

        @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        @given(body=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
        def send(body: bytes) -> None:
            bench.send(body)
            assert bytes(bench.dead().body) == body

        send()
        bench.still_works(1)


def test_row_34_packed_and_foreign_bodies_are_neither_unpacked_nor_believed(
    site: Site, tmp_path: Path, stopwatch: Stopwatch
) -> None:
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(canary),)

    bomb = zlib.compress(b"[" + b" " * 80_000_000 + b"]", 9)
    assert len(bomb) < 100_000
    cases: list[tuple[bytes, dict[str, Any]]] = [
        (pickle.dumps(Payload()), {"content_type": "application/x-python-serialize"}),
        (pickle.dumps(Payload()), {}),
        (bomb, {"content_type": "application/json", "application_headers": {"compression": "application/x-gzip"}}),
        (bz2.compress(b"x" * 50_000_000), {"content_type": "application/data", "content_encoding": "bz2"}),
        (b'{"id": 1}', {"content_encoding": "gzip"}),
        (b'{"id": +AGE-}', {"content_encoding": "utf-7"}),
        (b"\xff\xfe{\x00}\x00", {"content_encoding": "utf-16"}),
        (b"id: 1", {"content_type": "application/x-yaml"}),
        (b'{"__type__": "x"}', {"content_type": "text/plain"}),
        (b"not base 64!", {"application_headers": {"body_encoding": "base64"}}),
    ]
    process = psutil.Process()
    with Bench(site) as bench:
        bench.still_works(0)
        before = process.memory_info().rss
        for number, (body, properties) in enumerate(cases, 1):
            bench.send(body, **properties)
            dead = bench.dead()
            assert bytes(dead.body) == body
            assert dead.properties["application_headers"]["x-taskroute-reason"] in (
                "unsupported_content",
                "invalid_body",
            )
            for name in ("content_type", "content_encoding"):
                assert dead.properties.get(name) == properties.get(name)
            bench.still_works(number)
        grown = process.memory_info().rss - before
    stopwatch.note(f"memory {grown / 1e6:+.1f} MB (promise: 10 MB)")
    assert grown <= 10_000_000
    assert not canary.exists()


def test_row_34_a_type_tag_stays_a_dict(site: Site) -> None:
    with Bench(site) as bench:
        bench.send(b'{"id": 5, "data": {"__type__": "datetime", "__value__": "2020-01-01"}}')
        bench.seen.wait_for(5)


def test_row_35_a_key_without_a_handler(site: Site) -> None:
    registry = registry_of(lambda body: None, "known.#", queue=work)
    with running(site.url, topology, registry) as (worker, publisher):
        publisher.publish({"id": 1}, "unknown", exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            dead = peer.receive("work.dead", 1)[0]
    assert dead.properties["application_headers"]["x-taskroute-reason"] == "no_handler"
    assert dead.properties["application_headers"]["x-taskroute-attempt"] == 1


def test_a_body_over_the_limit_and_one_at_it(site: Site) -> None:
    at = b'{"id": 1, "data": "' + b"x" * (100_000 - 21) + b'"}'
    assert len(at) == 100_000
    with Bench(site) as bench:
        bench.send(at)
        bench.seen.wait_for(1)
        bench.send(at + b" ")
        dead = bench.dead()
        assert dead.properties["application_headers"]["x-taskroute-reason"] == "too_large"
        assert bytes(dead.body) == at + b" "
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


BAD_HEADERS = {
    "nested ten thousand deep": raw_header(nested(10_000)),
    "a timestamp in the year 10,000 and beyond": raw_header(item(b"t", b"T", (2**62).to_bytes(8, "big"))),
    "a name that is not UTF-8": raw_header(item(b"\xff\xfe", b"S", long(b"x"))),
    "more than the limit": raw_header(item(b"big", b"S", long(b"x" * 100_000))),
    "as much as a frame takes": raw_header(item(b"big", b"S", long(b"x" * 130_900))),
    "a message id that is not UTF-8": b"\x00\x80" + b"\x02\xff\xfe",
    "a content type that is not UTF-8": b"\x80\x00" + b"\x02\xff\xfe",
}
REASONS = {"more than the limit": "too_large", "as much as a frame takes": "too_large"}


class RawMessage(amqp.Message):  # type: ignore[misc]
    """A message whose properties are given as bytes."""

    __slots__ = ("raw",)

    def _serialize_properties(self) -> bytes:
        return bytes(self.raw)


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_headers_that_cannot_be_read_are_put_away_and_not_met_again(name: str, site: Site) -> None:
    with Bench(site) as bench:
        message = RawMessage(b'{"id": 1}')
        message.raw = BAD_HEADERS[name]
        bench.peer.write(message, "a", "jobs")
        dead = bench.dead()
        headers = dead.properties["application_headers"]
        assert bytes(dead.body) == b'{"id": 1}'
        assert headers["x-taskroute-reason"] == REASONS.get(name, "invalid_header")
        assert headers["x-taskroute-routing-key"] == "a"
        bench.peer.flush()
        bench.still_works(2)
        assert bench.seen.calls == [2]


@pytest.mark.parametrize("key", [b"caf\xe9", b"\xff\xfe.a", b"a\x00b", b"a\nb\x1b[31m"])
def test_routing_keys_that_are_no_text(key: bytes, site: Site, caplog: pytest.LogCaptureFixture) -> None:
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


def test_row_41_forged_headers_are_not_believed(site: Site) -> None:
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
        "x-death": [{"queue": "work.retry.50", "reason": "expired", "count": 7, "exchange": ""}],
        "x-delivery-count": 99,
    }
    ours = {**forged, "x-taskroute-queue": "work"}
    with running(site.url, topology, registry) as (worker, publisher):
        publisher.publish({"id": 1}, "a", exchange=jobs, headers=forged)
        seen.wait(2)
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            headers = peer.receive("work.dead", 1)[0].properties["application_headers"]
            # Straight to the queue through the default exchange is where the headers do count: they are clamped.
            publisher.publish({"id": 2}, "work", exchange="", headers={**ours, "x-taskroute-attempt": 2**62})
            peer.receive("work.dead", 1)
            publisher.publish({"id": 3}, "work", exchange="", headers={**ours, "x-taskroute-attempt": -5})
            seen.wait(5)
            peer.receive("work.dead", 1)
    assert seen.calls[:2] == [(1, "a", "jobs"), (2, "a", "jobs")]
    assert seen.calls[2][0] == 1_000_000
    assert [call[0] for call in seen.calls[3:]] == [1, 2]
    assert headers["x-taskroute-attempt"] == 2
    assert headers["x-taskroute-routing-key"] == "a"
    assert "x-death" not in headers


def test_a_good_message_is_handled_while_bad_ones_pour_in(site: Site) -> None:
    with Bench(site, prefetch=8) as bench:
        pouring = threading.Thread(target=bench_send, args=(site, 300))
        pouring.start()
        for number in range(50):
            bench.send(json.dumps({"id": number}).encode())
        pouring.join()
        bench.seen.wait(50)
        assert bench.worker.wait_idle(DEADLINE)
        assert bench.worker.stats().dead_lettered == {"work": 300}
    assert sorted(bench.seen.calls) == list(range(50))


def bench_send(site: Site, count: int) -> None:
    with Publisher(site.url, topology) as publisher:
        bodies = list(BAD_BODIES.values())
        for outcome in publisher.publish_many(((bodies[n % len(bodies)], "a") for n in range(count)), exchange=jobs):
            assert not isinstance(outcome, Exception)


def test_dead_letters_keep_their_body_and_properties(site: Site) -> None:
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
