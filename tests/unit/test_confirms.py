"""Confirms: the outcome of submissions, on the embedded broker and on channels that misbehave."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Any

import pytest
from tests.kit.inside import channels_of

from taskroute.broker.connection import connect
from taskroute.broker.embedded import transport
from taskroute.broker.roles import refusals
from taskroute.broker.roles.confirm_watch import CONFIRM_TIME
from taskroute.broker.roles.confirms import LEAVING_TIME, Confirms
from taskroute.broker.roles.in_flight import InFlight
from taskroute.broker.roles.submission import Receipt, Submission
from taskroute.broker.url import parse_urls
from taskroute.errors import BrokerUnavailableError, PublishRejectedError, PublishTimeoutError


@pytest.fixture
def connection() -> Iterator[Any]:
    name = uuid.uuid4().hex
    connection = connect(parse_urls(f"memory://{name}")[0], name="test", heartbeat=30)
    connection.channel().queue_declare("q", durable=True, auto_delete=False)
    yield connection
    connection.close()
    transport.drop(name)


@pytest.fixture
def confirms() -> Confirms:
    return Confirms(unavailable=lambda: BrokerUnavailableError("a test"))


@pytest.fixture
def full(connection: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue that refuses every message; one refusal is already too many."""
    monkeypatch.setattr(refusals, "REFUSED_FOR", 0.0)
    arguments = {"x-max-length": 0, "x-overflow": "reject-publish"}
    connection.channel().queue_declare("full", durable=True, auto_delete=False, arguments=arguments)
    return "full"


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


def lose_confirms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every confirm go unread, until `monkeypatch` is undone."""
    monkeypatch.setattr(InFlight, "take", lambda *_: [])


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


def test_given_up_message_blocks_no_other_one_with_its_id(
    connection: Any, confirms: Confirms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its confirm is lost. A caller that publishes it again, as the error advises, is not kept waiting for that."""
    lose_confirms(monkeypatch)
    first, second = submission("same"), submission("same")
    confirms.on_open(connection, 1)
    confirms.submit(first)
    confirms.flush()
    read(connection, confirms)
    confirms.expire(first.deadline)
    assert states(first) == ["unknown"]
    monkeypatch.undo()

    confirms.submit(second)
    confirms.flush()
    read(connection, confirms)

    assert states(second) == ["confirmed"]


def test_given_up_message_in_flight_keeps_no_body(connection: Any, confirms: Confirms) -> None:
    one = submission()
    confirms.on_open(connection, 1)
    confirms.submit(one)
    confirms.flush()

    confirms.expire(one.deadline)

    assert one.body == b""


def test_overdue_confirm_ends_the_connection_and_sends_again(
    connection: Any, confirms: Confirms, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_confirms(monkeypatch)
    one, other = submission("1"), submission("2")
    confirms.on_open(connection, 1)
    for message in (one, other):
        confirms.submit(message)
    confirms.flush()
    read(connection, confirms)
    began = time.monotonic()

    confirms.expire(began + 2)
    with pytest.raises(ConnectionError, match=r"'1'.* was not confirmed in 30 s") as lost:
        confirms.expire(began + 3 + CONFIRM_TIME)  # a second more than the sum, which may be rounded down
    monkeypatch.undo()
    confirms.on_lost(lost.value)
    confirms.on_open(connection, 2)
    confirms.flush()
    read(connection, confirms)

    assert states(one, other) == ["confirmed", "confirmed"]
    assert count(connection) == 4


def test_session_looks_at_what_is_in_flight_each_second(connection: Any, confirms: Confirms) -> None:
    one = submission()
    confirms.on_open(connection, 1)
    assert confirms.next_deadline() is None

    confirms.submit(one)
    confirms.flush()
    deadline = confirms.next_deadline()
    assert deadline is not None
    assert deadline < one.deadline

    read(connection, confirms)
    confirms.expire(deadline)
    assert confirms.next_deadline() == one.deadline


def test_address_refused_for_some_seconds_gets_another_channel(connection: Any, confirms: Confirms, full: str) -> None:
    """What is in flight on the first channel is confirmed there; then that one is closed."""
    refused, same, later = submission("1", full), submission("2"), submission("3")
    confirms.on_open(connection, 1)
    (first,) = channels_of(confirms)

    confirms.submit(refused)
    confirms.flush()
    while connection.drain_available(10):
        pass
    confirms.submit(same)
    confirms.flush()  # on the first channel still
    confirms.on_read()
    second = channels_of(confirms)[-1]
    confirms.submit(later)
    confirms.flush()
    read(connection, confirms)

    assert states(refused, same, later) == ["refused", "confirmed", "confirmed"]
    assert second is not first
    assert (first.is_open, second.is_open) == (False, True)


def test_channel_left_for_too_long_is_closed_and_its_messages_sent_again(
    connection: Any, confirms: Confirms, full: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, lost = submission("1", full), submission("2")
    confirms.on_open(connection, 1)
    confirms.submit(refused)
    confirms.flush()
    while connection.drain_available(10):
        pass
    lose_confirms(monkeypatch)
    confirms.submit(lost)
    confirms.flush()
    read(connection, confirms)
    monkeypatch.undo()

    confirms.expire(time.monotonic() + LEAVING_TIME)
    confirms.flush()
    read(connection, confirms)

    assert states(lost) == ["confirmed"]


def test_full_queue_gets_another_channel_only_after_a_pause(connection: Any, confirms: Confirms, full: str) -> None:
    """A queue that is full refuses on every channel: no channel is opened for each message."""
    confirms.on_open(connection, 1)
    (first,) = channels_of(confirms)

    seen = {first}
    for number in range(20):
        confirms.submit(submission(str(number), full))
        confirms.flush()
        read(connection, confirms)
        seen.update(channels_of(confirms))

    assert len(seen) == 2


def test_message_over_which_connections_end_again_and_again_fails_alone(connection: Any, confirms: Confirms) -> None:
    """The broker just closes the connection, with no code that tells why."""
    offender, innocent = submission("1"), submission("2")
    confirms.on_open(connection, 1)
    for message in (offender, innocent):
        confirms.submit(message)

    for generation in range(2, 7):
        confirms.flush()
        if states(offender) == ["refused"]:
            break
        confirms.on_lost(ConnectionError("closed"))
        confirms.on_open(connection, generation)
    read(connection, confirms)

    assert states(offender, innocent) == ["refused", "confirmed"]
    assert isinstance(offender.future.exception(0), PublishRejectedError)


def test_message_without_a_deadline_is_never_given_up(connection: Any, confirms: Confirms) -> None:
    """What a worker republishes has none: a second copy of what is confirmed late would be a duplicate."""
    one = submission()
    one.deadline = math.inf
    confirms.on_open(connection, 1)
    confirms.submit(one)
    confirms.flush()

    confirms.expire(time.monotonic() + 10)

    assert states(one) == ["written"]


def test_connection_is_left_once_every_confirm_is_in(connection: Any, confirms: Confirms) -> None:
    """What is submitted meanwhile waits: it is written on the next connection, or on this one if that is kept."""
    before, after = submission("1"), submission("2")
    confirms.on_open(connection, 1)
    confirms.submit(before)
    confirms.flush()

    assert not confirms.leave()
    confirms.submit(after)
    confirms.flush()
    read(connection, confirms)
    assert confirms.leave()
    assert states(before, after) == ["confirmed", "queued"]
    assert not confirms.has_work()

    confirms.stay()
    confirms.flush()
    assert states(after) == ["written"]
