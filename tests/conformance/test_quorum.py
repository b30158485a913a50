"""Quorum queues: what they count, in which order they deliver, and what they do otherwise than classic ones."""

from __future__ import annotations

from typing import Any

import amqp.exceptions
import pytest
from tests.kit.peer import Inbox, Peer
from tests.kit.waiting import until

LIMIT: dict[str, Any] = {"x_queue_type": "quorum", "x_delivery_limit": 20}


def quorum(peer: Peer, name: str = "q", **options: Any) -> str:
    return peer.queue(name, **LIMIT | options)


def filled(peer: Peer, count: int, **options: Any) -> str:
    """A queue with the messages 1, 2, ..."""
    queue = quorum(peer, **options)
    for number in range(1, count + 1):
        peer.publish(str(number).encode(), queue)
    return queue


def taken(peer: Peer, queue: str, count: int, **options: Any) -> Inbox:
    """Take so many messages by a consumer that is cancelled then, unsettled."""
    inbox = peer.consume(queue, prefetch=count, **options)
    peer.until(lambda: len(inbox) == count)
    peer.channel.basic_cancel(inbox[0].delivery_info["consumer_tag"])
    return inbox


def counts(message: Any) -> dict[str, Any]:
    headers = message.properties.get("application_headers") or {}
    return {name: value for name, value in headers.items() if name.endswith("-count")}


# --- order ---


def test_returned_messages_come_first_in_the_order_of_their_return(peer: Peer) -> None:
    filled(peer, 4)
    inbox = taken(peer, "q", 3)

    for at in (2, 0, 1):
        peer.channel.basic_reject(inbox[at].delivery_tag, requeue=True)
    peer.settle()

    assert peer.receive("q", 4).bodies == [b"3", b"1", b"2", b"4"]


def test_messages_of_a_closed_channel_come_first_without_a_limit_too(peer: Peer) -> None:
    """Only what a consumer puts back goes behind the others, and from 4.3 on not even that."""
    queue = peer.queue("q", x_queue_type="quorum")
    for body in (b"1", b"2", b"3"):
        peer.publish(body, queue)
    other = peer.another()
    taken(other, queue, 2)

    other.close()
    until(lambda: peer.ready(queue) == 3)

    assert peer.receive("q", 3).bodies == [b"1", b"2", b"3"]


def test_messages_of_a_closed_channel_come_by_consumer(peer: Peer) -> None:
    """By tag, under which basic.get is a number; from 4.0 on by the consumers' age, and basic.get is the last."""
    queue = quorum(peer)
    other = peer.another()
    inboxes = [other.consume(queue, prefetch=1, consumer_tag=tag) for tag in ("b", "a")]
    for body in (b"1", b"2", b"3"):
        peer.publish(body, queue)
    other.until(lambda: all(inboxes))
    assert other.channel.basic_get(queue).body == b"3"

    other.close()

    arrived = peer.receive(queue, 3).bodies
    assert arrived == ([b"3", b"2", b"1"] if peer.version < (4, 0) else [b"1", b"2", b"3"])


def test_priorities_are_none_then_two_then_strict(peer: Peer) -> None:
    """With two, above 4 and up to it, every third message is the oldest."""
    quorum(peer)
    for number, priority in enumerate((0, 4, 5, 9, 0, 31, 40)):
        peer.publish(str(number).encode(), "q", priority=priority)
    peer.publish(b"7", "q")

    arrived = b"".join(peer.receive("q", 8).bodies).decode()

    if peer.version < (4, 0):
        assert arrived == "01234567"
    elif peer.version < (4, 3):
        assert arrived == "23056147"
    else:
        assert arrived == "56321704"


# --- limits ---


def test_a_returned_message_over_max_length_is_dropped(peer: Peer) -> None:
    """A classic queue drops its head, which is the one that came back; so does a quorum queue."""
    kinds: dict[str, dict[str, Any]] = {"classic": {}, "quorum": LIMIT}
    for kind, options in kinds.items():
        peer.queue("dead")
        queue = peer.queue(kind, x_max_length=1, x_dead_letter_exchange="", x_dead_letter_routing_key="dead", **options)
        peer.publish(b"1", queue)
        message = peer.channel.basic_get(queue)
        peer.publish(b"2", queue)

        peer.channel.basic_reject(message.delivery_tag, requeue=True)

        assert peer.receive("dead", 1).bodies == [b"1"]
        assert peer.receive(queue, 1).bodies == [b"2"]


def test_reject_publish_dlx_is_ignored(peer: Peer) -> None:
    quorum(peer, x_max_length=1, x_overflow="reject-publish-dlx")

    assert [peer.publish(body, "q") for body in (b"1", b"2")] == ["ack", "ack"]
    assert peer.receive("q", 1).bodies == [b"2"]


@pytest.mark.parametrize("limit", [-1, 2])
def test_a_delivery_limit_below_zero_is_none_from_4_0_on(peer: Peer, limit: int) -> None:
    """Before, every message that comes back has passed it."""
    quorum(peer, x_delivery_limit=limit)
    peer.publish(b"x", "q")

    for _ in range(2):
        message = peer.receive_one("q")
        peer.channel.basic_reject(message.delivery_tag, requeue=True)
        peer.settle()
        if limit < 0 and peer.version < (4, 0):
            assert peer.ready("q") == 0
            return

    assert peer.receive("q", 1).bodies == [b"x"]


def test_messages_dropped_at_once_die_the_last_first_up_to_4_2(peer: Peer) -> None:
    peer.queue("dead")
    queue = quorum(peer, x_max_length=2, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    other = peer.another()
    for body in (b"1", b"2"):
        peer.publish(body, queue)
    inbox = other.consume(queue, prefetch=2)
    other.until(lambda: len(inbox) == 2)
    for body in (b"3", b"4"):
        peer.publish(body, queue)

    other.close()

    dead = peer.receive("dead", 2).bodies
    assert dead == ([b"2", b"1"] if peer.version < (4, 3) else [b"1", b"2"])


# --- expiry ---


def test_a_message_expires_behind_what_came_back_from_4_3_on(peer: Peer) -> None:
    """The first of each priority and of what came back may expire there; before, the very first alone."""
    filled(peer, 1)
    peer.channel.basic_reject(peer.receive_one("q").delivery_tag, requeue=True)
    peer.settle()

    peer.publish(b"expired", "q", expiration="0")
    peer.publish(b"3", "q", priority=3)
    peer.pass_time(50)

    assert peer.ready("q") == (2 if peer.version >= (4, 3) else 3)


def test_a_classic_queue_with_priorities_looks_for_due_messages_late(peer: Peer) -> None:
    """After one is taken, and when its first one is due; not when one comes that is due at once."""
    peer.queue("q", x_max_priority=10)
    peer.publish(b"first", "q")
    for body in (b"due", b"also due"):
        peer.publish(body, "q", expiration="0", priority=5)
    assert peer.ready("q") == 3

    message = peer.channel.basic_get("q", no_ack=True)
    assert (message.body, message.delivery_info["message_count"]) == (b"due", 1)


def test_message_that_is_first_after_a_return_over_the_limit_expires(peer: Peer) -> None:
    """Without a delivery limit, as before 4.0, what comes back is the last one, and the first one is dropped."""
    queue = peer.queue("q", x_queue_type="quorum", x_max_length=2)
    peer.publish(b"1", queue)
    taken = peer.channel.basic_get(queue)
    peer.publish(b"2", queue)
    peer.publish(b"3", queue, expiration="0")

    peer.channel.basic_reject(taken.delivery_tag, requeue=True)

    left, body = (1, b"1") if peer.version < (4, 0) else (2, b"2")
    until(lambda: peer.ready(queue) == left)
    assert peer.get_all(queue).bodies == [body]


def test_what_comes_back_due_expires_in_a_queue_with_priorities(peer: Peer) -> None:
    peer.queue("q", x_max_priority=10)
    inbox = peer.consume("q", consumer_tag="c")
    peer.publish(b"due", "q", expiration="0")  # a consumer takes it at once
    peer.until(lambda: len(inbox) == 1)
    peer.channel.basic_cancel("c")

    peer.channel.basic_reject(inbox[0].delivery_tag, requeue=True)
    peer.settle()

    assert peer.ready("q") == 0


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_due_message_expires_once_a_limit_makes_it_the_first(peer: Peer, kind: str) -> None:
    peer.queue("q", x_queue_type=kind, x_max_length=3)
    for body, options in ((b"1", {}), (b"due", {"expiration": "0"}), (b"3", {}), (b"4", {})):
        peer.publish(body, "q", **options)
    peer.pass_time(50)

    assert peer.ready("q") == 2
    assert peer.get_all("q").bodies == [b"3", b"4"]


def test_a_limit_drops_what_came_back_before_a_due_message_behind_it(peer: Peer) -> None:
    queue = filled(peer, 1, x_max_length=1)
    other = peer.another()
    taken(other, queue, 1)
    other.close()
    until(lambda: peer.ready(queue) == 1)

    peer.publish(b"due", queue, expiration="0")
    peer.pass_time(50)

    assert peer.ready(queue) == 0


# --- counting ---


def test_headers_count_what_came_back_and_what_has_failed(peer: Peer) -> None:
    """From 4.3 on `x-acquired-count` counts both, and basic.nack is no failure."""
    filled(peer, 2)
    first, second = taken(peer, "q", 2)
    assert counts(first) == counts(second) == {}

    peer.channel.put_back(0, [first.delivery_tag])
    peer.channel.basic_reject(second.delivery_tag, requeue=True)
    peer.settle()
    put_back, rejected = peer.receive("q", 2)

    if peer.version < (4, 3):
        assert counts(put_back) == counts(rejected) == {"x-delivery-count": 1}
    else:
        assert counts(put_back) == {"x-acquired-count": 1}
        assert counts(rejected) == {"x-acquired-count": 1, "x-delivery-count": 1}
    assert put_back.delivery_info["redelivered"]
    assert rejected.delivery_info["redelivered"]


def test_basic_get_tells_of_no_failure_before_4_0(peer: Peer) -> None:
    filled(peer, 1)
    message = peer.channel.basic_get("q", no_ack=True)
    assert counts(message) == ({"x-delivery-count": 0} if peer.version < (4, 0) else {})


@pytest.mark.parametrize("source", ["classic", "quorum"])
def test_a_dead_letter_given_up_by_nack_counts_up_to_4_2(peer: Peer, source: str) -> None:
    """And only in a quorum queue. From 4.3 on it is no failed delivery."""
    quorum(peer, "dead")
    peer.queue("q", x_queue_type=source, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    peer.publish(b"x", "q")

    peer.give_up(peer.receive_one("q").delivery_tag)

    (message,) = peer.receive("dead", 1)
    counted = source == "quorum" and (4, 0) <= peer.version < (4, 3)
    assert counts(message) == ({"x-delivery-count": 1} if counted else {})
    assert message.delivery_info["redelivered"] == counted


@pytest.mark.parametrize("source", ["classic", "quorum"])
def test_a_dead_letter_goes_on_counting_in_another_queue(peer: Peer, source: str) -> None:
    """From 4.0 on what comes from a quorum queue, from 4.3 on all. The rejection counts, too.

    A classic queue tells no count. It marks the message as redelivered, unless a consumer waits for it.
    """
    peer.queue("classic")
    quorum(peer, "quorum")
    peer.exchange("out", "fanout")
    for queue in ("classic", "quorum"):
        peer.bind(queue, "out")
    peer.queue("q", x_queue_type=source, x_dead_letter_exchange="out")
    peer.publish(b"x", "q")

    peer.channel.basic_reject(peer.receive_one("q").delivery_tag, requeue=False)
    until(lambda: peer.ready("classic") and peer.ready("quorum"))

    (classic,), (found,) = peer.receive("classic", 1), peer.receive("quorum", 1)
    counted = peer.version >= ((4, 0) if source == "quorum" else (4, 3))
    acquired = {"x-acquired-count": 1} if peer.version >= (4, 3) else {}
    assert found.delivery_info["redelivered"] == counted
    assert counts(found) == ({"x-delivery-count": 1} | acquired if counted else {})
    assert counts(classic) == {}
    assert classic.delivery_info["redelivered"] == (peer.version >= (4, 3))


def test_a_dead_letter_that_was_never_delivered_counts_nothing(peer: Peer) -> None:
    quorum(peer, "dead")
    quorum(peer, x_message_ttl=20, x_dead_letter_exchange="", x_dead_letter_routing_key="dead")

    peer.publish(b"x", "q")

    (message,) = peer.receive("dead", 1)
    assert (message.delivery_info["redelivered"], counts(message)) == (False, {})


def test_whoever_has_unsettled_deliveries_is_counted_as_a_consumer(peer: Peer) -> None:
    """Each basic.get, and a consumer that has ended."""

    def consumers() -> int:
        count: int = peer.channel.queue_declare("q", passive=True).consumer_count
        return count

    filled(peer, 4)
    got = [peer.channel.basic_get("q") for _ in range(2)]
    taken(peer, "q", 2)
    assert consumers() == 3

    peer.channel.basic_ack(got[0].delivery_tag)
    until(lambda: consumers() == 2)

    peer.channel.basic_ack(0, multiple=True)
    until(lambda: consumers() == 0)


def test_who_waits_to_be_the_single_active_consumer_is_not_counted(peer: Peer) -> None:
    quorum(peer, "quorum", x_single_active_consumer=True)
    peer.queue("classic", x_single_active_consumer=True)
    for queue, count in (("quorum", 1), ("classic", 2)):
        for _ in range(2):
            peer.consume(queue)

        assert peer.channel.queue_declare(queue, passive=True).consumer_count == count


# --- what is refused ---


def test_an_exclusive_consumer_is_not_alone_on_a_quorum_queue(peer: Peer) -> None:
    quorum(peer)
    for _ in range(2):
        peer.consume("q", exclusive=True)

    assert peer.channel.queue_declare("q", passive=True).consumer_count == 2


def test_open_deliveries_of_the_same_tag_are_those_of_the_next_consumer(peer: Peer) -> None:
    """They count against its prefetch, and for them it is counted as one consumer."""
    filled(peer, 2)
    ended = taken(peer, "q", 1, consumer_tag="a")

    inbox = peer.consume("q", prefetch=1, consumer_tag="a")
    counts = peer.channel.queue_declare("q", passive=True)
    assert (counts.message_count, counts.consumer_count) == (1, 1)
    if peer.version < (4, 0):
        return  # RabbitMQ 3.10 closes the connection as soon as it delivers

    peer.channel.basic_ack(ended[0].delivery_tag)
    peer.until(lambda: len(inbox) == 1)


@pytest.mark.parametrize("waiting", [(1, 2, 3), (3, 0), (2, 2)])
def test_highest_prefetch_waits_first_to_be_the_active_consumer(peer: Peer, waiting: tuple[int, ...]) -> None:
    """Since 4.0; before, and where it is the same, the one that started first does."""
    queue = quorum(peer, x_single_active_consumer=True)
    peer.consume(queue, prefetch=1, consumer_tag="active")
    inboxes = [peer.consume(queue, prefetch=prefetch) for prefetch in waiting]

    peer.channel.basic_cancel("active")
    peer.publish(b"x", queue)

    first = 0 if peer.version < (4, 0) else {(1, 2, 3): 2, (3, 0): 1, (2, 2): 0}[waiting]
    peer.until(lambda: len(inboxes[first]) == 1)


@pytest.mark.parametrize("settled", [1, 3])
def test_deliveries_taken_over_make_room_up_to_the_prefetch(peer: Peer, settled: int) -> None:
    filled(peer, 5)
    ended = taken(peer, "q", 3, consumer_tag="a")
    inbox = peer.consume("q", prefetch=1, consumer_tag="a")
    if peer.version < (4, 0):
        return  # RabbitMQ 3.10 closes the connection as soon as it delivers

    peer.channel.basic_ack(ended[settled - 1].delivery_tag, multiple=True)
    peer.until(lambda: len(inbox) == 1)

    assert peer.ready("q") == 1


def test_several_consumers_are_given_what_they_get_at_once_one_by_one(peer: Peer) -> None:
    """In the order of their tags, and from 4.0 on in that of their starts."""
    filled(peer, 4)
    other = peer.another()
    taken(other, "q", 4)
    told: list[tuple[str, bytes]] = []
    for tag in ("b", "a"):
        peer.channel.basic_consume(
            "q", tag, callback=lambda message: told.append((message.delivery_info["consumer_tag"], message.body))
        )

    other.close()
    peer.until(lambda: len(told) == 4)

    shares = [("b", b"1"), ("b", b"3"), ("a", b"2"), ("a", b"4")]
    assert told == (sorted(shares) if peer.version < (4, 0) else shares)


def test_a_single_active_consumer_forbids_basic_get_on_a_quorum_queue(peer: Peer) -> None:
    quorum(peer, "quorum", x_single_active_consumer=True)
    peer.queue("classic", x_single_active_consumer=True)
    assert peer.channel.basic_get("classic") is None

    with pytest.raises(amqp.exceptions.ResourceLocked, match="single active consumer"):
        peer.channel.basic_get("quorum")


@pytest.mark.parametrize("condition", ["if_unused", "if_empty"])
def test_a_conditional_delete_of_a_quorum_queue_closes_the_connection(peer: Peer, condition: str) -> None:
    quorum(peer)
    other = peer.another()

    with pytest.raises(amqp.exceptions.AMQPNotImplementedError, match=condition.replace("_", "-")):
        other.channel.queue_delete("q", **{condition: True})

    assert not other.connection.connected
    assert peer.ready("q") == 0
