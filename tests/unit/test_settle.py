"""How a delivery is settled: acknowledged, republished for another attempt, or dead-lettered."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskroute.handling.settle import ACK, Ack, Republish, settle
from taskroute.message.delivery import Delivery
from taskroute.message.outcome import Failed, Handled, Retry
from taskroute.raised import Raised
from taskroute.topology.queue import QueueSpec
from taskroute.topology.retry_policy import RetryPolicy

NOW = datetime(2024, 5, 1, 12, 30, 15, 250_000, tzinfo=UTC)
QUEUE = QueueSpec(name="q", retry=RetryPolicy(delays=[1, 5, 25]))
ERROR = Failed("handler_error", "ValueError at app.py:3", retryable=True)
INVALID = Failed("invalid_body", "id: missing")


def seconds(*numbers: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=number) for number in numbers)


def retry_asked_for(delay: float | None = None, delays: tuple[timedelta, ...] | None = None) -> Failed:
    retry = Retry(delay=delay)
    return Failed("handler_error", "Retry", retryable=True, delay=retry.delay, asked_for_retry=True, delays=delays)


def first(headers: dict[str, object] | None = None, body: bytes = b"{}", **properties: Any) -> Delivery:
    if headers is not None:
        properties["application_headers"] = headers
    return Delivery(queue="q", exchange="media", routing_key="video.a", body=body, properties=properties)


def returned_from_wait(republish: Republish, queue: str = "q") -> Delivery:
    """Return the delivery that the broker makes of a republished message once its wait is over."""
    death = {"queue": republish.queue, "reason": "expired", "exchange": "", "routing-keys": [republish.queue]}
    headers = {**headers_of(republish), "x-death": [death], "x-first-death-reason": "expired"}
    properties = {**republish.properties, "application_headers": headers}
    return Delivery(queue=queue, exchange="", routing_key=queue, body=republish.body, properties=properties)


def republished(delivery: Delivery, outcome: Failed, queue: QueueSpec = QUEUE) -> Republish:
    settlement = settle(delivery, outcome, queue, NOW)
    assert isinstance(settlement, Republish)
    return settlement


def headers_of(republish: Republish) -> dict[str, object]:
    headers = republish.properties["application_headers"]
    assert isinstance(headers, dict)
    return headers


def queues_visited(outcome: Failed, queue: QueueSpec = QUEUE) -> list[str]:
    """Return the queues that a message passes which fails the same way on every attempt."""
    delivery, visited = first(), list[str]()
    while True:
        settlement = settle(delivery, outcome, queue, NOW)
        if not isinstance(settlement, Republish):
            return visited
        visited.append(settlement.queue)
        if settlement.kind == "dead_letter":
            return visited
        delivery = returned_from_wait(settlement)


# --- the queue ---


def test_handled_message_is_acknowledged() -> None:
    assert settle(first(), Handled("app.handle"), QUEUE, NOW) == ACK


def test_failure_is_retried_after_each_delay_then_dead_lettered() -> None:
    assert queues_visited(ERROR) == ["q.retry.1000", "q.retry.5000", "q.retry.25000", "q.dead"]


def test_delays_are_used_as_listed_if_they_repeat_or_shrink() -> None:
    queue = QueueSpec(name="q", retry=RetryPolicy(delays=[5, 1, 5]))

    assert queues_visited(ERROR, queue) == ["q.retry.5000", "q.retry.1000", "q.retry.5000", "q.dead"]


def test_permanent_failure_is_dead_lettered_at_once() -> None:
    """An invalid body and a rejection would fail the same way on every attempt."""
    assert queues_visited(INVALID) == ["q.dead"]
    assert queues_visited(Failed("rejected", "'no'")) == ["q.dead"]


def test_failure_without_retry_policy_is_dead_lettered_at_once() -> None:
    assert queues_visited(ERROR, QueueSpec(name="q", retry=False)) == ["q.dead"]


def test_queue_may_name_its_dead_letter_queue() -> None:
    assert queues_visited(INVALID, QueueSpec(name="q", dead_letter="failures")) == ["failures"]


def test_queue_without_dead_letter_queue_drops_failures() -> None:
    """The acknowledgement carries the failure that it drops."""
    temporary = QueueSpec(name="q", exclusive=True)
    assert settle(first(), ERROR, temporary, NOW) == Ack(dropped=ERROR)

    tried = QueueSpec(name="q", exclusive=True, retry=RetryPolicy(delays=[1]))
    assert queues_visited(ERROR, tried) == ["q.retry.1000"]


def test_retry_delays_of_handler_replace_those_of_its_queue() -> None:
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
def test_asked_delay_waits_in_next_longer_queue_or_the_longest(delay: float | None, wait_queue: str) -> None:
    """There is a wait queue for each delay of the policy, and no other."""
    assert republished(first(), retry_asked_for(delay)).queue == wait_queue


def test_retry_asked_for_counts_like_any_other_attempt() -> None:
    assert queues_visited(retry_asked_for(25)) == ["q.retry.25000"] * 3 + ["q.dead"]
    assert queues_visited(retry_asked_for(25, delays=seconds(1))) == ["q.retry.25000", "q.dead"]


@pytest.mark.parametrize(
    ("outcome", "retry", "reason"),
    [
        (retry_asked_for(), False, "retry_unavailable"),
        (ERROR, False, "handler_error"),
        (INVALID, RetryPolicy(), "invalid_body"),
    ],
)
def test_dead_letter_reason_follows_from_failure_and_policy(outcome: Failed, retry: Any, reason: str) -> None:
    republish = republished(first(), outcome, QueueSpec(name="q", retry=retry))

    assert republish.kind == "dead_letter"
    assert republish.reason == headers_of(republish)["x-taskroute-reason"] == reason


@given(st.lists(st.sampled_from([1, 5, 25]), min_size=1, max_size=5), st.integers(1, 10))
def test_attempt_waits_for_its_own_delay(delays: list[int], attempt: int) -> None:
    queue = QueueSpec(name="q", retry=RetryPolicy(delays=delays))
    delivery = first()
    delivery.attempt = attempt

    expected = f"q.retry.{delays[attempt - 1]}000" if attempt <= len(delays) else "q.dead"
    assert republished(delivery, ERROR, queue).queue == expected


# --- the message ---


def test_dead_letter_says_what_happened_where_and_when() -> None:
    assert headers_of(republished(first({"tenant": "a"}), INVALID)) == {
        "tenant": "a",
        "x-taskroute-reason": "invalid_body",
        "x-taskroute-error": "id: missing",
        "x-taskroute-attempt": 1,
        "x-taskroute-queue": "q",
        "x-taskroute-exchange": "media",
        "x-taskroute-routing-key": "video.a",
        "x-taskroute-failed-at": "2024-05-01T12:30:15.250+00:00",
    }


def test_retry_carries_its_next_attempt_and_its_origin() -> None:
    headers = headers_of(republished(first({"tenant": "a"}), ERROR))

    assert headers == {
        "tenant": "a",
        "x-taskroute-attempt": 2,
        "x-taskroute-queue": "q",
        "x-taskroute-exchange": "media",
        "x-taskroute-routing-key": "video.a",
    }


def test_every_attempt_sees_its_origin_and_the_last_is_counted() -> None:
    delivery = first()
    for attempt in (1, 2, 3):
        assert (delivery.attempt, delivery.exchange, delivery.routing_key) == (attempt, "media", "video.a")
        delivery = returned_from_wait(republished(delivery, ERROR))

    headers = headers_of(republished(delivery, ERROR))

    assert (headers["x-taskroute-attempt"], headers["x-taskroute-routing-key"]) == (4, "video.a")


@given(st.binary(max_size=40))
def test_body_is_republished_byte_for_byte(body: bytes) -> None:
    for outcome in (ERROR, INVALID):
        assert republished(first(body=body, content_encoding="utf-7"), outcome).body == body


def test_properties_are_copied_except_expiration_and_user_id() -> None:
    """The first would expire the message, the second would close the channel; headers keep both."""
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
        properties = dict(republished(first({}, **sent), outcome).properties)
        headers = properties.pop("application_headers")
        assert properties == {**kept, "delivery_mode": 2}
        assert isinstance(headers, dict)
        assert headers["x-taskroute-original-expiration"] == "100"
        assert headers["x-taskroute-original-user-id"] == "guest"


def test_cc_and_bcc_are_kept_only_as_original_headers() -> None:
    """Copied as they are, they would send each attempt to further queues."""
    for outcome in (ERROR, INVALID):
        headers = headers_of(republished(first({"CC": ["victim"], "BCC": ["other"]}), outcome))
        assert "CC" not in headers
        assert "BCC" not in headers
        assert headers["x-taskroute-original-cc"] == ["victim"]
        assert headers["x-taskroute-original-bcc"] == ["other"]


def test_original_headers_survive_every_attempt() -> None:
    delivery = first({"CC": ["victim"]}, expiration="100", user_id="guest")
    for _ in range(3):
        delivery = returned_from_wait(republished(delivery, ERROR))

    headers = headers_of(republished(delivery, ERROR))

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
    """Reserved headers count only where the broker proves who wrote them."""
    headers = headers_of(republished(first({**FORGED, "tenant": "a"}), outcome))

    assert headers == headers_of(republished(first({"tenant": "a"}), outcome))


def test_forged_attempt_costs_its_message_only_its_retries() -> None:
    """A sender can forge an attempt through the default exchange: its message is dead-lettered, not lost."""
    headers = {name: value for name, value in FORGED.items() if name != "x-death"} | {"x-taskroute-queue": "q"}
    properties = {"application_headers": headers}
    delivery = Delivery(queue="q", exchange="", routing_key="q", body=b"", properties=properties)

    republish = republished(delivery, ERROR)

    assert (republish.queue, republish.kind) == ("q.dead", "dead_letter")


def test_dead_letter_that_fails_is_retried_by_policy_of_its_queue() -> None:
    """The queue that holds it counts from its first attempt, and the origin stays."""
    failures = QueueSpec(name="failures", retry=RetryPolicy(delays=[1]))

    dead = returned_from_wait(republished(first(), INVALID), queue="failures")
    assert republished(dead, ERROR, failures).queue == "failures.retry.1000"

    again = returned_from_wait(republished(dead, ERROR, failures), queue="failures")
    assert (again.attempt, again.routing_key) == (2, "video.a")
    assert republished(again, ERROR, failures).queue == "failures.dead"


def test_long_error_is_cut_before_it_becomes_a_header() -> None:
    headers = headers_of(republished(first(), Failed("rejected", "x" * 5000)))

    assert headers["x-taskroute-error"] == "x" * 500


def test_dead_letter_tells_of_the_exception_and_a_retry_does_not() -> None:
    """Escaped, so that nothing that shows it is commanded by it."""
    raised = Raised("ValueError", "app.py:3", "two\nlines " + "x" * 1000, "Traceback")
    failed = replace(ERROR, raised=raised)

    letter = headers_of(republished(first(), replace(failed, retryable=False)))
    retry = headers_of(republished(first(letter), failed))

    assert letter["x-taskroute-error-text"] == ("two\\nlines " + "x" * 1000)[:500]
    assert letter["x-taskroute-error-traceback"] == "Traceback"
    assert not {"x-taskroute-error-text", "x-taskroute-error-traceback"} & retry.keys()


def test_dead_letter_names_its_handler_where_one_was_found() -> None:
    letter = headers_of(republished(first(), replace(INVALID, handler="app.pay")))
    without = headers_of(republished(first(letter), replace(INVALID, handler=None)))

    assert letter["x-taskroute-handler"] == "app.pay"
    assert "x-taskroute-handler" not in without


def test_settle_changes_nothing_of_the_delivery() -> None:
    headers: dict[str, object] = {"CC": ["a"], "x-death": []}
    delivery = first(headers, expiration="1")

    republished(delivery, ERROR)
    republished(delivery, INVALID)

    assert headers == {"CC": ["a"], "x-death": []}
    assert dict(delivery.properties) == {"application_headers": headers, "expiration": "1"}
