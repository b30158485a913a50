"""A broker that does not let a user in: an error at the start, and waited for by who was let in before."""

from __future__ import annotations

import re

import pytest
from tests.faults.site import SECRET, Site
from tests.faults.traffic import Traffic, jobs
from tests.kit.inside import InsideWorker
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import BrokerUnavailableError, Publisher, Worker


def refusing(site: Site, kind: str) -> str:
    """Return a URL with which nobody gets in."""
    if kind == "password":
        return site.node.url(site.name, user="app:not-the-password")
    return site.node.url("nowhere" if kind == "no virtual host" else "/", user=f"app:{SECRET}")


KINDS = pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("password", "ACCESS_REFUSED - Login was refused"),
        ("no virtual host", "vhost nowhere not found"),
        ("no right to the virtual host", "access to vhost '/' refused for user 'app'"),
    ],
)


@pytest.mark.row(67)
@KINDS
def test_refused_login_ends_the_start_at_its_first_attempt(kind: str, why: str, site: Site) -> None:
    url = refusing(site, kind)
    worker, publisher = Traffic().worker(url), Publisher(url, Traffic().topology, timeout=100 * DEADLINE)

    for start in (worker.start, publisher.start):
        with pytest.raises(BrokerUnavailableError, match=r": 1 attempt in .*mend user, password") as caught:
            start()

        assert why in str(caught.value)
        assert "not-the-password" not in str(caught.value)


@pytest.mark.row(67)
def test_refused_login_ends_a_worker_that_keeps_trying(site: Site) -> None:
    """`run` waits for a broker that is away, and not for a password to become right."""
    ended = in_thread(Traffic().worker(refusing(site, "password")).run)

    with pytest.raises(BrokerUnavailableError, match="Login was refused"):
        ended.result(DEADLINE)


@pytest.mark.row(67)
def test_refused_login_fails_what_is_published_at_once(site: Site) -> None:
    publisher = Publisher(refusing(site, "password"), Traffic().topology, timeout=100 * DEADLINE)

    future = publisher.submit({}, "a", exchange=jobs)

    assert isinstance(future.exception(DEADLINE), BrokerUnavailableError)


@pytest.mark.row(67)
def test_refused_login_of_one_node_does_not_end_the_start(site: Site) -> None:
    """The other one is away, and may let the user in when it is back."""
    worker = Traffic().worker([refusing(site, "password"), site.deserted_url])

    session = InsideWorker(worker).session

    starting = in_thread(lambda: worker.start(100 * DEADLINE))
    try:
        until(lambda: re.search(r" ([3-9]|[0-9]{2,}) attempts", str(session.unavailable())))  # of which one was refused
        told = str(session.unavailable())
    finally:
        worker.stop()

    assert "Login was refused" in told
    assert "mend user" not in told
    assert isinstance(starting.exception(DEADLINE), BrokerUnavailableError)


@pytest.mark.row(67)
def test_login_refused_while_running_is_a_reason_and_tried_again(site: Site) -> None:
    """The password is changed under a worker that has lost its connection, and changed back."""
    traffic = Traffic()
    with traffic.running(site.url) as worker:
        change_password(site, "another")
        try:
            InsideWorker(worker).fail_on_session(ConnectionResetError("by the test"))
            until(lambda: refused(worker))
            assert worker.health().live
        finally:
            change_password(site, SECRET)
        until(lambda: worker.health().ready)


def refused(worker: Worker) -> bool:
    return any("Login was refused" in reason for reason in worker.health().reasons)


def change_password(site: Site, password: str) -> None:
    site.node.eval(f'rabbit_auth_backend_internal:change_password(<<"app">>, <<"{password}">>, <<"test">>).')
