"""How queues deliver messages to consumers, and what acknowledging, rejecting and closing do."""

from __future__ import annotations

import enum
import math
from typing import Any

import amqp.exceptions
import pytest
from tests.kit.peer import Peer
from tests.kit.waiting import until

QUEUE_TYPES = pytest.mark.parametrize("kind", ["classic", "quorum"])


def filled(peer: Peer, count: int, **options: Any) -> str:
    """A queue with the messages 1, 2, ..."""
    queue = peer.queue("q", **options)
    for number in range(1, count + 1):
        peer.publish(str(number).encode(), queue)
    return queue


def test_properties_body_and_delivery_info_arrive_as_sent(peer: Peer) -> None:
    properties = {
        "content_type": "application/json",
        "content_encoding": "utf-7",
        "application_headers": {
            "text": "ü",
            "n": -1,
            "big": 2**40,
            "yes": True,
            "list": [1, "a"],
            "table": {"k": None},
        },
        "delivery_mode": 2,
        "priority": 3,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "m",
        "timestamp": 1_700_000_000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    peer.exchange("top")
    peer.queue("q")
    peer.bind("q", "top", "a.#")

    peer.publish(b"+AGE-\x00\xff", "a.b", "top", **properties)
    (message,) = peer.get_all("q")

    assert message.properties == properties
    assert bytes(message.body) == b"+AGE-\x00\xff"
    info = message.delivery_info
    assert (info["exchange"], info["routing_key"], info["redelivered"]) == ("top", "a.b", False)


def test_copies_in_two_queues_share_nothing(peer: Peer) -> None:
    peer.exchange("fan", "fanout")
    for queue in ("one", "two"):
        peer.queue(queue)
        peer.bind(queue, "fan")

    headers = {"list": [1]}
    peer.publish(b"x", "", "fan", application_headers=headers)
    headers["list"].append(2)

    first = peer.get_all("one")
    first.headers["list"].append(3)
    assert peer.get_all("two").headers == {"list": [1]}


def test_empty_headers_are_not_shared_between_messages(peer: Peer) -> None:
    for queue in ("one", "two"):
        peer.publish(b"x", peer.queue(queue), application_headers={})

    (first,), (second,) = peer.get_all("one"), peer.get_all("two")
    first.properties["application_headers"]["h"] = 1
    assert second.properties["application_headers"] == {}


@QUEUE_TYPES
def test_prefetch_limits_unacknowledged_messages_per_consumer(peer: Peer, kind: str) -> None:
    filled(peer, 7, x_queue_type=kind)

    first = peer.consume("q", prefetch=2)
    peer.until(lambda: len(first) == 2)
    second = peer.consume("q", prefetch=3)
    peer.until(lambda: len(second) == 3)
    assert peer.ready("q") == 2

    peer.channel.basic_ack(first[0].delivery_tag)
    peer.until(lambda: len(first) == 3)
    assert peer.ready("q") == 1
    assert sorted(first.bodies + second.bodies) == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_prefetch_does_not_limit_a_consumer_without_acknowledgements(peer: Peer) -> None:
    filled(peer, 5)
    inbox = peer.consume("q", prefetch=1, no_ack=True)
    peer.until(lambda: len(inbox) == 5)


def test_consumers_take_turns(peer: Peer) -> None:
    queue = peer.queue("q")
    inboxes = [peer.consume(queue) for _ in range(3)]

    for number in range(9):
        peer.publish(str(number).encode(), queue)
    peer.until(lambda: sum(map(len, inboxes)) == 9)

    assert [len(inbox) for inbox in inboxes] == [3, 3, 3]


def test_open_deliveries_of_the_same_tag_make_room_beyond_the_prefetch(peer: Peer) -> None:
    """Those of an ended consumer, on a classic queue: they do not count against the next one, but give it room."""
    filled(peer, 4)
    ended = peer.consume("q", prefetch=1, consumer_tag="a")
    peer.until(lambda: len(ended) == 1)
    peer.channel.basic_cancel("a")

    inbox = peer.consume("q", prefetch=1, consumer_tag="a")
    peer.until(lambda: len(inbox) == 1)
    peer.channel.basic_ack(ended[0].delivery_tag)
    peer.until(lambda: len(inbox) == 2)

    assert peer.ready("q") == 1


def test_a_consumer_at_its_prefetch_is_passed_over(peer: Peer) -> None:
    queue = peer.queue("q")
    inboxes = [peer.consume(queue, prefetch=prefetch) for prefetch in (0, 1, 0)]

    for number in range(8):
        peer.publish(str(number).encode(), queue)
    peer.until(lambda: sum(map(len, inboxes)) == 8)

    assert [inbox.bodies for inbox in inboxes] == [[b"0", b"3", b"5", b"7"], [b"1"], [b"2", b"4", b"6"]]


@QUEUE_TYPES
def test_a_consumer_passed_over_as_full_takes_its_next_turn_last(peer: Peer, kind: str) -> None:
    queue = peer.queue("q", x_queue_type=kind)
    peer.publish(b"1", queue)
    first = peer.consume(queue, prefetch=1)
    peer.until(lambda: len(first) == 1)
    peer.publish(b"2", queue)  # it is its turn, and it is full
    second = peer.consume(queue)
    peer.until(lambda: len(second) == 1)

    peer.channel.basic_ack(first[0].delivery_tag)
    peer.settle()
    peer.publish(b"3", queue)
    peer.until(lambda: len(first) + len(second) == 3)

    assert second.bodies == [b"2", b"3"]


@QUEUE_TYPES
def test_a_consumer_full_between_its_turns_keeps_them_if_classic(peer: Peer, kind: str) -> None:
    """A quorum queue leaves it out at once, and takes it back as the last one."""
    queue = peer.queue("q", x_queue_type=kind)
    first, second = peer.consume(queue, prefetch=1), peer.consume(queue)
    for body in (b"1", b"2"):
        peer.publish(body, queue)
    peer.until(lambda: len(first) == len(second) == 1)

    peer.channel.basic_ack(first[0].delivery_tag)
    peer.settle()
    peer.publish(b"3", queue)
    peer.until(lambda: len(first) + len(second) == 3)

    assert (first if kind == "classic" else second).bodies[-1] == b"3"


def test_a_multiple_ack_covers_every_earlier_delivery_tag(peer: Peer) -> None:
    filled(peer, 4)
    inbox = peer.consume("q")
    peer.until(lambda: len(inbox) == 4)

    peer.channel.basic_ack(inbox[2].delivery_tag, multiple=True)
    peer.channel.close()

    again = peer.another().get_all("q")
    assert again.bodies == [b"4"]
    assert again[0].delivery_info["redelivered"] is True


def test_a_multiple_ack_of_tag_zero_covers_every_delivery(peer: Peer) -> None:
    filled(peer, 3)
    inbox = peer.consume("q")
    peer.until(lambda: len(inbox) == 3)

    peer.channel.basic_ack(0, multiple=True)
    peer.channel.close()

    assert peer.another().get_all("q").bodies == []


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("again", [False, True])
def test_an_unknown_delivery_tag_closes_the_channel(peer: Peer, again: bool, multiple: bool) -> None:
    """A tag that was acknowledged before is unknown, too."""
    filled(peer, 1)
    inbox = peer.consume("q")
    peer.until(lambda: len(inbox) == 1)

    if again:
        peer.channel.basic_ack(inbox[0].delivery_tag)
    peer.channel.basic_ack(inbox[0].delivery_tag if again else 99, multiple=multiple)

    with pytest.raises(amqp.exceptions.PreconditionFailed, match="unknown delivery tag"):
        peer.until(lambda: False)
    assert peer.another().get_all("q").bodies == ([] if again else [b"1"])


@pytest.mark.parametrize("options", [{}, {"x_queue_type": "quorum", "x_delivery_limit": 20}], ids=["classic", "quorum"])
def test_a_requeued_message_comes_back_first_marked_as_redelivered(peer: Peer, options: dict[str, object]) -> None:
    filled(peer, 3, **options)
    inbox = peer.consume("q", prefetch=1)
    peer.until(lambda: len(inbox) == 1)

    peer.channel.basic_reject(inbox[0].delivery_tag, requeue=True)
    peer.until(lambda: len(inbox) == 2)

    assert inbox.bodies == [b"1", b"1"]
    assert [message.delivery_info["redelivered"] for message in inbox] == [False, True]


def test_a_quorum_queue_without_a_delivery_limit_requeues_at_its_end(peer: Peer) -> None:
    """RabbitMQ 3 does so; version 4 has a limit by default."""
    if peer.version >= (4, 0):
        return

    filled(peer, 3, x_queue_type="quorum")
    inbox = peer.consume("q", prefetch=1)
    peer.until(lambda: len(inbox) == 1)

    peer.channel.basic_reject(inbox[0].delivery_tag, requeue=True)
    peer.until(lambda: len(inbox) == 2)

    assert inbox.bodies == [b"1", b"2"]


def test_requeued_messages_keep_their_positions(peer: Peer) -> None:
    filled(peer, 6)
    inbox = peer.consume("q", prefetch=4)
    peer.until(lambda: len(inbox) == 4)
    tag = inbox[0].delivery_info["consumer_tag"]
    peer.channel.basic_cancel(tag)

    for at in (2, 0, 3):  # in any order
        peer.channel.basic_reject(inbox[at].delivery_tag, requeue=True)
    peer.settle()

    assert peer.another().get_all("q").bodies == [b"1", b"3", b"4", b"5", b"6"]


@QUEUE_TYPES
def test_deliveries_put_back_take_their_places_again(peer: Peer, kind: str) -> None:
    """By basic.nack, up to a tag and one by one. Up to RabbitMQ 4.2 a quorum queue counts it as a failure."""
    filled(peer, 6, x_queue_type=kind, **({"x_delivery_limit": 20} if kind == "quorum" else {}))
    inbox = peer.consume("q", prefetch=6)
    peer.until(lambda: len(inbox) == 6)
    peer.channel.basic_cancel(inbox[0].delivery_info["consumer_tag"])

    peer.channel.acknowledge(1, [])
    peer.channel.put_back(3, [5])
    peer.settle()

    again = peer.another().get_all("q")
    assert again.bodies == [b"2", b"3", b"5"]
    assert all(message.delivery_info["redelivered"] for message in again)
    counts = {(message.properties.get("application_headers") or {}).get("x-delivery-count") for message in again}
    assert counts == {1 if kind == "quorum" and peer.version < (4, 3) else None}


@QUEUE_TYPES
def test_put_back_of_a_settled_delivery_closes_the_channel(peer: Peer, kind: str) -> None:
    filled(peer, 1, x_queue_type=kind)
    inbox = peer.consume("q", prefetch=1)
    peer.until(lambda: len(inbox) == 1)
    peer.channel.acknowledge(1, [])

    peer.channel.put_back(0, [1])

    with pytest.raises(amqp.exceptions.PreconditionFailed, match="unknown delivery tag"):
        peer.until(lambda: False)


@QUEUE_TYPES
def test_deleted_queue_cancels_its_consumers_and_takes_late_acknowledgements(peer: Peer, kind: str) -> None:
    """The channel stays open, and the tags are known until they are acknowledged."""
    filled(peer, 2, x_queue_type=kind)
    cancelled: list[str] = []
    inbox = peer.consume("q", prefetch=2, on_cancel=cancelled.append)
    peer.until(lambda: len(inbox) == 2)

    peer.another().channel.queue_delete("q")
    peer.until(lambda: bool(cancelled))
    peer.channel.acknowledge(0, [2])
    peer.queue("q", x_queue_type=kind)
    peer.channel.put_back(1, [])
    peer.settle()

    assert peer.ready("q") == 0
    assert cancelled == [inbox[0].delivery_info["consumer_tag"]]


def test_a_requeued_message_returns_to_its_own_queue_alone(peer: Peer) -> None:
    peer.exchange("fan", "fanout")
    for queue in ("one", "two"):
        peer.queue(queue)
        peer.bind(queue, "fan")
    peer.publish(b"x", "", "fan")

    message = peer.channel.basic_get("one")
    peer.channel.basic_reject(message.delivery_tag, requeue=True)
    until(lambda: peer.ready("one") == 1)

    assert (peer.ready("one"), peer.ready("two")) == (1, 1)


def test_basic_recover_requeues_unacknowledged_messages(peer: Peer) -> None:
    filled(peer, 2)
    inbox = peer.consume("q")
    peer.until(lambda: len(inbox) == 2)

    peer.channel.basic_recover(requeue=True)
    peer.until(lambda: len(inbox) == 4)

    assert inbox.bodies == [b"1", b"2", b"1", b"2"]


def test_recovered_messages_come_back_by_consumer_tag(peer: Peer) -> None:
    """A consumer's are delivered again before the queue hears of those of the next one."""
    queue = peer.queue("q")
    second, first = (peer.consume(queue, prefetch=1, consumer_tag=tag) for tag in ("b", "a"))
    for body in (b"1", b"2"):
        peer.publish(body, queue)
    peer.until(lambda: len(first) == len(second) == 1)  # the broker may confirm a message before it delivers it

    peer.channel.basic_recover(requeue=True)
    peer.until(lambda: len(first) == len(second) == 2)

    assert (first.bodies, second.bodies) == ([b"2", b"2"], [b"1", b"1"])
    assert first[1].delivery_tag < second[1].delivery_tag


@QUEUE_TYPES
def test_a_closed_connection_requeues_its_unacknowledged_messages(peer: Peer, kind: str) -> None:
    filled(peer, 3, x_queue_type=kind)
    other = peer.another()
    inbox = other.consume("q")
    other.until(lambda: len(inbox) == 3)
    other.channel.basic_ack(inbox[1].delivery_tag)
    other.settle()

    other.connection.close()

    again = peer.receive("q", 2)
    assert again.bodies == [b"1", b"3"]
    assert all(message.delivery_info["redelivered"] for message in again)


def test_a_closed_connection_loses_nothing_to_its_other_consumers(peer: Peer) -> None:
    queue = peer.queue("q", x_queue_type="quorum")
    peer.publish(b"1", queue)
    other = peer.another()
    held = other.consume(queue)
    other.until(lambda: len(held) == 1)
    other.consume(queue, channel=other.new_channel(), no_ack=True)

    other.close()

    assert peer.receive(queue, 1).bodies == [b"1"]


def test_a_cancelled_consumer_gets_no_message_and_can_still_ack(peer: Peer) -> None:
    filled(peer, 3)
    inbox = peer.consume("q", prefetch=1)
    peer.until(lambda: len(inbox) == 1)

    peer.channel.basic_cancel(inbox[0].delivery_info["consumer_tag"])
    peer.channel.basic_ack(inbox[0].delivery_tag)
    peer.settle()

    assert (peer.ready("q"), inbox.bodies) == (2, [b"1"])


def test_basic_get_counts_the_messages_left(peer: Peer) -> None:
    filled(peer, 2)

    message = peer.channel.basic_get("q", no_ack=True)
    assert message.delivery_info["message_count"] == 1
    peer.channel.basic_get("q", no_ack=True)
    assert peer.channel.basic_get("q", no_ack=True) is None


def test_a_deleted_queue_cancels_its_consumers(peer: Peer) -> None:
    peer.queue("q")
    ended: list[str] = []
    peer.consume("q", consumer_tag="mine", on_cancel=ended.append)

    other = peer.another()
    other.channel.queue_delete("q")
    peer.until(lambda: ended == ["mine"])


def test_a_consumer_without_on_cancel_raises_when_it_is_cancelled(peer: Peer) -> None:
    peer.queue("q")
    peer.consume("q", consumer_tag="mine")

    peer.another().channel.queue_delete("q")
    with pytest.raises(amqp.exceptions.ConsumerCancelled):
        peer.until(lambda: False)


def test_a_single_active_consumer_gets_all_until_it_is_cancelled(peer: Peer) -> None:
    peer.queue("q", x_single_active_consumer=True)
    first, second = peer.consume("q", consumer_tag="first", prefetch=5), peer.consume("q")

    for number in range(4):
        peer.publish(str(number).encode(), "q")
    peer.until(lambda: len(first) == 4)

    peer.channel.basic_cancel("first")
    peer.publish(b"4", "q")
    peer.until(lambda: len(second) == 1)

    assert (len(first), second.bodies) == (4, [b"4"])


def test_single_active_consumer_hands_its_place_to_the_next_in_line(peer: Peer) -> None:
    """Also while a message of its own is unsettled. A worker widens its prefetch so, and keeps its place."""
    peer.queue("q", x_queue_type="quorum", x_single_active_consumer=True)
    narrow, wide = (peer.consume("q", consumer_tag=str(prefetch), prefetch=prefetch) for prefetch in (1, 3))
    other = peer.another()
    waiting = other.consume("q", prefetch=1)
    for number in range(5):
        peer.publish(str(number).encode(), "q")
    peer.until(lambda: len(narrow) == 1)

    peer.channel.basic_cancel("1")
    peer.until(lambda: len(wide) == 3)
    peer.channel.acknowledge(3, [])
    peer.until(lambda: len(wide) == 4)
    other.settle()

    assert (narrow.bodies, wide.bodies, waiting.bodies) == ([b"0"], [b"1", b"2", b"3", b"4"], [])


def test_an_exclusive_consumer_is_refused_where_one_is_active_anyway(peer: Peer) -> None:
    peer.queue("q", x_single_active_consumer=True)
    with pytest.raises(amqp.exceptions.AccessRefused):
        peer.consume("q", exclusive=True)


def test_an_exclusive_consumer_refuses_a_second_consumer(peer: Peer) -> None:
    peer.queue("q")
    peer.consume("q", exclusive=True)

    other = peer.another()
    with pytest.raises(amqp.exceptions.AccessRefused):
        other.consume("q")


def test_messages_of_higher_priority_come_first(peer: Peer) -> None:
    """A message without a priority counts as 0, and one above the maximum as the maximum."""
    peer.queue("q", x_max_priority=5)

    for number, priority in enumerate((0, 3, 9, 5, 3)):
        peer.publish(str(number).encode(), "q", priority=priority)
    peer.publish(b"5", "q")

    assert peer.get_all("q").bodies == [b"2", b"3", b"1", b"4", b"0", b"5"]


# --- publishing ---


def test_a_return_comes_before_its_confirm(peer: Peer) -> None:
    peer.exchange("top")

    peer.submit(b"x", "key", "top", mandatory=True)
    peer.flush()

    assert peer.log == ["return 312 top key x", "ack"]


def test_an_unroutable_message_without_mandatory_is_acked_and_dropped(peer: Peer) -> None:
    peer.exchange("top")
    assert peer.publish(b"x", "key", "top") == "ack"
    assert peer.log == ["ack"]


def test_a_message_to_a_missing_exchange_closes_the_channel(peer: Peer) -> None:
    peer.submit(b"x", "key", "nowhere")
    with pytest.raises(amqp.exceptions.NotFound, match="nowhere"):
        peer.until(lambda: False)


def test_a_message_to_an_internal_exchange_closes_the_channel(peer: Peer) -> None:
    peer.exchange("inner", internal=True)

    peer.submit(b"x", "key", "inner")
    with pytest.raises(amqp.exceptions.AccessRefused, match="inner"):
        peer.until(lambda: False)


def test_the_user_id_of_another_user_closes_the_channel(peer: Peer) -> None:
    peer.queue("q")

    peer.submit(b"x", "q", user_id="somebody")
    with pytest.raises(amqp.exceptions.PreconditionFailed, match="user_id"):
        peer.until(lambda: False)


@pytest.mark.parametrize(("sent", "arrives"), [("+60000", "60000"), ("0060000", "60000"), ("315360000000", None)])
def test_an_expiration_arrives_as_its_number_from_4_0_on(peer: Peer, sent: str, arrives: str | None) -> None:
    peer.queue("q")
    peer.publish(b"x", "q", expiration=sent)

    expected = sent if arrives is None or peer.version < (4, 0) else arrives
    assert peer.get_all("q")[0].properties["expiration"] == expected


@pytest.mark.parametrize("expiration", ["soon", "-1", "1.5", "", " 5", "1_0", "٣", "315360000001"])
def test_an_invalid_expiration_closes_the_channel(peer: Peer, expiration: str) -> None:
    peer.queue("q")

    peer.submit(b"x", "q", expiration=expiration)
    with pytest.raises(amqp.exceptions.PreconditionFailed, match="expiration"):
        peer.until(lambda: False)


# --- headers that AMQP cannot tell ---


@pytest.mark.parametrize("value", [math.nan, math.inf, [1.0, -math.inf], {"score": {"of": math.nan}}])
def test_a_header_that_is_not_finite_closes_the_connection(peer: Peer, value: Any) -> None:
    other = peer.another()
    other.queue("q")

    other.submit(b"x", "q", application_headers={"score": value})
    with pytest.raises(amqp.exceptions.InternalError) as closed:
        other.until(lambda: False)

    assert closed.value.code == 541
    assert peer.ready("q") == 0


def test_a_binding_argument_that_is_not_finite_closes_the_connection(peer: Peer) -> None:
    """RabbitMQ may do so without a word that is still read."""
    other = peer.another()
    other.queue("q")

    with pytest.raises((amqp.exceptions.InternalError, OSError)):
        other.bind("q", "amq.headers", n=math.nan)

    peer.queue("q", passive=True)


def test_a_missing_exchange_is_told_before_a_header_that_is_not_finite(peer: Peer) -> None:
    peer.submit(b"x", "q", "nowhere", application_headers={"score": math.nan})
    with pytest.raises(amqp.exceptions.NotFound, match="nowhere"):
        peer.until(lambda: False)


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    LARGE = 2


class Ratio(float):
    """A float with a class of its own, as those of numpy have."""


def test_header_values_arrive_without_their_own_classes(peer: Peer) -> None:
    peer.queue("q")
    values = {"colour": Colour.RED, "size": Size.LARGE, "ratio": Ratio(0.5), "list": [Colour.RED], "yes": True}

    peer.publish(b"x", "q", application_headers={**values, "table": dict(values)})
    (message,) = peer.get_all("q")

    plain = {"colour": "red", "size": 2, "ratio": 0.5, "list": ["red"], "yes": True}
    headers = message.properties["application_headers"]
    assert headers == {**plain, "table": plain}
    kinds = {"colour": str, "size": int, "ratio": float, "list": list, "yes": bool, "table": dict}
    assert {name: type(value) for name, value in headers.items()} == kinds
    assert type(headers["list"][0]) is str
