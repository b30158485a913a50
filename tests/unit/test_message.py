"""Delivery and Message: a delivery as the broker made it, and the envelope that a handler sees."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskroute.message.delivery import Delivery
from taskroute.message.message import Message
from taskroute.message.origin import MAX_ATTEMPT

OURS: dict[str, object] = {
    "x-taskroute-attempt": 3,
    "x-taskroute-queue": "q",
    "x-taskroute-exchange": "media",
    "x-taskroute-routing-key": "video.upload",
}


def delivery(
    headers: object = None, *, exchange: str = "", routing_key: str = "q", queue: str = "q", **properties: Any
) -> Delivery:
    if headers is not None:
        properties["application_headers"] = headers
    return Delivery(queue=queue, exchange=exchange, routing_key=routing_key, body=b"{}", properties=properties)


def test_retried_delivery_has_its_origin_and_attempt_again() -> None:
    again = delivery(OURS)
    assert (again.exchange, again.routing_key, again.attempt, again.is_retry) == ("media", "video.upload", 3, True)

    message = again.message()
    assert (message.exchange, message.routing_key, message.attempt, message.queue) == ("media", "video.upload", 3, "q")


@pytest.mark.parametrize(
    ("exchange", "routing_key"),
    [("media", "q"), ("media", "video.upload"), ("", "other"), ("amq.default", "q"), ("", "")],
)
def test_reserved_headers_count_only_where_the_broker_proves_them(exchange: str, routing_key: str) -> None:
    """Only a delivery through the default exchange to its own queue can be a retry."""
    forged = delivery(OURS, exchange=exchange, routing_key=routing_key)

    assert (forged.exchange, forged.routing_key) == (exchange, routing_key)
    assert (forged.attempt, forged.is_retry) == (1, False)


@pytest.mark.parametrize(
    "change",
    [
        {"x-taskroute-attempt": "3"},
        {"x-taskroute-attempt": None},
        {"x-taskroute-attempt": 2.5},
        {"x-taskroute-exchange": 5},
        {"x-taskroute-routing-key": b"video"},
    ],
)
def test_reserved_headers_of_a_wrong_type_do_not_count(change: dict[str, object]) -> None:
    forged = delivery({**OURS, **change})

    assert (forged.exchange, forged.routing_key, forged.attempt, forged.is_retry) == ("", "q", 1, False)


@pytest.mark.parametrize("missing", ["x-taskroute-attempt", "x-taskroute-exchange", "x-taskroute-routing-key"])
def test_reserved_headers_count_together_or_not_at_all(missing: str) -> None:
    headers = {name: value for name, value in OURS.items() if name != missing}

    assert not delivery(headers).is_retry


@pytest.mark.parametrize(
    ("attempt", "clamped"), [(0, 1), (-5, 1), (1, 1), (MAX_ATTEMPT, MAX_ATTEMPT), (2**63, MAX_ATTEMPT), (True, 1)]
)
def test_attempt_from_outside_is_clamped(attempt: int, clamped: int) -> None:
    assert delivery({**OURS, "x-taskroute-attempt": attempt}).attempt == clamped


def test_dead_letter_begins_at_its_first_attempt() -> None:
    """The attempts of the queue that dead-lettered it do not count in the dead-letter queue."""
    dead = delivery({**OURS, "x-taskroute-reason": "rejected"}, queue="q.dead", routing_key="q.dead")

    assert dead.attempt == 1
    assert (dead.exchange, dead.routing_key) == ("media", "video.upload")


BY_NAME: dict[str, object] = {"queue": "a", "reason": "expired", "exchange": "", "routing-keys": ["a", "copy"]}


@pytest.mark.parametrize(
    "change",
    [
        {"exchange": "shop"},
        {"exchange": None},
        {"queue": "b"},
        {"routing-keys": ["copy", "a"]},
        {"routing-keys": []},
        {"routing-keys": "a"},
    ],
)
def test_headers_published_elsewhere_and_dead_lettered_do_not_count(change: dict[str, object]) -> None:
    """The broker may have brought the message here by the queue's name; its headers are anybody's all the same."""
    wait_queue = {**BY_NAME, "queue": "q.retry.1000", "routing-keys": ["q.retry.1000"]}

    assert delivery({**OURS, "x-death": [wait_queue, BY_NAME]}).is_retry
    for deaths in ([{**BY_NAME, **change}], [wait_queue, {**BY_NAME, **change}], [{**BY_NAME, **change}, wait_queue]):
        forged = delivery({**OURS, "x-death": deaths})
        assert (forged.exchange, forged.routing_key, forged.attempt, forged.is_retry) == ("", "q", 1, False)


@pytest.mark.parametrize("deaths", ["a", 5, [5], [None], {"queue": "a"}])
def test_headers_beside_an_unreadable_x_death_do_not_count(deaths: object) -> None:
    assert not delivery({**OURS, "x-death": deaths}).is_retry


@pytest.mark.parametrize("headers", [None, "text", [1], 5])
def test_headers_that_are_not_a_table_are_empty(headers: object) -> None:
    assert delivery(headers).headers == {}
    assert delivery(headers).message().headers == {}


def test_message_has_every_property_of_its_delivery() -> None:
    message = delivery(
        {"tenant": "a"},
        exchange="media",
        routing_key="video.upload",
        message_id="m",
        correlation_id="c",
        type="Video",
        content_type="application/json",
        timestamp=datetime(2024, 5, 1, tzinfo=UTC),
        reply_to="r",
        priority=3,
    ).message()

    assert message == Message(
        body=b"{}",
        queue="q",
        exchange="media",
        routing_key="video.upload",
        headers={"tenant": "a"},
        message_id="m",
        correlation_id="c",
        type="Video",
        content_type="application/json",
        timestamp=datetime(2024, 5, 1, tzinfo=UTC),
        reply_to="r",
        priority=3,
    )


WRONG = st.one_of(st.none(), st.booleans(), st.integers(), st.binary(max_size=3), st.lists(st.integers(), max_size=2))
NAMES = ["message_id", "correlation_id", "type", "content_type", "timestamp", "reply_to", "priority"]


@given(st.dictionaries(st.sampled_from([*NAMES, "application_headers"]), WRONG))
def test_properties_of_wrong_types_still_make_a_message(properties: dict[str, object]) -> None:
    """Senders write what they like: a property of a wrong type is None."""
    message = Delivery(queue="q", exchange="e", routing_key="k", body=b"", properties=properties).message()

    texts = (message.message_id, message.correlation_id, message.type, message.content_type, message.reply_to)
    assert all(text is None or isinstance(text, str) for text in texts)
    assert message.timestamp is None or message.timestamp.tzinfo is not None
    assert message.priority is None or isinstance(message.priority, int)


@pytest.mark.parametrize(
    ("sent", "moment"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 - as py-amqp gives it
        (datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2))), datetime(2023, 12, 31, 22, tzinfo=UTC)),
        (2**63, None),
        (-(2**63), None),
        ("now", None),
    ],
)
def test_timestamp_is_an_aware_datetime_or_none(sent: object, moment: datetime | None) -> None:
    assert delivery(timestamp=sent).message().timestamp == moment


def test_message_and_its_headers_cannot_be_changed() -> None:
    headers = {"tenant": "a"}
    message = delivery(headers, exchange="e").message()

    headers["tenant"] = "b"
    assert message.headers["tenant"] == "a"

    with pytest.raises(TypeError):
        message.headers["tenant"] = "c"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        message.body = b""  # type: ignore[misc]
    with pytest.raises(TypeError):
        Message(body=b"", routing_key="a").headers["x"] = 1  # type: ignore[index]
