"""Row 50, security: TLS, passwords, rights and logs. Hostile messages are in test_messages."""

from __future__ import annotations

import logging
import socket
import ssl
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import amqp
import pytest
import trustme
from pydantic import BaseModel, Field
from tests.faults.site import SECRET, Site
from tests.faults.traffic import Traffic, jobs, topology, work
from tests.kit.calls import Calls, Events
from tests.kit.inside import InsidePublisher, InsideWorker, counting_from
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE

from taskroute import (
    BrokerUnavailableError,
    BrokerUrlError,
    ConfigurationError,
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    Reject,
    Retry,
    RetryPolicy,
    Topology,
    Worker,
)
from taskroute.broker.connection import connect
from taskroute.broker.url import parse_urls
from taskroute.instrumentation import Counted, Event, Instrumentation

T = TypeVar("T")
Tls = tuple[trustme.CA, int]


def tls_url(site: Site, port: int, host: str = "localhost") -> str:
    return (
        site.node.url(site.name, user=f"app:{SECRET}", port=port)
        .replace("amqp://", "amqps://")
        .replace("127.0.0.1", host)
    )


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def failing_with(reason: str) -> Iterator[None]:
    """Have a `start` raise that says why the first attempt has failed, however long that takes."""
    with counting_from(reason), pytest.raises(BrokerUnavailableError, match=reason):
        yield


@pytest.mark.row(50)
def test_tls_context_of_the_user_connects_worker_and_publisher(site: Site, tls: Tls) -> None:
    authority, port = tls
    traffic = Traffic()
    url, context = tls_url(site, port), trusting(authority)

    with traffic.running(url, tls=context) as worker, Publisher(url, traffic.topology, tls=context) as publisher:
        traffic.publish(publisher, 300)  # many in a TLS record, so that some are read ahead of the socket
        assert traffic.all_done(DEADLINE)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().connections == 1

    assert traffic.verdict(max_duplicates=0, min_confirmed=300).problems == ()


@pytest.mark.row(50)
def test_tls_refuses_an_unknown_authority(site: Site, tls: Tls) -> None:
    for context in (None, trusting(trustme.CA())):
        with failing_with("certificate verify failed"):
            Publisher(tls_url(site, tls[1]), topology, tls=context).start(timeout=0)


@pytest.mark.row(50)
def test_tls_refuses_another_host_name(site: Site, tls: Tls) -> None:
    authority, port = tls
    with failing_with(r"not valid for '127\.0\.0\.1'"):
        Publisher(tls_url(site, port, "127.0.0.1"), topology, tls=trusting(authority)).start(timeout=0)


@pytest.mark.row(50)
def test_tls_refuses_an_expired_certificate(site: Site) -> None:
    authority = trustme.CA()
    expired = authority.issue_cert("localhost", not_after=datetime.now(UTC) - timedelta(days=1))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expired.configure_cert(context)

    listener = listening(lambda sock: _handshake(context, sock))
    with listener as (port, _), failing_with("certificate has expired"):
        Publisher(tls_url(site, port), topology, tls=trusting(authority)).start(timeout=0)


@pytest.mark.row(50)
def test_listener_without_tls_receives_no_password(site: Site) -> None:
    with listening(lambda sock: sock.recv(4096)) as (port, received), failing_with("Error"):
        Publisher(tls_url(site, port), topology).start(timeout=0)

    assert received
    assert not any(SECRET.encode() in data for data in received)


@pytest.mark.row(50)
def test_tls_context_that_verifies_nothing_is_warned_of(site: Site, tls: Tls, logged: Callable[[str], Calls]) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE

    warned = logged("does not verify the broker's certificate")

    with Publisher(tls_url(site, tls[1]), topology, tls=context):
        assert len(warned.calls) == 1


@pytest.mark.row(50)
def test_password_in_the_clear_to_another_machine_is_warned_of(logged: Callable[[str], Calls]) -> None:
    warned = logged("travel in the clear; use amqps://")

    with pytest.raises(BrokerUnavailableError):
        Publisher(f"amqp://app:{SECRET}@192.0.2.1/", topology).start(timeout=0.05)

    assert len(warned.calls) == 1


@pytest.mark.row(50)
@pytest.mark.parametrize(
    "url",
    [
        f"amqp://app:{SECRET}/x@localhost/",
        f"amqp://app:{SECRET}#x@localhost/",
        f"amqp://app:{SECRET}?x@localhost:port/",
        f"amqp://app:{SECRET}@[::1/",
        f"amqp://app:{SECRET}@localhost:99999/",
        f"evil.module://app:{SECRET}@localhost/",
        f"pyamqp://app:{SECRET}@localhost/",
        f"redis://:{SECRET}@localhost/",
        f"memory://app:{SECRET}@name",
        f"amqp://app:{SECRET}@localhost/?ssl=1",
    ],
)
def test_invalid_url_is_refused_without_its_password(url: str) -> None:
    """The scheme of a URL imports no module."""
    before = set(sys.modules)

    with pytest.raises(BrokerUrlError) as caught:
        Publisher(url, topology)

    text = "".join(traceback.format_exception(caught.value))
    assert SECRET not in text
    assert not {name for name in set(sys.modules) - before if "evil" in name or "redis" in name}


@pytest.mark.row(50)
@pytest.mark.parametrize("url", ["amqp://localhost/", "amqp://app@localhost/", "amqps://:x@localhost/"])
def test_url_without_user_and_password_is_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError, match="names no user and password"):
        Publisher(url, topology)


@pytest.mark.row(50)
def test_password_is_in_no_repr_and_no_traceback(site: Site) -> None:
    (url,) = parse_urls(site.url)
    worker, publisher = Traffic().worker(site.url), Publisher(site.url, topology)
    sessions = InsideWorker(worker).session, InsidePublisher(publisher).session

    shown = " ".join(map(repr, (url, worker, publisher, *sessions)))
    assert SECRET not in shown + str(url)

    refused = site.node.url("nowhere", user=f"app:{SECRET}")
    with pytest.raises((amqp.AMQPError, OSError)) as caught:
        connect(parse_urls(refused)[0], name="refused", heartbeat=5)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


class Login(BaseModel):
    user: str = Field(max_length=3)
    pin: int


@pytest.mark.row(50)
def test_message_body_is_in_no_log_line_and_no_dead_letter_header(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The content is hidden when the body is invalid, and when an exception quotes it."""
    registry = HandlerRegistry()

    @registry.handler("login", queue=work)
    def login(body: Login) -> None: ...

    @registry.handler("fail", queue=work, retry=False)
    def fail(message: Message) -> None:
        raise ValueError(message.body)

    with running(site.url, topology, registry, errors="place") as (worker, publisher):
        publisher.publish({"user": "confidential-value", "pin": "confidential-value"}, "login", exchange=jobs)
        publisher.publish(b"confidential-value", "fail", exchange=jobs)
        with looking(site.url) as peer:
            dead = peer.receive("work.dead", 2)
        assert worker.wait_idle(DEADLINE)

    for message in dead:
        headers = message.properties["application_headers"]
        assert "confidential-value" not in repr(headers)
        assert headers["x-taskroute-error"]
    assert "confidential-value" not in caplog.text


@pytest.mark.row(50)
def test_place_alone_tells_nothing_that_a_message_says(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever way an exception has to quote it: a cause, a group, a note, a verdict, a `repr`; or that of a hook."""
    registry = HandlerRegistry()

    class Told:
        def __init__(self, said: str) -> None:
            self._said = said

        def __repr__(self) -> str:
            return self._said

    def failing(said: str) -> Iterator[BaseException]:
        yield ValueError(Told(said))
        yield ExceptionGroup(said, [KeyError(said), ExceptionGroup("inner", [ValueError(said)])])
        yield Reject(said)
        yield Retry(said)
        yield ConfigurationError(said)
        noted = LookupError()
        noted.add_note(said)
        yield noted

    @registry.handler("fail.{number}", queue=work, retry=False)
    def fail(body: str, number: int) -> None:
        try:
            raise OSError(body)
        except OSError:
            raise list(failing(body))[number] from UnicodeError(body)

    @registry.handler("async.{number}", queue=work, retry=False)
    async def fail_async(body: str, number: int) -> None:
        fail(body, number)

    told: list[str] = []

    class Listening(Instrumentation):
        def on_event(self, event: Event) -> None:
            told.append(repr(event))

        def handling(self, message: Message, handler: str) -> None:
            raise ValueError(message.body)

    options: dict[str, Any] = {"errors": "place", "instrumentation": [Listening()]}
    keys = [f"{kind}.{number}" for kind in ("fail", "async") for number in range(6)]
    with running(site.url, topology, registry, **options) as (worker, publisher):
        for key in keys:
            publisher.publish("confidential-value", key, exchange=jobs)
        with looking(site.url) as peer:
            dead = peer.receive("work.dead", len(keys))
        assert worker.wait_idle(DEADLINE)
        told.append(str(worker.health()))

    headers = [message.properties["application_headers"] for message in dead]
    assert all(" at test_security.py:" in each["x-taskroute-error"] for each in headers)
    assert "instrumentation_failed" in caplog.text
    assert "confidential-value" not in "".join((caplog.text, *told, *map(repr, headers)))


@pytest.mark.row(50)
def test_exception_that_quotes_the_url_tells_no_password(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Also where its password alone is quoted, and in its cause."""
    registry = HandlerRegistry()

    @registry.handler("#", queue=work, retry=False)
    def fail(body: bytes) -> None:
        raise ValueError(f"cannot reach {site.url}") from KeyError(SECRET)

    with running(site.url, topology, registry) as (worker, publisher):
        publisher.publish(b"", "fail", exchange=jobs)
        with looking(site.url) as peer:
            (dead,) = peer.receive("work.dead", 1)
        assert worker.wait_idle(DEADLINE)
        shown = str(worker.health())

    headers = dead.properties["application_headers"]
    assert headers["x-taskroute-error-text"].startswith("cannot reach amqp://app:***@")
    assert "KeyError" in headers["x-taskroute-error-traceback"]
    assert SECRET not in repr(headers) + caplog.text + shown


@pytest.mark.row(50)
def test_exception_cannot_forge_log_lines(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Each line after the first belongs to a traceback, and is indented."""
    registry, forged = HandlerRegistry(), "x\nERROR forged\r\x1b[31m\u2028\u202e\x00"

    @registry.handler("#", queue=work, retry=False)
    def fail(body: bytes) -> None:
        error = ExceptionGroup(forged, [ValueError(forged)])
        error.add_note(forged)
        raise error from LookupError(forged)

    with running(site.url, topology, registry) as (worker, publisher):
        publisher.publish(b"", "fail", exchange=jobs)
        assert worker.wait_idle(DEADLINE)

    (told,) = [record.getMessage() for record in caplog.records if "message_failed" in record.getMessage()]
    first, *trace = told.split("\n")
    assert trace
    assert all(line.startswith("    ") for line in trace)
    assert all(line.isprintable() for line in (first, *trace))


@pytest.mark.row(50)
def test_message_properties_cannot_forge_log_lines(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Control characters in properties are escaped, and long ones cut."""
    registry = registry_of(lambda body: None, "none", queue=work)
    forged = "id\nERROR forged \x1b[31m\x00"

    with Worker(site.url, topology, registry) as worker:
        with looking(site.url) as peer:
            peer.publish(b"{}", "k" * 255, "jobs", message_id=forged, type=forged, content_type=forged, reply_to=forged)
            peer.publish(b"{}", "none", "jobs", content_type=forged)
            peer.publish(b"{}", "none", "jobs", content_encoding=forged, application_headers={"compression": forged})
            peer.receive("work.dead", 3)
        assert worker.wait_idle(DEADLINE)

    lines = [record.getMessage() for record in caplog.records if record.name.startswith("taskroute")]
    assert sum("message_failed" in line for line in lines) == 3
    assert not any(character in line for line in lines for character in "\n\r\x00\x1b")
    assert max(map(len, lines)) < 1000


@pytest.mark.row(50)
def test_reply_to_is_never_followed(site: Site) -> None:
    traffic = Traffic()
    victim = QueueSpec(name="victim", retry=False, dead_letter=False)

    with (
        Publisher(site.url, Topology(queues=[victim])),
        traffic.running(site.url) as worker,
        Publisher(site.url, traffic.topology) as publisher,
    ):
        publisher.publish(b'{"id": "0"}', "a", exchange=jobs, reply_to="victim")
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            assert peer.ready("victim") == 0


@pytest.mark.row(50)
def test_worker_and_publisher_work_without_the_right_to_configure(site: Site) -> None:
    """Retries, dead letters and the search for lost consumers need the rights to read and write alone."""
    once = QueueSpec(name="work", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(0.1,)))
    own_topology = Topology(exchanges=[jobs], queues=[once])
    registry, attempts, events = HandlerRegistry(), [], Events()

    @registry.handler("#", queue=once)
    def handle(message: Message) -> None:
        attempts.append(message.attempt)
        raise RuntimeError("as planned")

    with Publisher(site.url, own_topology):
        pass

    with (
        Worker(site.limited_url, own_topology, registry, declare="verify", instrumentation=[events]) as worker,
        Publisher(site.limited_url, own_topology, declare="verify") as publisher,
    ):
        publisher.publish(b"{}", "a", exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        with looking(site.url) as peer:
            peer.receive("work.dead", 1)
        for count in (1, 2):
            InsideWorker(worker).probe()
            events.wait(Counted, count, queue="work", ready=0)  # the broker has answered
        assert worker.stats().connections == 1
        assert worker.health().ready

    assert attempts == [1, 2]


@pytest.mark.row(50)
def test_nothing_is_written_to_disk(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    proxy, traffic = site.proxy(), Traffic()
    url = site.url_by(proxy)

    with traffic.running(url), Publisher(url, traffic.topology) as publisher:
        traffic.publish(publisher, 20)
        proxy.reset()
        traffic.publish(publisher, 20)
        assert traffic.all_done(DEADLINE)

    assert list(tmp_path.iterdir()) == []


@contextmanager
def listening(serve: Callable[[socket.socket], T]) -> Iterator[tuple[int, list[T]]]:
    """Listen without being a broker; yield the port, and what `serve` returns for each connection."""
    received: list[T] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock:
                    try:
                        received.append(serve(sock))
                    except OSError as error:
                        logging.getLogger(__name__).debug("refused %s", type(error).__name__)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1], received
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)


def _handshake(context: ssl.SSLContext, sock: socket.socket) -> None:
    context.wrap_socket(sock, server_side=True).close()
