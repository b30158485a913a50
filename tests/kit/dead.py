"""Dead letters as a worker leaves them, put where they lie by a client."""

from __future__ import annotations

from typing import Any

from tests.kit.peer import Peer

from taskroute import Publisher, Topology

FAILED_AT = "2026-01-02T03:04:05.678+00:00"


def declare(url: str, topology: Topology) -> None:
    """Have a broker make what a topology declares."""
    with Publisher(url, topology):
        pass


def letter(number: object = 1, *, queue: str = "orders", **headers: object) -> dict[str, Any]:
    """The properties of a letter that a worker has written."""
    return {
        "message_id": f"m{number}",
        "content_type": "application/json",
        "application_headers": {
            "x-taskroute-reason": "handler_error",
            "x-taskroute-error": "RuntimeError at shop.py:7",
            "x-taskroute-attempt": 4,
            "x-taskroute-queue": queue,
            "x-taskroute-exchange": "shop",
            "x-taskroute-routing-key": f"order.{number}",
            "x-taskroute-failed-at": FAILED_AT,
            "x-taskroute-handler": "shop.pay",
            **{f"x-taskroute-{name.replace('_', '-')}": value for name, value in headers.items()},
        },
    }


def put(peer: Peer, count: int, *, first: int = 1, lies_in: str = "orders.dead", queue: str = "orders") -> None:
    """Put letters of workers into a dead-letter queue, and wait until they are there."""
    for number in range(first, first + count):
        peer.submit(f'{{"n": {number}}}'.encode(), lies_in, **letter(number, queue=queue))
    peer.flush()
