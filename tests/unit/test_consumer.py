"""A consumer on one channel of the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from typing import Any, Literal

import amqp
import pytest

from taskroute import QueueSpec
from taskroute.broker.connection import connect
from taskroute.broker.roles.consumer import Consumer
from taskroute.broker.url import parse_urls
from taskroute.message.delivery import Delivery

one, two = QueueSpec(name="one"), QueueSpec(name="two")


@pytest.fixture
def connection(taskroute_url: str) -> Iterator[Any]:
    (url,) = parse_urls(taskroute_url)
    with closing(connect(url, name="test", heartbeat=30)) as connection:
        yield connection


def test_a_connection_on_which_not_every_queue_can_be_consumed_leaves_nothing_behind(connection: Any) -> None:
    connection.channel().queue_declare("one", durable=True, auto_delete=False)
    consumer = Consumer(
        [one, two], prefetch={"one": 3, "two": 3}, prepare=lambda _: None, deliver=lambda _: None, on_lost=pytest.fail
    )
    with pytest.raises(amqp.NotFound):
        consumer.opened(connection, 1)
    assert consumer.consuming == frozenset()
    answer: Future[int] = Future()
    consumer.count_ready(["one"], answer)
    assert isinstance(answer.exception(0), ConnectionError)


def test_a_queue_that_is_paused_before_its_prefetch_is_widened_stays_paused(connection: Any) -> None:
    channel = connection.channel()
    channel.queue_declare("one", durable=True, auto_delete=False)
    channel.publish("", "one", mandatory=True, properties={}, body=b"1")
    admitted: list[Literal["all", "none"]] = ["all"]
    delivered: list[Delivery] = []
    consumer = Consumer(
        [one],
        prefetch={"one": 3},
        prepare=lambda _: None,
        deliver=delivered.extend,
        on_lost=pytest.fail,
        pausable=["one"],
        admits=lambda _: admitted[-1],
    )
    consumer.opened(connection, 1)
    while connection.drain_available(10):
        pass
    admitted.append("none")
    consumer.adjust("one")
    consumer.received()
    assert [delivery.body for delivery in delivered] == [b"1"]
    assert consumer.consuming == frozenset()


def test_what_is_on_its_way_when_queues_are_found_empty_counts(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = connection.channel()
    channel.queue_declare("one", durable=True, auto_delete=False)
    delivered: list[Delivery] = []
    consumer = Consumer(
        [one], prefetch={"one": 3}, prepare=lambda _: None, deliver=delivered.extend, on_lost=pytest.fail
    )
    consumer.opened(connection, 1)
    answers = iter((lambda: None, lambda: channel.publish("", "one", mandatory=True, properties={}, body=b"1")))

    def count(*_: object) -> int:  # RabbitMQ answers first, and writes then what its queue had given it before
        next(answers)()
        return 0

    monkeypatch.setattr("taskroute.broker.roles.consumer.count_messages", count)
    answer: Future[int] = Future()
    consumer.count_ready(["one"], answer)
    assert answer.result(0) == len(delivered) == 1
