"""A receipt means routed and confirmed; everything else is an error that says which."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from pydantic import BaseModel
from tests.kit.inside import InsidePublisher
from tests.kit.peer import looking
from tests.kit.specs import media
from tests.kit.waiting import DEADLINE

from taskroute import (
    BrokerUnavailableError,
    ClosedError,
    ExchangeSpec,
    MessageInvalidError,
    MessageTooLargeError,
    Publisher,
    PublishError,
    PublishRejectedError,
    QueueSpec,
    Receipt,
    Topology,
    TopologyMismatchError,
    UnknownExchangeError,
    UnroutableError,
)

inbox = QueueSpec(name="inbox", bindings=[media.bind("in.#")])
full = QueueSpec(name="full", bindings=[media.bind("full")], type="classic", max_length=0, overflow="reject-publish")
topology = Topology(exchanges=[media], queues=[inbox, full])


class Event(BaseModel):
    name: str
    at: datetime


def test_published_message_has_a_receipt_and_its_properties(broker_url: str) -> None:
    with Publisher(broker_url, topology) as publisher:
        receipt = publisher.publish(
            Event(name="ü", at=datetime(2024, 1, 2, tzinfo=UTC)),
            "in.a",
            exchange=media,
            headers={"n": 1},
            message_id="m",
            correlation_id="c",
            type="t",
            reply_to="r",
            timestamp=datetime(2024, 1, 2, tzinfo=UTC),
            priority=3,
            persistent=True,
        )

    assert receipt == Receipt("media", "in.a", "m")
    with looking(broker_url) as peer:
        (message,) = peer.receive("inbox", 1)
    assert bytes(message.body) == '{"name":"ü","at":"2024-01-02T00:00:00Z"}'.encode()
    assert message.properties == {
        "content_type": "application/json",
        "application_headers": {"n": 1},
        "message_id": "m",
        "correlation_id": "c",
        "type": "t",
        "reply_to": "r",
        "timestamp": 1_704_153_600,
        "priority": 3,
        "delivery_mode": 2,
    }


def test_unroutable_message_raises_only_if_mandatory(broker_url: str) -> None:
    with Publisher(broker_url, topology) as publisher:
        with pytest.raises(UnroutableError, match=r"nobody\.home"):
            publisher.publish({}, "nobody.home", exchange=media)
        publisher.publish({}, "nobody.home", exchange=media, mandatory=False)
        publisher.publish({}, "in.a", exchange=media)


def test_message_rejected_by_a_full_queue_raises(broker_url: str) -> None:
    with Publisher(broker_url, topology) as publisher:
        with pytest.raises(PublishRejectedError, match="full"):
            publisher.publish({}, "full", exchange=media)
        publisher.publish({}, "in.a", exchange=media)


def test_publish_many_gives_each_message_its_outcome_in_order(broker_url: str) -> None:
    keys = ["in.a", "nowhere", "full", "in.b"] * 100

    with Publisher(broker_url, topology) as publisher:
        outcomes = list(publisher.publish_many([({"n": n}, key) for n, key in enumerate(keys)], exchange=media))

    expected = {"in.a": Receipt, "in.b": Receipt, "nowhere": UnroutableError, "full": PublishRejectedError}
    assert [type(outcome) for outcome in outcomes] == [expected[key] for key in keys]
    with looking(broker_url) as peer:
        assert len(peer.receive("inbox", 200)) == 200


def test_publisher_shared_by_threads_confirms_every_message(broker_url: str) -> None:
    with Publisher(broker_url, topology, max_in_flight=10) as publisher, ThreadPoolExecutor(8) as pool:
        receipts = list(
            pool.map(lambda n: publisher.publish({"n": n}, "in.a", exchange=media, message_id=str(n)), range(400))
        )

    assert [receipt.message_id for receipt in receipts] == [str(n) for n in range(400)]
    with looking(broker_url) as peer:
        found = {message.properties["message_id"] for message in peer.receive("inbox", 400)}
    assert found == {str(n) for n in range(400)}


def test_messages_with_the_same_id_keep_their_own_outcomes(broker_url: str) -> None:
    with Publisher(broker_url, topology) as publisher:
        futures = [
            publisher.submit({}, key, exchange=media, message_id="same") for key in ("nowhere", "in.a", "nowhere") * 20
        ]
        outcomes = [type(future.exception(DEADLINE)) for future in futures]

    assert outcomes == [UnroutableError, type(None), UnroutableError] * 20


def test_non_mandatory_duplicate_does_not_hide_a_return(broker_url: str) -> None:
    """The return of a mandatory message is not taken for one of an equal message that is not mandatory."""
    with Publisher(broker_url, topology) as publisher:
        futures = [
            publisher.submit({}, "nowhere", exchange=media, message_id="same", mandatory=mandatory)
            for mandatory in (False, True) * 20
        ]
        outcomes = [type(future.exception(DEADLINE)) for future in futures]

    assert outcomes == [type(None), UnroutableError] * 20


def test_publish_many_goes_on_after_messages_it_cannot_write(taskroute_url: str) -> None:
    bodies: list[object] = [b"", b"x" * 101, object(), b""]

    with Publisher(taskroute_url, topology, max_body_size=100) as publisher:
        outcomes = list(publisher.publish_many(((body, "in.a") for body in bodies), exchange=media))

    assert [type(outcome) for outcome in outcomes] == [Receipt, MessageTooLargeError, MessageInvalidError, Receipt]


def test_unsendable_message_is_refused_before_it_is_sent(taskroute_url: str) -> None:
    """The publisher goes on with its connection afterwards."""
    with Publisher(taskroute_url, topology) as publisher:
        with pytest.raises(UnknownExchangeError, match="elsewhere"):
            publisher.publish({}, "in.a", exchange="elsewhere")
        with pytest.raises(MessageInvalidError):
            publisher.publish(object(), "in.a", exchange=media)
        with pytest.raises(MessageInvalidError):
            publisher.publish({}, "in." + "a" * 300, exchange=media)
        with pytest.raises(MessageInvalidError):
            publisher.publish({}, "in.a", exchange=media, headers={"bad": object()})
        with pytest.raises(MessageTooLargeError):
            publisher.publish(b"x" * (200 * 1024 * 1024), "in.a", exchange=media)
        publisher.publish({}, "in.a", exchange=media)


def test_publisher_close_waits_for_confirms_of_submitted_messages(broker_url: str) -> None:
    publisher = Publisher(broker_url, topology)

    publisher.start()
    futures = [publisher.submit({}, "in.a", exchange=media) for _ in range(500)]
    publisher.close()

    assert all(isinstance(future.result(0), Receipt) for future in futures)
    with pytest.raises(ClosedError):
        publisher.publish({}, "in.a", exchange=media)


def test_publish_without_a_broker_raises_by_its_timeout() -> None:
    """The error names the broker's address and never its password."""
    publisher = Publisher("amqp://guest:s3cret@127.0.0.1:1/", topology, timeout=0.5)

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1") as caught:
        publisher.publish({}, "in.a", exchange=media)
    future = publisher.submit({}, "in.a", exchange=media)
    assert isinstance(future.exception(DEADLINE), BrokerUnavailableError)

    publisher.close()

    assert isinstance(caught.value, PublishError)
    assert "s3cret" not in str(caught.value)


def test_mismatch_of_an_exchange_raises_at_once_for_what_is_published_to_it(broker_url: str) -> None:
    """Every way to publish raises it, long before the timeout. What is published elsewhere is not touched."""
    other = ExchangeSpec(name="other")
    both = Topology(exchanges=[media, other], queues=[inbox])
    with Publisher(broker_url, Topology(exchanges=[ExchangeSpec(name="other", type="direct")])):
        pass

    with Publisher(broker_url, both, timeout=100 * DEADLINE) as publisher:
        errors: list[BaseException | None] = [publisher.submit({}, "a", exchange=other).exception(DEADLINE)]
        for _ in range(2):
            with pytest.raises(TopologyMismatchError, match="exchange 'other': type: direct on the broker") as caught:
                publisher.publish({}, "a", exchange=other)
            errors.append(caught.value)
        with pytest.raises(TopologyMismatchError) as caught:
            list(publisher.publish_many([({}, "a")], exchange=other))
        errors.append(caught.value)
        with pytest.raises(TopologyMismatchError) as caught:
            asyncio.run(publisher.publish_async({}, "a", exchange=other))
        errors.append(caught.value)

        assert publisher.publish({}, "in.a", exchange=media).exchange == "media"
        assert InsidePublisher(publisher).generation == 1
    assert len(set(map(id, errors))) == 5  # one error would gather the frames of every raise


def test_failed_start_with_submitted_messages_raises_its_cause() -> None:
    publisher = Publisher("amqp://guest:guest@127.0.0.1:1/", topology, timeout=100 * DEADLINE)
    future = publisher.submit({}, "in.a", exchange=media)

    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1"):
        publisher.start(0)

    assert isinstance(future.exception(0), BrokerUnavailableError)


@pytest.fixture
def silent_url() -> Iterator[str]:
    """URL of a broker that accepts connections and never answers: connecting takes ten seconds."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"amqp://guest:guest@127.0.0.1:{listener.getsockname()[1]}/"


def test_unwritten_message_raises_broker_unavailable(silent_url: str) -> None:
    """While the session connects, no message is reported as unconfirmed: none was written."""
    publisher = Publisher(silent_url, topology, timeout=0.1)

    with pytest.raises(BrokerUnavailableError):
        publisher.publish({}, "in.a", exchange=media)
    with pytest.raises(BrokerUnavailableError):
        asyncio.run(publisher.publish_async({}, "in.a", exchange=media))
    outcomes = list(publisher.publish_many([({}, "in.a")] * 3, exchange=media))

    assert [type(outcome) for outcome in outcomes] == [BrokerUnavailableError] * 3
    assert InsidePublisher(publisher).session.last_error is None  # it is still connecting for the first time
    publisher.close(0)  # no message is left without an outcome


def test_submit_in_a_callback_does_not_wait_for_room(taskroute_url: str) -> None:
    """A callback runs on the thread that makes room, which would wait for itself."""
    futures: list[Future[Receipt]] = []

    def submit_again(_: Future[Receipt]) -> None:
        futures.append(publisher.submit({}, "in.a", exchange=media))

    with Publisher(taskroute_url, topology, max_in_flight=4, timeout=2 * DEADLINE) as publisher:
        held = threading.Event()
        # Hold the session, so that all four are submitted before the first confirm.
        InsidePublisher(publisher).hold(held)
        for _ in range(4):
            publisher.submit({}, "in.a", exchange=media).add_done_callback(submit_again)
        held.set()
        assert publisher.wait_idle(DEADLINE)

    assert [type(future.result(0)) for future in futures] == [Receipt] * 4


def test_submit_in_a_callback_before_connecting_does_not_wait() -> None:
    held, submitted = threading.Event(), threading.Event()
    publisher = Publisher("amqp://guest:guest@127.0.0.1:1/", topology, max_in_flight=4, timeout=2 * DEADLINE)

    def submit_again(_: Future[Receipt]) -> None:
        publisher.submit({}, "in.a", exchange=media)
        submitted.set()

    # Hold the session, so that all four are submitted before the first times out.
    InsidePublisher(publisher).post(lambda: held.wait(DEADLINE))
    futures = [publisher.submit({}, "in.a", exchange=media, timeout=timeout) for timeout in (0.01, 300, 300, 300)]
    futures[0].add_done_callback(submit_again)
    held.set()
    assert submitted.wait(DEADLINE)
    with pytest.raises(BrokerUnavailableError):
        publisher.close(0)


def test_wait_idle_waits_for_the_outcome_of_every_message(taskroute_url: str) -> None:
    with Publisher(taskroute_url, topology) as publisher:
        futures = [publisher.submit({}, "in.a", exchange=media) for _ in range(100)]
        assert publisher.wait_idle(DEADLINE)

        assert all(isinstance(future.result(0), Receipt) for future in futures)

    nowhere = Publisher("amqp://guest:guest@127.0.0.1:1/", topology, timeout=10 * DEADLINE)
    nowhere.submit({}, "in.a", exchange=media)
    assert not nowhere.wait_idle(0)
    with pytest.raises(BrokerUnavailableError):
        nowhere.close(0)
    assert nowhere.wait_idle(0)


def test_wait_idle_and_close_take_an_infinite_timeout(taskroute_url: str) -> None:
    with Publisher(taskroute_url, topology) as publisher:
        inside = InsidePublisher(publisher)
        inside.block()
        future = publisher.submit({}, "in.a", exchange=media)
        inside.call_later(0.1, inside.unblock)
        assert publisher.wait_idle(math.inf)
        assert isinstance(future.result(0), Receipt)

        publisher.close(math.inf)
        inside.wait_ended()


def test_submit_from_many_threads_during_close_loses_no_outcome(taskroute_url: str) -> None:
    publisher = Publisher(taskroute_url, topology)

    publisher.start()
    started = threading.Barrier(5)
    outcomes: list[object] = []

    def submit() -> None:
        started.wait(DEADLINE)
        for _ in range(200):
            try:
                outcomes.append(publisher.submit({}, "in.a", exchange=media).exception(DEADLINE))
            except ClosedError as error:
                outcomes.append(error)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    started.wait(DEADLINE)
    publisher.close()
    for thread in threads:
        thread.join(DEADLINE)

    assert len(outcomes) == 800
    assert {type(outcome) for outcome in outcomes} <= {type(None), ClosedError, BrokerUnavailableError}
