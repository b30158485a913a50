"""Declaring, checking and deleting: what is refused, and with which code."""

from __future__ import annotations

from typing import Any

import amqp.exceptions
import pytest
from tests.kit.peer import Peer

NOT_FOUND = amqp.exceptions.NotFound
LOCKED = amqp.exceptions.ResourceLocked
FAILED = amqp.exceptions.PreconditionFailed
REFUSED = amqp.exceptions.AccessRefused


def test_a_passive_declare_checks_existence_alone(peer: Peer) -> None:
    """A missing queue or exchange is refused; one that differs from the declaration is not."""
    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.queue("nothing", passive=True)
    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.exchange("nothing", passive=True)

    peer.queue("q", x_max_length=5)
    peer.exchange("e", "fanout")
    peer.queue("q", passive=True, durable=False, x_message_ttl=1)
    peer.exchange("e", "topic", passive=True)


def test_an_equal_declaration_is_accepted_again(peer: Peer) -> None:
    """A queue without a type is equal to a classic one."""
    for _ in range(2):
        peer.queue("q", x_max_length=5, x_queue_type="classic")
        peer.exchange("e", "fanout", arguments={"alternate-exchange": "other"})

    peer.queue("plain")
    peer.queue("plain", x_queue_type="classic")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("durable", {"durable": False}),
        ("auto_delete", {"auto_delete": True}),
        ("x-message-ttl", {"x_message_ttl": 5}),
        ("x-max-length", {"x_max_length": 6}),
        ("x-overflow", {"x_overflow": "reject-publish"}),
        ("x-dead-letter-exchange", {"x_dead_letter_exchange": ""}),
        ("x-queue-type", {"x_queue_type": "quorum"}),
        ("x-max-priority", {"x_max_priority": 5}),
    ],
)
def test_a_different_queue_declaration_is_refused_naming_the_field(
    peer: Peer, field: str, change: dict[str, Any]
) -> None:
    peer.queue("q", x_max_length=5)

    with pytest.raises(FAILED, match=f"inequivalent arg '{field}'"):
        peer.queue("q", **{"x_max_length": 5} | change)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("type", {"kind": "fanout"}),
        ("durable", {"durable": False}),
        ("auto_delete", {"auto_delete": True}),
        ("internal", {"internal": True}),
        ("alternate-exchange", {"arguments": {"alternate-exchange": "x"}}),
    ],
)
def test_a_different_exchange_declaration_is_refused_naming_the_field(
    peer: Peer, field: str, change: dict[str, Any]
) -> None:
    peer.exchange("e", "topic")

    with pytest.raises(FAILED, match=f"inequivalent arg '{field}'"):
        peer.exchange("e", **{"kind": "topic"} | change)


@pytest.mark.parametrize(
    "options",
    [
        {"x_message_ttl": -1},
        {"x_message_ttl": "soon"},
        {"x_expires": 0},
        {"x_max_length": -1},
        {"x_max_priority": 256},
        {"x_overflow": "burst"},
        {"x_queue_type": "heap"},
        {"x_dead_letter_routing_key": "only"},
        {"x_delivery_limit": 3},
        {"x_queue_type": "quorum", "x_max_priority": 3},
        {"x_queue_type": "quorum", "exclusive": True},
        {"x_queue_type": "quorum", "auto_delete": True},
    ],
    ids=str,
)
def test_an_invalid_queue_argument_is_refused(peer: Peer, options: dict[str, Any]) -> None:
    with pytest.raises(FAILED):
        peer.queue("q", **options)


def test_a_refusal_leaves_the_connection_usable(peer: Peer) -> None:
    with pytest.raises(FAILED):
        peer.queue("q", x_message_ttl=-1)

    peer.queue("q")
    assert peer.ready("q") == 0


def test_an_unknown_exchange_type_ends_the_connection_before_4_0(peer: Peer) -> None:
    """Later, the channel."""
    refusal = amqp.exceptions.InvalidCommand if peer.version < (4, 0) else FAILED

    with pytest.raises(refusal, match="magic"):
        peer.exchange("e", "magic")

    assert bool(peer.connection.connected) == (peer.version >= (4, 0))


@pytest.mark.parametrize("alternate", [None, 5])
def test_an_alternate_exchange_other_than_text_is_refused(peer: Peer, alternate: Any) -> None:
    with pytest.raises(FAILED, match="alternate-exchange"):
        peer.exchange("e", arguments={"alternate-exchange": alternate})


def test_a_queue_neither_durable_nor_exclusive_is_refused_from_4_3_on(peer: Peer) -> None:
    """It ends the connection. One that is there already is compared first."""
    peer.queue("own", durable=False, exclusive=True)
    peer.queue("q")
    with pytest.raises(FAILED, match="durable"):
        peer.queue("q", durable=False)

    other = peer.another()
    if peer.version < (4, 3):
        other.queue("transient", durable=False)
        with pytest.raises(FAILED):  # which has nothing to do with it
            other.queue("quorum", durable=False, x_queue_type="quorum")
        return
    with pytest.raises(amqp.exceptions.InternalError, match=r"transient_nonexcl_queues.*deprecated"):
        other.queue("transient", durable=False)
    assert not other.connection.connected


@pytest.mark.parametrize("name", ["amq.mine", "amq.topic.mine"])
def test_a_name_that_begins_with_amq_is_refused(peer: Peer, name: str) -> None:
    with pytest.raises(REFUSED, match="amq"):
        peer.exchange(name)
    with pytest.raises(REFUSED, match="amq"):
        peer.queue(name)


def test_the_default_exchange_refuses_declare_bind_and_delete(peer: Peer) -> None:
    peer.queue("q")

    with pytest.raises(REFUSED):
        peer.exchange("", "direct")
    with pytest.raises(REFUSED):
        peer.bind("q", "", "key")
    with pytest.raises(REFUSED):
        peer.channel.exchange_delete("")


def test_a_binding_with_a_missing_end_is_refused(peer: Peer) -> None:
    peer.queue("q")
    peer.exchange("e")

    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.bind("q", "nothing", "key")
    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.bind("nothing", "e", "key")
    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.channel.exchange_bind("nothing", "e", "key")


def test_unbinding_what_is_missing_is_no_error(peer: Peer) -> None:
    """But the default exchange is, and a channel that declared no queue has none without a name."""
    peer.queue("q")
    peer.channel.queue_unbind("nothing", "amq.topic", "a")
    peer.channel.queue_unbind("q", "nothing", "a")
    peer.channel.queue_unbind("q", "amq.topic", "a")
    peer.channel.exchange_unbind("nothing", "amq.topic", "a")
    peer.channel.exchange_unbind("amq.topic", "nothing", "a")

    with pytest.raises(REFUSED):
        peer.channel.queue_unbind("q", "", "a")
    with pytest.raises(NOT_FOUND, match="no previously declared queue"):
        peer.new_channel().queue_unbind("", "amq.topic", "a")


def test_a_queue_of_another_connection_is_bound_and_unbound_by_none(peer: Peer) -> None:
    """A missing exchange is told first, and a missing binding is none of its business."""
    other = peer.another()
    other.queue("own", exclusive=True)
    other.bind("own", "amq.topic", "a")

    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.bind("own", "nothing", "a")
    with pytest.raises(LOCKED):
        peer.bind("own", "amq.topic", "b")
    with pytest.raises(LOCKED):
        peer.channel.queue_unbind("own", "amq.topic", "a")
    peer.channel.queue_unbind("own", "amq.topic", "b")


def test_consuming_from_a_missing_queue_is_refused(peer: Peer) -> None:
    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.consume("nothing")
    with pytest.raises(NOT_FOUND, match="nothing"):
        peer.channel.basic_get("nothing")


def test_deleting_a_missing_queue_or_exchange_is_no_error(peer: Peer) -> None:
    assert peer.channel.queue_delete("nothing") == 0
    peer.channel.exchange_delete("nothing")


def test_a_conditional_delete_is_refused_until_its_condition_holds(peer: Peer) -> None:
    peer.queue("q")
    peer.exchange("e")
    peer.bind("q", "e", "#")
    peer.publish(b"x", "q")

    with pytest.raises(FAILED, match="not empty"):
        peer.channel.queue_delete("q", if_empty=True)

    peer.channel.confirm_select()
    with pytest.raises(FAILED, match="in use"):
        peer.channel.exchange_delete("e", if_unused=True)

    peer.consume("q")
    with pytest.raises(FAILED, match="in use"):
        peer.channel.queue_delete("q", if_unused=True)

    assert peer.channel.queue_delete("q") == 1
    peer.channel.exchange_delete("e", if_unused=True)
    with pytest.raises(NOT_FOUND):
        peer.exchange("e", passive=True)


def test_an_exclusive_queue_is_locked_to_its_connection(peer: Peer) -> None:
    """Another connection may publish to it, and do nothing else."""
    peer.queue("own", exclusive=True)
    other = peer.another()

    for attempt in (
        lambda: other.queue("own", passive=True),
        lambda: other.queue("own", exclusive=True),
        lambda: other.consume("own"),
        lambda: other.channel.queue_delete("own"),
    ):
        with pytest.raises(LOCKED):
            attempt()

    other = peer.another()
    assert other.publish(b"anybody may send", "own") == "ack"
    assert peer.get_all("own").bodies == [b"anybody may send"]


def test_a_binding_that_is_wrong_is_refused_before_a_locked_queue(peer: Peer) -> None:
    other = peer.another()
    other.queue("own", exclusive=True)

    with pytest.raises(FAILED, match="x-match"):
        peer.bind("own", "amq.headers", "", **{"x-match": "some"})


def test_an_exclusive_queue_is_deleted_with_its_connection(peer: Peer) -> None:
    other = peer.another()
    other.queue("own", exclusive=True)

    other.connection.close()

    with pytest.raises(NOT_FOUND):
        peer.queue("own", passive=True)


def test_an_auto_delete_queue_is_deleted_with_its_last_consumer(peer: Peer) -> None:
    peer.queue("q", auto_delete=True)
    for tag in ("one", "two"):
        peer.consume("q", consumer_tag=tag)

    peer.channel.basic_cancel("one")
    peer.queue("q", passive=True)

    peer.channel.basic_cancel("two")
    with pytest.raises(NOT_FOUND):
        peer.queue("q", passive=True)


def test_an_auto_delete_exchange_is_deleted_with_its_last_binding(peer: Peer) -> None:
    peer.exchange("e", auto_delete=True)
    peer.queue("q")
    peer.bind("q", "e", "a")
    peer.bind("q", "e", "b")

    peer.channel.queue_unbind("q", "e", "a", arguments={})
    peer.exchange("e", passive=True)

    peer.channel.queue_delete("q")
    with pytest.raises(NOT_FOUND):
        peer.exchange("e", passive=True)


def test_a_queue_declared_without_a_name_is_named_by_the_broker(peer: Peer) -> None:
    """The empty name then stands for the queue declared last on the channel."""
    names = {peer.channel.queue_declare("", exclusive=True, durable=False, auto_delete=False).queue for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("amq.gen") for name in names)

    last = peer.channel.queue_declare("", exclusive=True, durable=False, auto_delete=False).queue
    peer.exchange("e", "fanout")
    peer.bind("", "e")  # the queue that was declared last on this channel

    peer.publish(b"x", "", "e")
    assert peer.get_all(last).bodies == [b"x"]


def test_a_declare_counts_messages_and_consumers(peer: Peer) -> None:
    peer.queue("q")
    peer.publish(b"x", "q")

    answer = peer.channel.queue_declare("q", passive=True)
    assert (answer.queue, answer.message_count, answer.consumer_count) == ("q", 1, 0)

    peer.consume("q")
    assert peer.channel.queue_declare("q", passive=True).consumer_count == 1


def test_a_global_prefetch_is_refused_on_quorum_queues_before_4_3(peer: Peer) -> None:
    peer.queue("q", x_queue_type="quorum")

    def consume() -> None:
        peer.channel.basic_qos(0, 5, True)
        peer.channel.basic_consume("q", callback=print)

    if peer.version >= (4, 3):
        consume()  # the broker ignores the flag and counts for each consumer
        return
    with pytest.raises(amqp.exceptions.AMQPNotImplementedError):
        consume()


def test_a_consumer_tag_is_used_once(peer: Peer) -> None:
    peer.queue("q")
    peer.consume("q", consumer_tag="mine")

    with pytest.raises(amqp.exceptions.NotAllowed, match="mine"):
        peer.consume("q", consumer_tag="mine")
