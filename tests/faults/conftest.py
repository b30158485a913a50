"""A RabbitMQ that faults may be done to, virtual hosts with users of few rights, and a report of what was measured."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pika
import pytest
import trustme
from tests.faults.proxy import Proxy
from tests.kit import rabbitmq as server

SECRET = "canary-5f1c9b"
"""The password of every user in these tests. It may not be seen anywhere."""

_MEASURED = pytest.StashKey[list[str]]()
_TLS = pytest.StashKey[tuple[trustme.CA, int]]()


@dataclass
class Site:
    """A virtual host on a broker, and a proxy on the way to it if a test asks for one."""

    node: server.Node
    name: str
    proxies: list[Proxy] = field(default_factory=list)

    @property
    def url(self) -> str:
        """With every right."""
        return self.node.url(self.name, user=f"app:{SECRET}")

    @property
    def limited_url(self) -> str:
        """With the right to write and read, and not to configure."""
        return self.node.url(self.name, user=f"limited:{SECRET}")

    @property
    def read_only_url(self) -> str:
        """With the right to read alone."""
        return self.node.url(self.name, user=f"reader:{SECRET}")

    def proxy(self) -> Proxy:
        """A proxy to the broker."""
        proxy = Proxy(self.node.port)
        self.proxies.append(proxy)
        return proxy

    def url_by(self, proxy: Proxy) -> str:
        """Through a proxy."""
        return self.node.url(self.name, user=f"app:{SECRET}", port=proxy.port)

    @property
    def deserted_url(self) -> str:
        """Of a port where nobody listens."""
        proxy = Proxy(self.node.port)
        proxy.close()
        return self.url_by(proxy)

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl on this virtual host."""
        return self.node.ctl(arguments[0], "-p", self.name, *arguments[1:])

    def table(self, *arguments: str) -> list[list[str]]:
        """What a `list_...` command prints, as rows of words."""
        return [line.split("\t") for line in self.ctl(*arguments, "--no-table-headers").splitlines()]

    def depths(self, *queues: str) -> list[int]:
        """How many messages are ready in queues, asked of the queues: what `list_queues` says may be 5 s old."""
        with closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            channel = connection.channel()
            return [channel.queue_declare(queue, passive=True).method.message_count for queue in queues]

    def wait_unconsumed(self) -> None:
        """Wait until the broker has noticed that every consumer is gone, and so has requeued what they had."""
        self.node.eval(
            f'Wait = fun W() -> case rabbit_amqqueue:consumers_all(<<"{self.name}">>) of '
            "[] -> ok; _ -> timer:sleep(5), W() end end, Wait()."
        )

    def queue_pid(self, queue: str) -> str:
        """Erlang for a queue of this virtual host, bound to Q."""
        return f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"{self.name}">>, queue, <<"{queue}">>))'


@pytest.fixture(scope="session")
def fault_node(installed: None, request: pytest.FixtureRequest) -> Iterator[server.Node]:
    """A node that tests kill, stop and starve in turn."""
    node = server.Node()
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    (chain,) = certificate.cert_chain_pems
    tls_port = node.use_tls(chain.bytes(), certificate.private_key_pem.bytes())
    request.config.stash[_TLS] = authority, tls_port
    rights = {"app": (".*", ".*", ".*"), "limited": ("", ".*", ".*"), "reader": ("", "", ".*")}
    with server.running(node):
        users = (f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"{SECRET}">>, <<"test">>)' for user in rights)
        node.eval(f"{', '.join(users)}.")
        node.rights |= rights
        yield node


@pytest.fixture
def site(fault_node: server.Node) -> Iterator[Site]:
    """A virtual host for one test."""
    with fault_node.vhost_name() as name:
        site = Site(fault_node, name)
        try:
            yield site
        finally:
            for proxy in site.proxies:
                proxy.close()


@pytest.fixture
def tls(site: Site, request: pytest.FixtureRequest) -> tuple[trustme.CA, int]:
    """The authority that has signed the broker's certificate, which is for localhost, and the port."""
    return request.config.stash[_TLS]


@pytest.fixture(autouse=True)
def no_secret_is_told(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Whatever a test does, the password is in no log line, printed text or traceback, DEBUG included."""
    caplog.set_level(logging.DEBUG)
    yield
    out, err = capfd.readouterr()
    told = "\n".join((*(caplog.handler.format(record) for record in caplog.records), out, err))
    assert SECRET not in told


class Told:
    """Waits for log lines that contain a text, and keeps them."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._changed = threading.Condition()
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        if self._text in line:
            with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    def wait(self, timeout: float, count: int = 1) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.lines) >= count, timeout)


@pytest.fixture
def told() -> Iterator[Callable[[str], Told]]:
    """Give it a text; it waits for the log lines that contain it."""
    waiting: list[Told] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for one in waiting:
                one.note(record.getMessage())

    def wait_for(text: str) -> Told:
        waiting.append(Told(text))
        return waiting[-1]

    handler = Handler()
    logging.getLogger("taskroute").addHandler(handler)
    yield wait_for
    logging.getLogger("taskroute").removeHandler(handler)


class Stopwatch:
    """Measures how long awaited events take, for the report at the end of the run."""

    def __init__(self, lines: list[str], test: str) -> None:
        self._lines = lines
        self._test = test

    def within(self, bound: float, event: Callable[[float], object], what: str) -> None:
        """Wait for an event. `bound` is the promise in seconds; the deadline of the wait is three times as long."""
        began = time.monotonic()
        assert event(3 * bound), f"{what}: not within {3 * bound} s"
        self.note(f"{what}: {time.monotonic() - began:.2f} s (promise: {bound:g} s)")

    @contextmanager
    def timed(self, bound: float, what: str) -> Iterator[None]:
        """Note how long the block takes, which has a deadline of its own."""
        began = time.monotonic()
        yield
        self.note(f"{what}: {time.monotonic() - began:.2f} s (promise: {bound:g} s)")

    def note(self, text: str) -> None:
        """Note what was measured."""
        self._lines.append(f"{self._test}: {text}")


@pytest.fixture
def stopwatch(request: pytest.FixtureRequest) -> Stopwatch:
    """Measures for the report."""
    lines = request.config.stash.setdefault(_MEASURED, [])
    return Stopwatch(lines, request.node.name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured. No test depends on it."""
    lines = config.stash.get(_MEASURED, [])
    if lines:
        terminalreporter.section("measured under faults")
        for line in lines:
            terminalreporter.write_line(line)
