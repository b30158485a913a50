"""Several nodes: clients are spread over them, go on to another one, and go back to their first."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
from tests.faults.proxy import Proxy
from tests.faults.site import Site
from tests.faults.traffic import PREFETCH, WINDOW, Traffic
from tests.kit import ports
from tests.kit.inside import InsideWorker
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import BrokerUnavailableError
from taskroute.broker import connection, moving
from taskroute.broker.url import parse_urls

MANY = 40


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients go back to their first node at once."""
    monkeypatch.setattr(moving, "FIRST_MOVE", 0.1)
    monkeypatch.setattr(moving, "LAST_MOVE", 0.2)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """The port of a node that takes connections and never says a word."""
    with ports.silent_port() as port:
        yield port


def await_client(*proxies: Proxy) -> Proxy:
    """Wait until one of some nodes has a client, and return it."""
    until(lambda: any(proxy.open for proxy in proxies))
    return next(proxy for proxy in proxies if proxy.open)


def urls_by(site: Site, proxies: Sequence[Proxy]) -> list[str]:
    return [site.url_by(proxy) for proxy in proxies]


@pytest.mark.row(51)
def test_clients_are_spread_over_the_nodes(site: Site) -> None:
    proxies = [site.proxy(), site.proxy()]
    with ExitStack() as workers:
        for _ in range(MANY):
            workers.enter_context(Traffic().running(urls_by(site, proxies)))
            if all(proxy.open for proxy in proxies):
                break

        assert all(proxy.open for proxy in proxies)


@pytest.mark.row(51)
@pytest.mark.usefixtures("soon")
def test_worker_goes_back_to_its_first_node_and_repeats_nothing(site: Site) -> None:
    takes_a_while = threading.Event()  # never set
    proxies, traffic = [site.proxy(), site.proxy()], Traffic(lambda _: takes_a_while.wait(0.05))
    with traffic.running(urls_by(site, proxies)) as worker, traffic.publishing(site.url):
        first = await_client(*proxies)
        (other,) = set(proxies) - {first}
        assert traffic.next_done(50)(DEADLINE)

        with first.refusing():
            until(lambda: other.open)
            last = traffic.attempted  # that the cut may have made two of
            assert traffic.next_done(50)(DEADLINE)
        until(lambda: first.open and not other.open)
        assert traffic.next_done(50)(DEADLINE)

        assert worker.stats().connections == 3
    assert traffic.repeated() <= PREFETCH
    assert traffic.repeated(after=last) == 0
    assert not traffic.errors


@pytest.mark.row(51)
def test_worker_without_any_node_does_not_wait_for_its_first(site: Site) -> None:
    """The moment to go back would pass while no node can be had, and its thread would go round and round."""
    proxies = [site.proxy(), site.proxy()]
    with Traffic().running(urls_by(site, proxies)) as worker:
        first = await_client(*proxies)
        (other,) = set(proxies) - {first}

        with first.refusing():
            until(lambda: other.open and worker.health().ready)
            InsideWorker(worker).run_on_session()  # which plans its way back when it has said that it is open
            assert InsideWorker(worker).moves_at is not None
            with other.refusing():
                until(lambda: not worker.health().connected)
                InsideWorker(worker).run_on_session()  # which has done all that belongs to the loss then
                assert InsideWorker(worker).moves_at is None


@pytest.mark.row(51)
@pytest.mark.usefixtures("soon")
def test_publisher_goes_back_to_its_first_node_and_repeats_nothing(site: Site) -> None:
    proxies, traffic = [site.proxy(), site.proxy()], Traffic()
    with traffic.running(site.url) as worker, traffic.publishing(urls_by(site, proxies), pause=0) as publisher:
        first = await_client(*proxies)
        (other,) = set(proxies) - {first}
        assert traffic.next_done(50)(DEADLINE)

        with first.refusing():
            until(lambda: other.open)
            last = traffic.attempted  # that the cut may have made two of
            assert traffic.next_confirmed(2 * WINDOW)(DEADLINE)
        until(lambda: first.open and not other.open)
        assert traffic.next_confirmed(2 * WINDOW)(DEADLINE)
        traffic.stop_publishing()
        assert publisher.wait_idle(DEADLINE)
        assert worker.wait_idle(DEADLINE)

    assert traffic.repeated() <= WINDOW
    assert traffic.repeated(after=last) == 0
    assert not traffic.errors


@pytest.mark.row(64)
def test_list_with_one_node_that_works_is_enough(site: Site, silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One is dead, one has not the virtual host, one never answers, and one is right."""
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)
    wrong = site.node.url("no such host")
    urls = [site.deserted_url, wrong, site.node.url(site.name, port=silent_port), site.url]

    for order in itertools.islice(itertools.permutations(urls), 0, 24, 7):
        traffic = Traffic()
        with traffic.running(list(order)), traffic.publishing(list(order)):
            assert traffic.done(5)(DEADLINE)


@pytest.mark.row(64)
def test_list_without_a_node_that_works_says_why_of_each(
    site: Site, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, wrong = site.deserted_url, site.node.url("no such host")
    silent = site.node.url(site.name, port=silent_port)
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 1.0)

    reasons = ((dead, "ConnectionRefusedError"), (wrong, "NotAllowed"), (silent, "TimeoutError"))
    said = [f"{parse_urls(url)[0]}: {why}(" for url, why in reasons]
    worker = Traffic().worker([dead, wrong, silent])

    starting = in_thread(lambda: worker.start(100 * DEADLINE))
    try:
        until(lambda: all(each in str(InsideWorker(worker).session.unavailable()) for each in said))
    finally:
        worker.stop()

    assert isinstance(starting.exception(DEADLINE), BrokerUnavailableError)
