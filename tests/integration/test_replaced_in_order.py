"""A queue that is consumed only after the one that it replaces: messages keep their order across the change."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.kit.calls import Calls
from tests.kit.command_line import CommandLine
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import CLUSTER_DEADLINE, DEADLINE, until, until_slow

from taskroute import Publisher, Topology, Worker

SHOP = """
from taskroute import ExchangeSpec, QueueSpec, Topology
shop = ExchangeSpec(name="shop")
plain = dict(bindings=[shop.bind("order.*")], retry=False, single_active_consumer=True)
before = Topology(queues=[QueueSpec(name="orders", **plain)])
after = Topology(queues=[QueueSpec(name="orders.2", **plain, replaces="orders", after="empty")])
"""


@pytest.fixture
def shops() -> dict[str, Topology]:
    names: dict[str, Any] = {}
    exec(SHOP, names)
    return names


def test_replacement_waits_until_the_old_queue_is_gone(broker_url: str, shops: dict[str, Topology]) -> None:
    seen, after = Calls(), shops["after"]

    def see(body: bytes) -> None:
        seen(body)

    registry = registry_of(see, "#", queue=after.queues[0])
    with Publisher(broker_url, shops["before"]) as publisher:
        publisher.publish(b"1", "order.paid", exchange="shop")

    with looking(broker_url) as peer, running(broker_url, after, registry) as (worker, publisher):
        seen.wait(1)
        peer.publish(b"3", "orders.2")
        publisher.publish(b"2", "order.paid", exchange="shop")
        seen.wait(2)
        assert worker.health().ready
        assert worker.health().consuming == ("orders",)
        assert "queue 'orders' is consumed before 'orders.2', which replaces it" in worker.health().warnings[0]
        assert not worker.wait_idle(0.2)  # what waits in the new one is still to be handled

        peer.channel.queue_delete("orders")
        seen.wait(3)

        assert seen.calls == [b"1", b"2", b"3"]
        until(lambda: worker.health().consuming == ("orders.2",))
        assert worker.health().warnings == ()
        assert worker.wait_idle(DEADLINE)


def test_order_is_kept_when_a_queue_is_replaced_by_the_commands(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    rabbitmq_url: str,
    rabbitmq_api: str,
    shops: dict[str, Topology],
) -> None:
    """apply moves the bindings, the old queue is emptied, prune deletes it under its workers, and they go on."""
    line = CommandLine(tmp_path, capsys, monkeypatch)
    line.write("shops.py", SHOP)
    monkeypatch.setattr("taskroute.cli.planning.pause", lambda seconds: threading.Event().wait(min(seconds, 1.0)))
    where = ("--url", rabbitmq_url, "--api", rabbitmq_api, "--yes")
    go_on, seen, after = threading.Event(), Calls(), shops["after"]

    def handle(body: bytes) -> None:
        # RabbitMQ counts a consumer twice until its first one is settled.
        assert body == b"0" or go_on.wait(CLUSTER_DEADLINE)
        seen(body)

    def publish(first: int, last: int) -> None:
        for number in range(first, last):
            publisher.publish(str(number).encode(), f"order.{number}", exchange="shop")

    with Publisher(rabbitmq_url, shops["before"]) as publisher:
        publish(0, 20)
        registry = registry_of(handle, "#", queue=after.queues[0])
        with Worker(rabbitmq_url, after, registry, threads=1) as worker, ExitStack() as ends:
            ends.callback(go_on.set)
            seen.wait(1)
            applied = line.run("apply", "shops:after", *where)
            publish(20, 40)
            kept = line.run("prune", "shops:after", *where)
            go_on.set()
            seen.wait(20)
            until_slow(lambda: line.run("prune", "shops:after", *where).code == 0)  # what is counted is some time old
            seen.wait(40)
            assert worker.wait_idle(DEADLINE)

    assert applied.code == 0, applied
    assert kept.code == 1
    assert "skipped delete queue 'orders': " in kept.out
    assert seen.calls == [str(number).encode() for number in range(40)]
