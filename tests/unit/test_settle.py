"""What the broker is told about a delivery: an ack, another attempt, or the dead-letter queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskroute.handling.settle import ACK, Ack, Republish, settle
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Retry
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy

NOW = datetime(2024, 5, 1, 12, 30, 15, 250_000, tzinfo=UTC)
QUEUE = QueueSpec(name="q", retry=RetryPolicy(delays=[1, 5, 25]))
ERROR = Failed("handler_error", "ValueError at app.py:3", retryable=True)
INVALID = Failed("invalid_body", "id: missing")


def seconds(*numbers: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=number) for number in numbers)


def asked(delay: float | None = None, delays: tuple[timedelta, ...] | None = None) -> Failed:
    retry = Retry(delay=delay)
    return Failed("handler_error", "Retry", retryable=True, delay=retry.delay, asked_for_retry=True, delays=delays)


def first(headers: dict[str, object] | None = None, body: bytes = b"{}", **properties: Any) -> Delivery:
    if headers is not None:
        properties["application_headers"] = headers
    return Delivery(queue="q", exchange="media", routing_key="video.a", body=body, properties=properties)


def given_back(hand_over: Republish, queue: str = "q") -> Delivery:
    """The delivery that the broker makes of a hand-over once it has waited."""
    headers = {**headers_of(hand_over), "x-death": [{"reason": "expired"}], "x-first-death-reason": "expired"}
    properties = {**hand_over.properties, "application_headers": headers}
    return Delivery(queue=queue, exchange="", routing_key=queue, body=hand_over.body, properties=properties)


def handed_over(delivery: Delivery, outcome: Failed, queue: QueueSpec = QUEUE) -> Republish:
    settlement = settle(delivery, outcome, queue, NOW)
    assert isinstance(settlement, Republish)
    return settlement


def headers_of(hand_over: Republish) -> dict[str, object]:
    headers = hand_over.properties["application_headers"]
    assert isinstance(headers, dict)
    return headers


def queues_visited(outcome: Failed, queue: QueueSpec = QUEUE) -> list[str]:
    """Where a message goes that fails the same way on every attempt."""
    delivery, visited = first(), list[str]()
    while True:
        settlement = settle(delivery, outcome, queue, NOW)
        if not isinstance(settlement, Republish):
            return visited
        visited.append(settlement.queue)
        if settlement.kind == "dead_letter":
            return visited
        delivery = given_back(settlement)


# --- where to ---


def test_what_was_handled_is_acknowledged() -> None:
    assert settle(first(), Handled("app.handle"), QUEUE, NOW) == ACK


def test_a_failure_is_tried_again_after_each_delay_and_then_dead_lettered() -> None:
    assert queues_visited(ERROR) == ["q.retry.1000", "q.retry.5000", "q.retry.25000", "q.dead"]


def test_delays_are_taken_as_listed_even_when_they_repeat_or_shrink() -> None:
    queue = QueueSpec(name="q", retry=RetryPolicy(delays=[5, 1, 5]))
    assert queues_visited(ERROR, queue) == ["q.retry.5000", "q.retry.1000", "q.retry.5000", "q.dead"]


def test_a_failure_that_would_end_the_same_way_is_dead_lettered_at_once() -> None:
    assert queues_visited(INVALID) == ["q.dead"]
    assert queues_visited(Failed("rejected", "'no'")) == ["q.dead"]


def test_without_a_policy_a_failure_is_dead_lettered_at_once() -> None:
    assert queues_visited(ERROR, QueueSpec(name="q", retry=False)) == ["q.dead"]


def test_a_queue_may_name_its_dead_letter_queue() -> None:
    assert queues_visited(INVALID, QueueSpec(name="q", dead_letter="failures")) == ["failures"]


def test_a_queue_that_keeps_no_failures_drops_them_and_says_which() -> None:
    temporary = QueueSpec(name="q", exclusive=True)
    assert settle(first(), ERROR, temporary, NOW) == Ack(dropped=ERROR)
    tried = QueueSpec(name="q", exclusive=True, retry=RetryPolicy(delays=[1]))
    assert queues_visited(ERROR, tried) == ["q.retry.1000"]


def test_a_handlers_own_retry_counts_instead_of_the_queues() -> None:
    once = Failed("handler_error", "e", retryable=True, delays=seconds(25))
    never = Failed("handler_error", "e", retryable=True, delays=())
    assert queues_visited(once) == ["q.retry.25000", "q.dead"]
    assert queues_visited(never) == ["q.dead"]


@pytest.mark.parametrize(
    ("delay", "wait_queue"),
    [
        (None, "q.retry.1000"),
        (0, "q.retry.1000"),
        (-1, "q.retry.1000"),
        (1, "q.retry.1000"),
        (1.001, "q.retry.5000"),
        (5, "q.retry.5000"),
        (6, "q.retry.25000"),
        (3600, "q.retry.25000"),
    ],
)
def test_a_retry_waits_in_the_next_longer_queue_or_else_the_longest(delay: float | None, wait_queue: str) -> None:
    assert handed_over(first(), asked(delay)).queue == wait_queue


def test_asking_for_a_retry_counts_like_any_other_attempt() -> None:
    assert queues_visited(asked(25)) == ["q.retry.25000"] * 3 + ["q.dead"]
    assert queues_visited(asked(25, delays=seconds(1))) == ["q.retry.25000", "q.dead"]


@pytest.mark.parametrize(
    ("outcome", "retry", "reason"),
    [
        (asked(), False, "retry_unavailable"),
        (ERROR, False, "handler_error"),
        (INVALID, RetryPolicy(), "invalid_body"),
    ],
)
def test_the_reason_says_why(outcome: Failed, retry: Any, reason: str) -> None:
    hand_over = handed_over(first(), outcome, QueueSpec(name="q", retry=retry))
    assert hand_over.kind == "dead_letter"
    assert hand_over.reason == headers_of(hand_over)["x-taskroute-reason"] == reason


@given(st.lists(st.sampled_from([1, 5, 25]), min_size=1, max_size=5), st.integers(1, 10))
def test_an_attempt_waits_for_its_own_delay(delays: list[int], attempt: int) -> None:
    queue = QueueSpec(name="q", retry=RetryPolicy(delays=delays))
    delivery = first()
    delivery.attempt = attempt
    expected = f"q.retry.{delays[attempt - 1]}000" if attempt <= len(delays) else "q.dead"
    assert handed_over(delivery, ERROR, queue).queue == expected


# --- what is handed over ---


def test_a_dead_letter_says_what_happened_where_and_when() -> None:
    assert headers_of(handed_over(first({"tenant": "a"}), INVALID)) == {
        "tenant": "a",
        "x-taskroute-reason": "invalid_body",
        "x-taskroute-error": "id: missing",
        "x-taskroute-attempt": 1,
        "x-taskroute-queue": "q",
        "x-taskroute-exchange": "media",
        "x-taskroute-routing-key": "video.a",
        "x-taskroute-failed-at": "2024-05-01T12:30:15.250+00:00",
    }


def test_a_retry_says_which_attempt_comes_next_and_where_the_message_came_from() -> None:
    headers = headers_of(handed_over(first({"tenant": "a"}), ERROR))
    assert headers == {
        "tenant": "a",
        "x-taskroute-attempt": 2,
        "x-taskroute-queue": "q",
        "x-taskroute-exchange": "media",
        "x-taskroute-routing-key": "video.a",
    }


def test_every_attempt_sees_the_origin_and_the_last_one_is_counted() -> None:
    delivery = first()
    for attempt in (1, 2, 3):
        assert (delivery.attempt, delivery.exchange, delivery.routing_key) == (attempt, "media", "video.a")
        delivery = given_back(handed_over(delivery, ERROR))
    headers = headers_of(handed_over(delivery, ERROR))
    assert (headers["x-taskroute-attempt"], headers["x-taskroute-routing-key"]) == (4, "video.a")


@given(st.binary(max_size=40))
def test_the_body_is_handed_over_byte_for_byte(body: bytes) -> None:
    for outcome in (ERROR, INVALID):
        assert handed_over(first(body=body, content_encoding="utf-7"), outcome).body == body


def test_properties_are_copied_except_what_would_expire_the_message_or_close_the_channel() -> None:
    kept: dict[str, object] = {
        "content_type": "text/plain",
        "content_encoding": "utf-7",
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "m",
        "timestamp": 5,
        "type": "t",
        "app_id": "a",
    }
    sent: dict[str, Any] = {**kept, "expiration": "100", "user_id": "guest", "delivery_mode": 1}
    for outcome in (ERROR, INVALID):
        properties = dict(handed_over(first({}, **sent), outcome).properties)
        headers = properties.pop("application_headers")
        assert properties == {**kept, "delivery_mode": 2}
        assert isinstance(headers, dict)
        assert headers["x-taskroute-original-expiration"] == "100"
        assert headers["x-taskroute-original-user-id"] == "guest"


def test_cc_and_bcc_do_not_travel_on_but_are_kept_as_the_original_ones() -> None:
    for outcome in (ERROR, INVALID):
        headers = headers_of(handed_over(first({"CC": ["victim"], "BCC": ["other"]}), outcome))
        assert "CC" not in headers
        assert "BCC" not in headers
        assert headers["x-taskroute-original-cc"] == ["victim"]
        assert headers["x-taskroute-original-bcc"] == ["other"]


def test_the_originals_survive_every_attempt() -> None:
    delivery = first({"CC": ["victim"]}, expiration="100", user_id="guest")
    for _ in range(3):
        delivery = given_back(handed_over(delivery, ERROR))
    headers = headers_of(handed_over(delivery, ERROR))
    assert headers["x-taskroute-original-cc"] == ["victim"]
    assert headers["x-taskroute-original-expiration"] == "100"
    assert headers["x-taskroute-original-user-id"] == "guest"


FORGED: dict[str, object] = {
    "x-death": [{"count": 99}],
    "x-first-death-queue": "bank",
    "x-last-death-reason": "expired",
    "x-delivery-count": 99,
    "x-taskroute-attempt": 99,
    "x-taskroute-exchange": "bank",
    "x-taskroute-routing-key": "transfer",
    "x-taskroute-reason": "rejected",
    "x-taskroute-original-cc": ["bank"],
    "x-taskroute-anything": 1,
}


@pytest.mark.parametrize("outcome", [ERROR, INVALID])
def test_forged_headers_are_stripped_and_never_believed(outcome: Failed) -> None:
    headers = headers_of(handed_over(first({**FORGED, "tenant": "a"}), outcome))
    assert headers == headers_of(handed_over(first({"tenant": "a"}), outcome))


def test_a_forged_attempt_through_the_default_exchange_costs_the_forger_his_retries_only() -> None:
    headers = {**FORGED, "x-taskroute-queue": "q"}
    properties = {"application_headers": headers}
    delivery = Delivery(queue="q", exchange="", routing_key="q", body=b"", properties=properties)
    hand_over = handed_over(delivery, ERROR)
    assert (hand_over.queue, hand_over.kind) == ("q.dead", "dead_letter")


def test_a_dead_letter_that_is_handled_and_fails_is_tried_by_its_own_queues_policy() -> None:
    failures = QueueSpec(name="failures", retry=RetryPolicy(delays=[1]))
    dead = given_back(handed_over(first(), INVALID), queue="failures")
    assert handed_over(dead, ERROR, failures).queue == "failures.retry.1000"
    again = given_back(handed_over(dead, ERROR, failures), queue="failures")
    assert (again.attempt, again.routing_key) == (2, "video.a")
    assert handed_over(again, ERROR, failures).queue == "failures.dead"


def test_an_error_is_cut_before_it_becomes_a_header() -> None:
    headers = headers_of(handed_over(first(), Failed("rejected", "x" * 5000)))
    assert headers["x-taskroute-error"] == "x" * 500


def test_nothing_of_the_delivery_is_changed() -> None:
    headers: dict[str, object] = {"CC": ["a"], "x-death": []}
    delivery = first(headers, expiration="1")
    handed_over(delivery, ERROR)
    handed_over(delivery, INVALID)
    assert headers == {"CC": ["a"], "x-death": []}
    assert dict(delivery.properties) == {"application_headers": headers, "expiration": "1"}
