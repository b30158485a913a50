"""The digest of a topology: the same wherever the same is declared, and another one for anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from taskroute import EventSpec, ExchangeSpec, QueueSpec, RetryPolicy, Topology
from taskroute.topology.digest import topology_digest

TWO_OF_EACH = """
from taskroute import ExchangeSpec, QueueSpec, Topology
from taskroute.topology.digest import topology_digest
media, logs = ExchangeSpec(name="media", arguments={"x-a": 1, "x-b": "2"}), ExchangeSpec(name="logs", type="headers")
bindings = [media.bind("a.#"), media.bind("b.*"), logs.bind(headers={"x": 1, "y": True})]
queues = [QueueSpec(name="one", bindings=bindings), QueueSpec(name="two", max_length=3)]
print(topology_digest(Topology(exchanges=[media, logs], queues=queues)))
"""

media = ExchangeSpec(name="media")
logs = ExchangeSpec(name="logs", type="headers")


def with_queue(**fields: Any) -> str:
    return topology_digest(Topology(exchanges=[media, logs], queues=[QueueSpec(name="one", **fields)]))


def with_exchange(**fields: Any) -> str:
    return topology_digest(Topology(exchanges=[media, logs, ExchangeSpec(name="third", **fields)]))


def test_digest_is_the_same_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", TWO_OF_EACH],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }

    assert digests == {"398ca7e2554ed54b36ff95f1ddb94e3ab7bbc5f2cedfec7a729c670907622979"}


def test_digest_does_not_depend_on_the_order_of_declaration() -> None:
    bindings = [media.bind("a.#"), media.bind("b"), logs.bind(headers={"x": 1, "y": 2})]
    again = [logs.bind(headers={"y": 2, "x": 1}), media.bind("b"), media.bind("a.#"), media.bind("b")]
    two = QueueSpec(name="two")

    first = Topology(exchanges=[media, logs], queues=[QueueSpec(name="one", bindings=bindings), two])
    second = Topology(exchanges=[logs, media], queues=[two, QueueSpec(name="one", bindings=again)])

    assert topology_digest(first) == topology_digest(second)


def test_field_left_out_counts_as_its_value_in_effect() -> None:
    assert with_queue() == with_queue(type="quorum", delivery_limit=20, retry=RetryPolicy())


def test_event_and_its_body_are_no_part_of_the_digest() -> None:
    event = EventSpec(pattern="a.{b}", exchange=media, body=dict)

    assert topology_digest(Topology(exchanges=[media], events=[event])) == topology_digest(Topology(exchanges=[media]))


@pytest.mark.parametrize(
    ("declared", "fields"),
    [
        (with_queue, {"type": "classic"}),
        (with_queue, {"type": "classic", "durable": False}),
        (with_queue, {"exclusive": True}),
        (with_queue, {"auto_delete": True}),
        (with_queue, {"passive": True}),
        (with_queue, {"max_length": 1}),
        (with_queue, {"arguments": {"x-some": True}}),
        (with_queue, {"arguments": {"x-some": 1}}),
        (with_queue, {"retry": RetryPolicy(delays=(7,))}),
        (with_queue, {"dead_letter": False}),
        (with_queue, {"bindings": [media.bind("a")]}),
        (with_queue, {"bindings": [media.bind("a.b")]}),
        (with_queue, {"bindings": [logs.bind(headers={"a": 1})]}),
        (with_queue, {"bindings": [logs.bind(headers={"a": 1}, match="any")]}),
        (with_exchange, {"type": "fanout"}),
        (with_exchange, {"durable": False}),
        (with_exchange, {"auto_delete": True}),
        (with_exchange, {"internal": True}),
        (with_exchange, {"passive": True}),
        (with_exchange, {"alternate_exchange": "media"}),
        (with_exchange, {"arguments": {"x-some": 1}}),
        (with_exchange, {"bindings": [media.bind("a")]}),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value),
)
def test_digest_changes_with_what_is_declared(declared: Callable[..., str], fields: dict[str, Any]) -> None:
    assert declared(**fields) != declared()


def test_digest_tells_what_is_retired_and_what_replaces_it() -> None:
    two = QueueSpec(name="two")

    digests = {
        topology_digest(topology)
        for topology in (
            Topology(queues=[two]),
            Topology(queues=[two], retired=["one"]),
            Topology(queues=[QueueSpec(name="two", replaces="one")]),
            Topology(queues=[QueueSpec(name="two", replaces="one", after="empty")]),
        )
    }

    assert len(digests) == 4
