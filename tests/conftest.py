"""A RabbitMQ node for the whole run, and for each test a virtual host that no other test uses."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

import pytest
from hypothesis import settings
from tests.kit import given
from tests.kit import rabbitmq as server
from tests.kit.stopwatch import Stopwatch
from tests.kit.tunnel import tunnel

from taskroute.broker.embedded.brokers import drop
from taskroute.broker.url import LOOPBACK

_MEASURED: Final = "measured"
"""The name of a property of a test, which its report brings from the process that ran it."""

settings.register_profile("default", deadline=None)
settings.load_profile("default")


def pytest_configure() -> None:
    """Take interrupts, which a shell has its jobs in the background ignore: tests and their processes send them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def default_broker() -> None:
    """Have ``memory://`` be a broker of this test alone: another file may have left queues there."""
    drop()


@pytest.fixture(scope="session")
def installed() -> None:
    """Skip the test where RabbitMQ is not installed; in CI, fail it."""
    reason = server.missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def rabbitmq(installed: None) -> Iterator[server.Node]:
    """A running node, shared by every test that does it no harm."""
    node = server.Node()
    node.use_management()
    with server.running(node):
        yield node


@pytest.fixture
def rabbitmq_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A virtual host that nothing else uses, on the broker that the environment names or the node of the tests."""
    broker = given.broker() or request.getfixturevalue("rabbitmq")
    with broker.vhost() as url:
        yield url


@pytest.fixture
def rabbitmq_api(request: pytest.FixtureRequest, rabbitmq_url: str) -> Iterator[str]:
    """The URL of the management API of the same broker; user and password are those of `rabbitmq_url`.

    That of a broker elsewhere is behind a tunnel: no password is sent to another machine in the clear.
    """
    broker = given.broker()
    if broker is None:
        yield request.getfixturevalue("rabbitmq").api
        return
    there = urlsplit(broker.api)
    if there.scheme == "https" or there.hostname in LOOPBACK:
        yield broker.api
        return
    with tunnel(str(there.hostname), there.port or 80) as port:
        yield f"http://127.0.0.1:{port}{there.path}"


@pytest.fixture(params=["memory", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Each broker in turn."""
    url: str = request.getfixturevalue("rabbitmq_url" if request.param == "rabbitmq" else "taskroute_url")
    return url


@pytest.fixture
def stopwatch(request: pytest.FixtureRequest) -> Stopwatch:
    """Measures for the report."""
    return Stopwatch(lambda text: request.node.user_properties.append((_MEASURED, f"{request.node.name}: {text}")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured. No test depends on it."""
    reports = chain.from_iterable(terminalreporter.stats.values())
    ends = [report for report in reports if getattr(report, "when", None) == "teardown"]
    lines = [value for report in ends for name, value in report.user_properties if name == _MEASURED]
    if lines:
        terminalreporter.section("measured under faults")
        for line in lines:
            terminalreporter.write_line(line)
