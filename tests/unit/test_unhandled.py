"""Unhandled: a key that the worker's topology routes to its queue is final, and any other may be somebody newer's."""

from __future__ import annotations

from typing import Any

import pytest

from taskroute import ExchangeSpec, QueueSpec, Topology
from taskroute.handling.unhandled import unhandled
from taskroute.message.delivery import Delivery

media = ExchangeSpec(name="media", alternate_exchange="rest")
rest = ExchangeSpec(name="rest", type="fanout")
theirs = ExchangeSpec(name="theirs", passive=True)
front = ExchangeSpec(name="front")
behind = ExchangeSpec(name="behind", internal=True, bindings=[front.bind("video.*")])
tagged = ExchangeSpec(name="tagged", type="headers")
q = QueueSpec(
    name="q",
    bindings=[
        media.bind("video.*"),
        theirs.bind("known.#"),
        behind.bind("video.old"),
        tagged.bind(headers={"kind": "video"}),
    ],
)
others = QueueSpec(name="others", bindings=[rest.bind(), media.bind("other.*")])
topology = Topology(exchanges=[media, rest, theirs, front, behind, tagged], queues=[q, others])


def outcome(
    exchange: str, key: str, headers: dict[str, object] | None = None, queue: str = "q", of: Topology = topology
) -> tuple[str, bool]:
    properties: Any = {"application_headers": headers or {}}
    failed = unhandled(Delivery(queue=queue, exchange=exchange, routing_key=key, body=b"", properties=properties), of)
    return failed.reason, failed.retryable


NO_HANDLER = ("no_handler", False)
UNKNOWN_KEY = ("unknown_key", True)


@pytest.mark.parametrize(
    ("exchange", "known", "unknown"),
    [
        ("media", "video.a", "audio.a"),
        ("media", "video.a", "other.a"),  # routed, to another queue
        ("theirs", "known.a.b", "a"),
        ("front", "video.old", "video.new"),
    ],
)
def test_key_that_the_topology_does_not_route_to_the_queue_is_unknown(exchange: str, known: str, unknown: str) -> None:
    assert outcome(exchange, known) == NO_HANDLER
    assert outcome(exchange, unknown) == UNKNOWN_KEY


def test_message_of_a_headers_exchange_is_known_by_its_headers() -> None:
    assert outcome("tagged", "a", {"kind": "video"}) == NO_HANDLER
    assert outcome("tagged", "a", {"kind": "audio"}) == UNKNOWN_KEY


def test_every_key_of_a_fanout_exchange_is_known() -> None:
    assert outcome("rest", "any", queue="others") == NO_HANDLER
    assert outcome("rest", "any") == UNKNOWN_KEY


def test_key_that_comes_by_an_alternate_exchange_is_known() -> None:
    assert outcome("media", "audio.a", queue="others") == NO_HANDLER


@pytest.mark.parametrize("exchange", ["foreign", "behind", "amq.topic"])
def test_key_of_an_exchange_that_nobody_here_publishes_to_is_unknown(exchange: str) -> None:
    """It is not in the topology, or is internal there."""
    assert outcome(exchange, "video.old") == UNKNOWN_KEY


def test_message_sent_to_the_queue_by_its_name_is_known() -> None:
    assert outcome("", "q") == NO_HANDLER


def test_further_routing_key_makes_a_message_known() -> None:
    assert outcome("media", "audio.a", {"CC": ["video.a"]}) == NO_HANDLER
    assert outcome("media", "audio.a", {"CC": "video.a"}) == UNKNOWN_KEY  # no list, which no broker takes


def retry_of(exchange: str, key: str, queue: str, **headers: object) -> dict[str, object]:
    return {
        "x-taskroute-attempt": 2,
        "x-taskroute-queue": queue,
        "x-taskroute-exchange": exchange,
        "x-taskroute-routing-key": key,
        **headers,
    }


def test_retry_is_judged_by_the_key_that_it_was_published_with() -> None:
    assert outcome("", "q", retry_of("media", "video.a", "q")) == NO_HANDLER
    assert outcome("", "q", retry_of("media", "audio.a", "q")) == UNKNOWN_KEY
    copied = {"x-taskroute-original-cc": ["video.a"]}
    assert outcome("", "q", {**retry_of("media", "audio.a", "q"), **copied}) == NO_HANDLER


def test_dead_letter_of_another_queue_is_known() -> None:
    """No binding brings dead letters to the queue that collects them."""
    assert outcome("", "q", retry_of("media", "other.a", "others")) == NO_HANDLER
