"""Arguments of queues: which a type of queue has, which values it takes, and what is compared when declared again."""

from __future__ import annotations

from typing import Any

import amqp.exceptions
import pytest
from tests.kit.peer import Peer

TAKEN = 0
YEARS = 315_360_000_000

# The type of queue, an argument, a value, and what comes of it: on 3.10, on 4.0, from 4.3 on.
DECLARATIONS: list[tuple[str, str, Any, int, int, int]] = [
    ("classic", "x-queue-mode", "lazy", TAKEN, TAKEN, TAKEN),
    ("classic", "x-queue-mode", "lazzy", 406, 406, TAKEN),
    ("quorum", "x-queue-mode", "lazy", 406, 406, 406),
    ("classic", "x-queue-version", 1, TAKEN, TAKEN, 406),
    ("classic", "x-queue-version", 2, TAKEN, TAKEN, TAKEN),
    ("classic", "x-queue-version", 7, 406, 406, 406),
    ("classic", "x-queue-master-locator", "min-masters", TAKEN, TAKEN, 541),
    ("classic", "x-queue-master-locator", "nearest", 541, TAKEN, 541),
    ("quorum", "x-queue-master-locator", "min-masters", 406, 406, 406),
    ("classic", "x-queue-leader-locator", "balanced", 406, TAKEN, TAKEN),
    ("quorum", "x-queue-leader-locator", "balanced", TAKEN, TAKEN, TAKEN),
    ("quorum", "x-queue-leader-locator", "nearest", 406, 406, 406),
    ("quorum", "x-queue-leader-locator", "min-masters", 406, TAKEN, TAKEN),
    ("classic", "x-max-in-memory-length", 5, 406, 406, 406),
    ("quorum", "x-max-in-memory-length", 5, TAKEN, TAKEN, TAKEN),
    ("quorum", "x-max-in-memory-bytes", -1, 406, 406, 406),
    ("classic", "x-quorum-initial-group-size", 1, 406, 406, 406),
    ("quorum", "x-quorum-initial-group-size", 1, TAKEN, TAKEN, TAKEN),
    ("quorum", "x-quorum-initial-group-size", 0, 406, 406, 406),
    ("classic", "x-max-age", "1D", 406, 406, 406),
    ("classic", "x-message-ttl", YEARS, TAKEN, TAKEN, TAKEN),
    ("classic", "x-message-ttl", YEARS + 1, 406, 406, 406),
    ("classic", "x-message-ttl", True, 406, 406, 406),
    ("classic", "x-message-ttl", 5.0, 406, 406, 406),
    ("classic", "x-message-ttl", None, 406, 406, 406),
    ("classic", "x-expires", YEARS + 1, 406, 406, 406),
    ("classic", "x-consumer-timeout", -1, TAKEN, TAKEN, 406),
    ("quorum", "x-consumer-timeout", 60_000, TAKEN, TAKEN, TAKEN),
    ("quorum", "x-consumer-timeout", -1, TAKEN, TAKEN, 406),
    ("classic", "x-delayed-retry-min", 5, TAKEN, TAKEN, 406),
    ("quorum", "x-delayed-retry-min", -5, TAKEN, TAKEN, TAKEN),
    ("quorum", "x-delivery-limit", "many", TAKEN, TAKEN, TAKEN),
    ("classic", "x-single-active-consumer", 1, 406, 406, 406),
    ("classic", "x-dead-letter-exchange", None, 406, 406, 406),
    ("classic", "x-queue-type", 5, 406, 406, 406),
    ("classic", "x-whatever", [1], TAKEN, TAKEN, TAKEN),
]


def declared(peer: Peer, arguments: dict[str, Any]) -> int:
    """Declare a queue on a connection of its own, and return the code of the refusal."""
    other = peer.another()
    try:
        other.channel.queue_declare("q", durable=True, auto_delete=False, arguments=arguments)
    except amqp.exceptions.AMQPError as error:
        return int(error.code)
    return TAKEN


def test_arguments_are_checked_by_the_type_of_queue_and_the_version(peer: Peer) -> None:
    found = []
    for kind, name, value, *_ in DECLARATIONS:
        found.append((kind, name, value, declared(peer, {"x-queue-type": kind} | {name: value})))
        peer.channel.queue_delete("q")

    at = 0 if peer.version < (4, 0) else 1 if peer.version < (4, 3) else 2
    assert found == [(kind, name, value, codes[at]) for kind, name, value, *codes in DECLARATIONS]


# A type of queue, and an argument that has no effect, or says what is so anyway.
WITHOUT_EFFECT: list[tuple[str, str, Any]] = [
    ("classic", "x-queue-mode", "lazy"),
    ("classic", "x-queue-version", 2),
    ("classic", "x-single-active-consumer", False),
    ("quorum", "x-queue-leader-locator", "balanced"),
    ("quorum", "x-max-in-memory-length", 5),
    ("quorum", "x-quorum-initial-group-size", 1),
    ("quorum", "x-delivery-limit", 20),
    ("quorum", "x-dead-letter-strategy", "at-most-once"),
]


def test_an_argument_that_a_queue_lacks_is_a_difference(peer: Peer) -> None:
    for kind in ("classic", "quorum"):
        peer.queue(kind, x_queue_type=kind)

    for kind, argument, value in WITHOUT_EFFECT:
        with pytest.raises(amqp.exceptions.PreconditionFailed, match=f"inequivalent arg '{argument}'"):
            peer.queue(kind, x_queue_type=kind, **{argument.replace("-", "_"): value})


def test_an_argument_that_no_queue_has_is_no_difference(peer: Peer) -> None:
    peer.queue("q", x_whatever=1)
    peer.queue("q", x_whatever=2)


def test_a_declaration_that_differs_in_exclusive_is_locked(peer: Peer) -> None:
    """Before anything else is looked at, and on the same connection, too."""
    peer.queue("shared")
    peer.queue("own", exclusive=True)

    for name, exclusive in (("shared", True), ("own", False)):
        for wrong in ({"auto_delete": True}, {"x_queue_type": "quorum"}, {"x_dead_letter_routing_key": "q"}):
            with pytest.raises(amqp.exceptions.ResourceLocked, match=name):
                peer.queue(name, exclusive=exclusive, **wrong)
