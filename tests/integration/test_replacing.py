"""A queue is replaced while messages come in, as the page about it says: nothing is lost on the way."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.kit.calls import Calls
from tests.kit.command_line import CommandLine
from tests.kit.peer import looking
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE, in_thread, until

from taskroute import Publisher, Topology, Worker
from taskroute.broker.depths import ask_depths
from taskroute.broker.url import parse_urls

SHOP = """
from taskroute import ExchangeSpec, QueueSpec, RetryPolicy, Topology
shop = ExchangeSpec(name="shop")
keys = [shop.bind("order.*"), shop.bind("refund.*")]
retry = RetryPolicy(delays=(0.2,))
before = Topology(queues=[QueueSpec(name="orders", bindings=keys, type="classic", retry=retry)])
new = QueueSpec(name="orders.2", bindings=keys, retry=retry, message_ttl=3600, replaces="orders")
between = Topology(queues=[new])
after = Topology(queues=[new.model_copy(update={"replaces": None})], retired=["orders"])
"""


class Failing:
    """A handler that keeps what it handles, and fails once for every tenth message."""

    def __init__(self) -> None:
        self.handled, self.failed = Calls(), Calls()

    def __call__(self, body: bytes) -> None:
        if body.endswith(b"0") and body not in self.failed.calls:
            self.failed(body)
            raise ValueError
        self.handled(body)


@contextmanager
def publishing(url: str, topology: Topology) -> Iterator[list[bytes]]:
    """Publish without end, each message confirmed; those are in the list."""
    confirmed: list[bytes] = []
    ended = threading.Event()

    def publish() -> None:
        with Publisher(url, topology) as publisher:
            for number in itertools.count():
                if ended.wait(0.002):
                    return
                body = str(number).encode()
                publisher.publish(body, f"{('order', 'refund')[number % 2]}.{number}", exchange="shop")
                confirmed.append(body)

    published = in_thread(publish)
    try:
        yield confirmed
    finally:
        ended.set()
        published.result(DEADLINE)


def test_queue_is_replaced_under_load_and_nothing_is_lost(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rabbitmq_url: str,
    rabbitmq_api: str,
) -> None:
    """Old and new workers side by side, steps refused while old ones are there, and the old queue deleted at last."""
    line = CommandLine(tmp_path, capsys, monkeypatch)
    line.write("shops.py", SHOP)
    shops: dict[str, Topology] = {}
    exec(SHOP, shops)
    monkeypatch.setattr("taskroute.cli.planning.pause", lambda seconds: threading.Event().wait(min(seconds, 1.0)))
    where = ("--url", rabbitmq_url, "--api", rabbitmq_api)
    handle = Failing()

    def worker_of(name: str) -> Worker:
        registry = registry_of(handle, "#", queue=shops[name].queues[0])
        return Worker(rabbitmq_url, shops[name], registry)

    with worker_of("before") as old, publishing(rabbitmq_url, shops["before"]) as confirmed:
        with worker_of("between") as worker:
            until(lambda: len(confirmed) > 50)
            refused = line.run("apply", "shops:between", *where, "--yes")
            assert refused.code == 1
            assert "'orders' is consumed by workers of another topology" in refused.out
            old.stop()

            assert line.run("apply", "shops:between", *where, "--yes").code == 0
            until(lambda: worker.depths(["orders.2.dead"]) == {"orders.2.dead": 0})
            consumed = line.run("prune", "shops:between", *where, "--yes")
            assert consumed.code == 1
            assert "'orders' is consumed (1 consumers)" in consumed.out
        with worker_of("after") as worker:
            pruned = line.run("prune", "shops:after", *where, "--yes")
            assert pruned.code == 0, pruned.out
            sent = len(confirmed)
            until(lambda: len(confirmed) > sent + 50)
            handle.handled.wait_for(confirmed[sent + 50])
    with worker_of("after") as worker:
        assert worker.wait_idle(DEADLINE)

    assert line.run("plan", "shops:after", *where).code == 0
    times = Counter(handle.handled.calls)
    assert times.keys() == set(confirmed)
    depths = ask_depths(parse_urls(rabbitmq_url), ["orders", "orders.dead", "orders.retry.200"])
    assert set(depths.values()) == {"absent"}
    with looking(rabbitmq_url) as peer:
        assert peer.ready("orders.2.dead") == 0
