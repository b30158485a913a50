"""A RabbitMQ that tests may kill and starve, virtual hosts with users of few rights, and a report of measurements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import trustme
from tests.faults.site import SECRET, Site
from tests.kit import calls
from tests.kit import rabbitmq as server

_TLS = pytest.StashKey[tuple[trustme.CA, int]]()


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
    rights["narrow"] = ("", r"^(jobs|amq\\.default)$", "^(work|other)$")
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
            for port in site.deserted:
                port.let_go()


@pytest.fixture
def tls(site: Site, request: pytest.FixtureRequest) -> tuple[trustme.CA, int]:
    """The authority that has signed the broker's certificate, which is for localhost, and the port."""
    return request.config.stash[_TLS]


@pytest.fixture(autouse=True)
def password_stays_hidden(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """After every test, check that the password is in no log line, DEBUG included, and no printed text or traceback."""
    caplog.set_level(logging.DEBUG)
    yield
    out, err = capfd.readouterr()
    shown = "\n".join((*(caplog.handler.format(record) for record in caplog.records), out, err))
    assert SECRET not in shown


@pytest.fixture
def logged() -> Iterator[Callable[[str], calls.Calls]]:
    """Return a function that, given a text, keeps the log lines which contain it until the test ends."""
    with ExitStack() as kept:
        yield lambda text: kept.enter_context(calls.logged(text))
