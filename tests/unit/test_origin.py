"""Origin: what is believed of a dead letter follows from how the broker says that it was published."""

from __future__ import annotations

from typing import Any

import pytest

from taskroute.handling.settle import sent_again
from taskroute.message.origin import MAX_ATTEMPT, Origin, origin_of

RETRY: dict[str, object] = {
    "x-taskroute-attempt": 3,
    "x-taskroute-queue": "orders",
    "x-taskroute-exchange": "shop",
    "x-taskroute-routing-key": "order.paid",
}
LETTER: dict[str, object] = {
    **RETRY,
    "x-taskroute-reason": "rejected",
    "x-taskroute-error": "'why'",
    "x-taskroute-error-text": "why",
    "x-taskroute-error-traceback": "Traceback",
    "x-taskroute-handler": "app.pay",
}
FORGED: dict[str, object] = {
    "x-taskroute-attempt": 9,
    "x-taskroute-queue": "payments",
    "x-taskroute-exchange": "bank",
    "x-taskroute-routing-key": "transfer",
    "x-taskroute-reason": "rejected",
    "x-taskroute-error": "forged",
    "x-taskroute-error-text": "forged",
    "x-taskroute-error-traceback": "forged",
    "x-taskroute-handler": "forged",
}


def death(queue: str, exchange: str = "", *keys: str, reason: str = "expired") -> dict[str, object]:
    """Return an entry of ``x-death``, of a message that came by the queue's name unless an exchange is given."""
    return {"queue": queue, "reason": reason, "exchange": exchange, "routing-keys": list(keys or [queue]), "count": 1}


def origin(headers: dict[str, object], *deaths: object, queue: str = "orders.dead", **came: str) -> Origin:
    if deaths:
        headers = {**headers, "x-death": list(deaths)}
    return origin_of(headers, **{"queue": queue, "exchange": "", "routing_key": queue, **came})


def facts(found: Origin) -> tuple[Any, ...]:
    return found.queue, found.exchange, found.routing_key, found.attempt, found.reason, found.error, found.written_by


def test_letter_of_a_worker_has_its_origin_from_its_headers() -> None:
    assert facts(origin(LETTER)) == ("orders", "shop", "order.paid", 3, "rejected", "'why'", "worker")


def test_letter_of_the_broker_has_its_origin_from_x_death() -> None:
    """Whatever its publisher has written into its headers, `CC` and all."""
    first = death("orders", "shop", "order.paid", "copy")

    for headers in ({}, FORGED, LETTER):
        assert facts(origin(headers, first)) == ("orders", "shop", "order.paid", 1, "expired", "", "broker")


def test_letter_of_the_broker_after_a_retry_has_the_origin_of_the_retry() -> None:
    """A worker has put it into a wait queue, by its name: nobody else has written its headers."""
    deaths = [death("orders", reason="delivery_limit"), death("orders.retry.1000")]

    assert facts(origin(RETRY, *deaths)) == ("orders", "shop", "order.paid", 3, "delivery_limit", "", "broker")


def test_letter_of_a_worker_that_expires_keeps_its_origin() -> None:
    found = origin(LETTER, death("orders.dead"), queue="graveyard")

    assert facts(found) == ("orders", "shop", "order.paid", 3, "rejected", "'why'", "broker")


@pytest.mark.parametrize("came_first", [True, False])
def test_letter_that_the_broker_moved_twice_is_not_believed(came_first: bool) -> None:
    """Its last move was by a queue's name, and it was published elsewhere. Which entry is older differs by version."""
    moved, published = death("orders.dead"), death("orders", "shop", "order.paid")

    found = origin(FORGED, *((moved, published) if came_first else (published, moved)), queue="graveyard")

    assert (found.exchange, found.attempt) == (("", 1) if came_first else ("shop", 1))
    assert "bank" not in facts(found)


def test_letter_published_to_a_bound_dead_letter_queue_is_not_believed() -> None:
    found = origin(FORGED, exchange="shop", routing_key="order.paid")

    assert facts(found) == ("orders.dead", "shop", "order.paid", 1, "", "", "publisher")


def test_what_is_told_of_an_error_is_believed_where_the_error_is() -> None:
    of_worker, forged = origin(LETTER), origin(FORGED, exchange="shop", routing_key="order.paid")

    assert (of_worker.error_text, of_worker.error_traceback) == ("why", "Traceback")
    assert (forged.error_text, forged.error_traceback) == ("", "")
    assert (of_worker.handler, forged.handler) == ("app.pay", "")


@pytest.mark.parametrize("deaths", [[], "text", [5], [{}], [{"queue": 5, "exchange": None, "routing-keys": [7]}]])
def test_unreadable_deaths_make_no_origin_and_no_error(deaths: object) -> None:
    found = origin({"x-death": deaths, "x-taskroute-reason": 7})

    assert all(isinstance(text, str) for text in (found.queue, found.exchange, found.routing_key, found.reason))


def test_attempt_of_a_letter_is_clamped() -> None:
    assert origin({**LETTER, "x-taskroute-attempt": 2**62}).attempt == MAX_ATTEMPT
    assert origin({**LETTER, "x-taskroute-attempt": -1}).attempt == 1


def test_letter_sent_again_keeps_its_properties_and_loses_reserved_headers() -> None:
    kept: dict[str, object] = {
        "message_id": "m",
        "correlation_id": "c",
        "type": "t",
        "reply_to": "r",
        "timestamp": 5,
        "priority": 3,
        "app_id": "a",
        "content_type": "text/plain",
        "content_encoding": "gzip",
    }
    lost = {"x-taskroute-failed-at": "now", "x-delivery-count": 3, "x-first-death-queue": "orders", "CC": ["copy"]}
    headers = {**LETTER, **lost, "x-taskroute-original-bcc": ["b"], "tenant": "a"}
    sent = {**kept, "application_headers": headers, "expiration": "1", "user_id": "guest", "delivery_mode": 1}

    again = dict(sent_again(sent, queue="orders.dead", exchange="", routing_key="orders.dead"))

    assert again.pop("application_headers") == {
        **RETRY,
        "tenant": "a",
        "x-taskroute-attempt": 1,
        "x-taskroute-replays": 1,
        "x-taskroute-original-bcc": ["b"],
        "x-taskroute-original-cc": ["copy"],
        "x-taskroute-original-expiration": "1",
        "x-taskroute-original-user-id": "guest",
    }
    assert again == {**kept, "delivery_mode": 2}


@pytest.mark.parametrize(
    ("exchange", "key"), [("shop", "orders"), ("", "order.paid"), ("shop", "order.paid"), (None, "orders")]
)
def test_headers_count_only_if_the_broker_says_that_they_came_by_the_queues_name(exchange: Any, key: str) -> None:
    """Who may publish to an exchange may do so by the name of any queue that it feeds."""
    published = {**death("orders"), "exchange": exchange, "routing-keys": [key]}

    found = origin(FORGED, published)

    assert (found.queue, found.attempt, found.handler, found.error_text) == ("orders", 1, "", "")
    assert origin(FORGED, death("orders")).queue == "payments"  # which a worker of that service has written
