"""What the session's thread and those who submit or give up decide between them, on the embedded broker."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from taskroute.broker.connection import connect
from taskroute.broker.embedded import transport
from taskroute.broker.roles.confirms import Confirms, Receipt, Submission
from taskroute.broker.url import parse_urls
from taskroute.errors import BrokerUnavailableError, PublishTimeoutError


@pytest.fixture
def connection() -> Iterator[Any]:
    name = uuid.uuid4().hex
    connection = connect(parse_urls(f"memory://{name}")[0], name="test", heartbeat=30)
    connection.channel().queue_declare("q", auto_delete=False)
    yield connection
    connection.close()
    transport.drop(name)


def make_confirms() -> Confirms:
    return Confirms(
        prepare=lambda channel: None,
        unavailable=lambda: BrokerUnavailableError("a test"),
        is_blocked=lambda: False,
    )


def submission() -> Submission:
    return Submission(
        exchange="",
        routing_key="q",
        body=b"",
        properties={},
        message_id="m",
        mandatory=True,
        deadline=time.monotonic() + 60,
    )


def count(connection: Any) -> int:
    messages: int = connection.channel().queue_declare("q", passive=True).message_count
    return messages


def test_what_is_submitted_while_and_after_the_session_ends_fails_at_once() -> None:
    confirms, first, second, third = make_confirms(), submission(), submission(), submission()

    def submit_second(_: Future[Receipt]) -> None:
        confirms.submit(second)

    first.future.add_done_callback(submit_second)
    confirms.submit(first)
    confirms.expire(math.inf)
    confirms.submit(third)
    for late in (first, second, third):
        assert isinstance(late.future.exception(0), BrokerUnavailableError)


def test_what_was_given_up_before_it_was_written_is_never_written(connection: Any) -> None:
    confirms, given_up, other = make_confirms(), submission(), submission()
    confirms.opened(connection, 1)
    confirms.submit(given_up)
    assert isinstance(confirms.give_up(given_up), BrokerUnavailableError)
    confirms.submit(other)
    confirms.flush()
    assert count(connection) == 1
    assert isinstance(given_up.future.exception(0), BrokerUnavailableError)
    assert other.was_written
    assert not given_up.was_written


def test_what_was_given_up_after_it_was_written_is_unknown_and_not_written_again(connection: Any) -> None:
    confirms, given_up = make_confirms(), submission()
    confirms.opened(connection, 1)
    confirms.submit(given_up)
    confirms.flush()
    assert isinstance(confirms.give_up(given_up), PublishTimeoutError)
    confirms.lost(None)
    confirms.opened(connection, 2)
    confirms.flush()
    assert count(connection) == 1
    assert isinstance(given_up.future.exception(0), PublishTimeoutError)


def test_what_a_closing_publisher_has_given_up_in_the_inbox_is_let_be() -> None:
    confirms, given_up = make_confirms(), submission()
    confirms.submit(given_up)
    given_up.future.set_exception(PublishTimeoutError("a test"))
    confirms.expire(math.inf)
    confirms.submit(given_up)
    assert isinstance(given_up.future.exception(0), PublishTimeoutError)
