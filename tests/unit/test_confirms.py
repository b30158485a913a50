"""Confirms: the outcome of submissions, on the embedded broker and on channels that misbehave."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest

from taskroute.broker.connection import connect
from taskroute.broker.embedded import transport
from taskroute.broker.roles.confirms import Confirms
from taskroute.broker.roles.submission import Receipt, Submission
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


@pytest.fixture
def confirms() -> Confirms:
    return Confirms(unavailable=lambda: BrokerUnavailableError("a test"))


def submission(message_id: str = "m", routing_key: str = "q") -> Submission:
    return Submission(
        exchange="",
        routing_key=routing_key,
        body=message_id.encode(),
        properties={"message_id": message_id},
        message_id=message_id,
        mandatory=True,
        deadline=time.monotonic() + 60,
    )


def states(*submissions: Submission) -> list[str]:
    return [submission.state for submission in submissions]


def count(connection: Any) -> int:
    messages: int = connection.channel().queue_declare("q", passive=True).message_count
    return messages


def read(connection: Any, confirms: Confirms) -> None:
    while connection.drain_available(10):
        pass
    confirms.on_read()


def test_confirmed_message_has_a_receipt(connection: Any, confirms: Confirms) -> None:
    one = submission()
    confirms.on_open(connection, 1)
    confirms.submit(one)
    assert confirms.has_work()

    confirms.flush()
    assert states(one) == ["written"]

    read(connection, confirms)
    assert states(one) == ["confirmed"]
    assert one.future.result(0) == Receipt("", "q", "m")


def test_message_cancelled_before_its_write_is_never_written(connection: Any, confirms: Confirms) -> None:
    given_up, other = submission("1"), submission("2")
    confirms.on_open(connection, 1)
    confirms.submit(given_up)
    assert given_up.future.cancel()
    confirms.submit(other)

    confirms.flush()

    assert count(connection) == 1
    assert states(given_up, other) == ["never_written", "written"]
    with pytest.raises(CancelledError):
        given_up.future.result(0)


def test_written_message_cannot_be_cancelled(connection: Any, confirms: Confirms) -> None:
    one = submission()
    confirms.on_open(connection, 1)
    confirms.submit(one)
    confirms.flush()

    assert not one.future.cancel()


def test_message_expired_in_flight_is_not_written_again(connection: Any, confirms: Confirms) -> None:
    """Its outcome is unknown: a second copy after a reconnect could be a duplicate."""
    one = submission()
    confirms.on_open(connection, 1)
    confirms.submit(one)
    confirms.flush()

    confirms.expire(one.deadline)
    assert states(one) == ["unknown"]
    assert isinstance(one.future.exception(0), PublishTimeoutError)

    confirms.on_lost(None)
    confirms.on_open(connection, 2)
    confirms.flush()

    assert count(connection) == 1


def test_message_expired_before_its_write_is_never_written(confirms: Confirms) -> None:
    one = submission()
    confirms.submit(one)
    assert confirms.next_deadline() == one.deadline

    confirms.expire(one.deadline)

    assert states(one) == ["never_written"]
    assert isinstance(one.future.exception(0), BrokerUnavailableError)
    assert confirms.next_deadline() is None


def test_unconfirmed_messages_are_written_again_in_order(connection: Any, confirms: Confirms) -> None:
    """After a reconnect they come before the messages that were submitted meanwhile."""
    messages = [submission(str(number)) for number in range(3)]
    confirms.on_open(connection, 1)
    for message in messages:
        confirms.submit(message)
    confirms.flush()

    confirms.on_lost(ConnectionError())
    later = submission("later")
    confirms.submit(later)
    confirms.on_open(connection, 2)
    confirms.flush()
    read(connection, confirms)

    assert states(*messages, later) == ["confirmed"] * 4
    bodies = [stored.body for stored in connection.broker.peek("q")]
    assert bodies == [b"0", b"1", b"2", b"0", b"1", b"2", b"later"]


def test_duplicate_in_flight_waits_for_the_first_outcome(connection: Any, confirms: Confirms) -> None:
    """Two messages with one message id are written one after the other."""
    one, same, other = submission("same"), submission("same"), submission("other")
    confirms.on_open(connection, 1)
    for message in (one, same, other):
        confirms.submit(message)

    confirms.flush()
    assert states(one, same, other) == ["written", "queued", "written"]

    read(connection, confirms)
    confirms.flush()
    read(connection, confirms)
    assert states(same) == ["confirmed"]


def test_message_returned_before_its_confirm_is_unroutable(connection: Any, confirms: Confirms) -> None:
    one = submission(routing_key="nowhere")
    confirms.on_open(connection, 1)
    confirms.submit(one)

    confirms.flush()
    read(connection, confirms)

    assert states(one) == ["unroutable"]
    assert "NO_ROUTE" in str(one.future.exception(0))


def test_blocked_connection_writes_nothing(connection: Any, confirms: Confirms) -> None:
    one = submission()
    confirms.on_open(connection, 1)
    confirms.on_blocked(True)
    confirms.submit(one)

    assert not confirms.has_work()
    confirms.flush()
    assert states(one) == ["queued"]

    confirms.on_blocked(False)
    confirms.flush()
    assert states(one) == ["written"]


def test_end_fails_messages_by_whether_they_were_written(connection: Any, confirms: Confirms) -> None:
    """The error of a written message leaves its outcome open; a waiting message was never written."""
    written, waiting = submission("1"), submission("2")
    confirms.on_open(connection, 1)
    confirms.submit(written)
    confirms.flush()
    confirms.on_lost(None)
    confirms.submit(waiting)

    confirms.on_end()

    assert isinstance(written.future.exception(0), PublishTimeoutError)
    assert isinstance(waiting.future.exception(0), BrokerUnavailableError)


def test_confirm_keeps_the_error_of_a_closed_publisher(connection: Any, confirms: Confirms) -> None:
    """A closed publisher has failed the future already; a late confirm does not change it."""
    one = submission()
    confirms.on_open(connection, 1)
    confirms.submit(one)
    confirms.flush()

    one.future.set_exception(PublishTimeoutError("a test"))
    read(connection, confirms)
    confirms.on_end()

    assert isinstance(one.future.exception(0), PublishTimeoutError)
