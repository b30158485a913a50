"""Expiry, length limits and dead letters of queues."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from tests.kit.peer import Inbox, Peer


def dead_lettering(peer: Peer, name: str = "q", **options: Any) -> str:
    """Declare a queue whose dead letters go to the queue `dead`."""
    peer.queue("dead")
    return peer.queue(name, x_dead_letter_exchange="", x_dead_letter_routing_key="dead", **options)


def deaths(inbox: Inbox) -> list[dict[str, Any]]:
    """Return the deaths of the last message, without their times."""
    found = inbox.headers["x-death"]
    for death in found:
        assert isinstance(death.pop("time"), datetime)
    return list(found)


def death(queue: str, reason: str, **more: Any) -> dict[str, Any]:
    return {"queue": queue, "reason": reason, "count": 1, "exchange": "", "routing-keys": [queue]} | more


# --- expiry ---


def test_a_message_expires_after_the_ttl_of_its_queue(peer: Peer) -> None:
    dead_lettering(peer, x_message_ttl=50)

    peer.publish(b"x", "q", application_headers={"own": 1})
    inbox = peer.receive("dead", 1)

    assert deaths(inbox) == [death("q", "expired")]
    assert inbox.headers["own"] == 1
    first = {name: inbox.headers[f"x-first-death-{name}"] for name in ("queue", "reason", "exchange")}
    assert first == {"queue": "q", "reason": "expired", "exchange": ""}
    assert (inbox[0].delivery_info["exchange"], inbox[0].delivery_info["routing_key"]) == ("", "dead")
    assert inbox[0].delivery_info["redelivered"] is False


def test_an_expiration_dead_letters_a_message_and_is_removed(peer: Peer) -> None:
    """Without its expiration the dead letter does not expire again."""
    dead_lettering(peer, x_message_ttl=60_000)

    peer.publish(b"x", "q", expiration="40")
    inbox = peer.receive("dead", 1)

    assert deaths(inbox) == [death("q", "expired", **{"original-expiration": "40"})]
    assert "expiration" not in inbox[0].properties


def test_a_quorum_queue_expires_messages(peer: Peer) -> None:
    dead_lettering(peer, x_queue_type="quorum", x_message_ttl=50)
    peer.publish(b"x", "q")
    assert deaths(peer.receive("dead", 1)) == [death("q", "expired")]


def test_a_ttl_of_zero_expires_a_message_that_no_consumer_takes(peer: Peer) -> None:
    """A message expires at once when no consumer waits for it; a waiting consumer gets it."""
    dead_lettering(peer, x_message_ttl=0)

    peer.publish(b"nobody", "q")
    assert peer.receive("dead", 1).bodies == [b"nobody"]

    inbox = peer.consume("q")
    peer.publish(b"somebody", "q")
    peer.until(lambda: inbox.bodies == [b"somebody"])


def test_a_message_expires_only_at_the_head_of_its_queue(peer: Peer) -> None:
    dead_lettering(peer)
    peer.publish(b"stays", "q")
    peer.publish(b"expired", "q", expiration="1")

    peer.pass_time(200)
    assert (peer.ready("q"), peer.ready("dead")) == (2, 0)

    assert peer.channel.basic_get("q", no_ack=True).body == b"stays"
    assert peer.receive("dead", 1).bodies == [b"expired"]


def test_a_delivered_message_expires_only_after_its_requeue(peer: Peer) -> None:
    dead_lettering(peer, x_message_ttl=50)
    inbox = peer.consume("q")
    peer.publish(b"x", "q")
    peer.until(lambda: len(inbox) == 1)

    peer.pass_time(200)
    assert peer.ready("dead") == 0

    peer.channel.basic_cancel(inbox[0].delivery_info["consumer_tag"])
    peer.channel.basic_reject(inbox[0].delivery_tag, requeue=True)
    assert peer.receive("dead", 1).bodies == [b"x"]


def test_an_unused_queue_expires_without_dead_lettering(peer: Peer) -> None:
    dead_lettering(peer, x_expires=100)
    peer.queue("used", x_expires=2000)  # it has to be consumed by then
    peer.consume("used")
    peer.publish(b"x", "q")

    peer.pass_time(2200)
    peer.submit(b"x", "q", mandatory=True)
    peer.submit(b"x", "used", mandatory=True)
    peer.flush()

    assert [entry for entry in peer.log if entry.startswith("return")] == ["return 312  q x"]
    assert peer.ready("dead") == 0


# --- limits ---


def test_a_full_queue_dead_letters_its_oldest_message(peer: Peer) -> None:
    dead_lettering(peer, x_max_length=2)

    for body in (b"1", b"2", b"3"):
        assert peer.publish(body, "q") == "ack"

    inbox = peer.receive("dead", 1)
    assert inbox.bodies == [b"1"]
    assert deaths(inbox) == [death("q", "maxlen")]
    assert peer.get_all("q").bodies == [b"2", b"3"]


def test_max_length_bytes_counts_bodies_and_no_headers(peer: Peer) -> None:
    peer.queue("q", x_max_length_bytes=10)

    for body in (b"12345", b"67890", b"x"):
        peer.publish(body, "q", application_headers={"long": "header" * 20})

    assert peer.get_all("q").bodies == [b"67890", b"x"]


def test_a_full_queue_with_reject_publish_nacks_the_publisher(peer: Peer) -> None:
    """The rejected message is not dead-lettered."""
    dead_lettering(peer, x_max_length=1, x_overflow="reject-publish")

    assert [peer.publish(body, "q") for body in (b"1", b"2")] == ["ack", "nack"]
    assert peer.get_all("q").bodies == [b"1"]
    assert peer.ready("dead") == 0


def test_a_full_queue_with_reject_publish_dlx_nacks_and_dead_letters(peer: Peer) -> None:
    dead_lettering(peer, x_max_length=1, x_overflow="reject-publish-dlx")

    assert [peer.publish(body, "q") for body in (b"1", b"2")] == ["ack", "nack"]
    inbox = peer.receive("dead", 1)
    assert inbox.bodies == [b"2"]
    assert deaths(inbox) == [death("q", "maxlen")]


def test_a_nack_by_one_full_queue_leaves_the_other_its_copy(peer: Peer) -> None:
    """One full queue of two makes the broker nack the message; the other queue has it all the same."""
    peer.exchange("fan", "fanout")
    peer.queue("full", x_max_length=0, x_overflow="reject-publish")
    peer.queue("free")
    for queue in ("full", "free"):
        peer.bind(queue, "fan")

    assert peer.publish(b"x", "", "fan") == "nack"
    assert peer.get_all("free").bodies == [b"x"]


def test_a_delivered_message_does_not_count_towards_max_length(peer: Peer) -> None:
    peer.queue("q", x_max_length=1)
    inbox = peer.consume("q", prefetch=1)

    for body in (b"1", b"2"):
        peer.publish(body, "q")

    peer.until(lambda: len(inbox) == 1)
    assert peer.ready("q") == 1


# --- dead letters ---


def test_a_rejected_message_is_dead_lettered(peer: Peer) -> None:
    dead_lettering(peer)
    peer.publish(b"x", "q", correlation_id="c", content_type="text/plain")

    message = peer.channel.basic_get("q")
    peer.channel.basic_reject(message.delivery_tag, requeue=False)

    inbox = peer.receive("dead", 1)
    assert deaths(inbox) == [death("q", "rejected")]
    assert inbox[0].properties["correlation_id"] == "c"
    assert inbox[0].properties["content_type"] == "text/plain"


def test_a_rejected_message_without_a_dead_letter_exchange_is_dropped(peer: Peer) -> None:
    peer.queue("q")
    peer.publish(b"x", "q")

    message = peer.channel.basic_get("q")
    peer.channel.basic_reject(message.delivery_tag, requeue=False)
    peer.settle()

    assert peer.ready("q") == 0


def test_a_dead_letter_keeps_its_keys_where_the_queue_sets_none(peer: Peer) -> None:
    """A dead letter is routed by the routing key, CC and BCC that its message was published with."""
    peer.exchange("in")
    peer.exchange("out")
    peer.queue("q", x_dead_letter_exchange="out", x_message_ttl=20)
    peer.bind("q", "in", "a.#")
    for queue, key in (("by-key", "a.b"), ("by-cc", "cc"), ("by-bcc", "bcc")):
        peer.queue(queue)
        peer.bind(queue, "out", key)

    peer.publish(b"x", "a.b", "in", application_headers={"CC": ["cc"], "BCC": ["bcc"]})

    for queue in ("by-key", "by-cc", "by-bcc"):
        inbox = peer.receive(queue, 1)
        assert inbox.headers["CC"] == ["cc"]
        assert inbox[0].delivery_info["routing_key"] == "a.b"
        assert deaths(inbox) == [death("q", "expired", exchange="in", **{"routing-keys": ["a.b", "cc"]})]


def test_a_dead_letter_routing_key_of_the_queue_replaces_cc(peer: Peer) -> None:
    """RabbitMQ 4 keeps the header CC and does not follow it."""
    dead_lettering(peer, x_message_ttl=20)
    peer.queue("victim")
    peer.exchange("in")
    peer.bind("q", "in", "a")

    peer.publish(b"x", "a", "in", application_headers={"CC": ["victim"]})

    inbox = peer.receive("dead", 1)
    assert inbox.headers.get("CC") == (["victim"] if peer.version >= (4, 0) else None)  # kept, and not followed
    assert peer.ready("victim") == 0
    assert deaths(inbox) == [death("q", "expired", exchange="in", **{"routing-keys": ["a", "victim"]})]


def test_x_death_counts_deaths_and_lists_the_newest_first(peer: Peer) -> None:
    """With three places and more RabbitMQ 3 turns the older part of the list around each time, and 4 does not."""
    peer.queue("wait", x_message_ttl=10, x_dead_letter_exchange="", x_dead_letter_routing_key="work")
    peer.queue("work", x_dead_letter_exchange="", x_dead_letter_routing_key="wait")
    peer.publish(b"x", "wait")

    inbox = peer.consume("work")
    for rounds in (1, 2, 3):
        peer.until(lambda rounds=rounds: len(inbox) == rounds)  # type: ignore[misc]
        found = [(one["queue"], one["reason"], one["count"]) for one in deaths(inbox)]
        rejected = [("work", "rejected", rounds - 1)] if rounds > 1 else []
        assert found == [("wait", "expired", rounds), *rejected]
        peer.channel.basic_reject(inbox[-1].delivery_tag, requeue=False)


def test_older_entries_of_x_death_are_turned_around_before_4_0(peer: Peer) -> None:
    """Each death turns what was there; and from 4.0 on headers tell of the last death."""
    peer.queue("end")
    for name, following in (("a", "b"), ("b", "c"), ("c", "d"), ("d", "end")):
        peer.queue(name, x_message_ttl=1, x_dead_letter_exchange="", x_dead_letter_routing_key=following)

    peer.publish(b"x", "a")
    inbox = peer.receive("end", 1)

    found = "".join(one["queue"] for one in deaths(inbox))
    assert found == ("dbac" if peer.version < (4, 0) else "dcba")
    last = {name: inbox.headers.get(f"x-last-death-{name}") for name in ("queue", "reason", "exchange")}
    told = {"queue": "d", "reason": "expired", "exchange": ""}
    assert last == (dict.fromkeys(last) if peer.version < (4, 0) else told)


def test_a_dead_letter_cycle_without_a_reject_drops_the_message(peer: Peer) -> None:
    peer.queue("one", x_message_ttl=10, x_dead_letter_exchange="", x_dead_letter_routing_key="two")
    peer.queue("two", x_message_ttl=10, x_dead_letter_exchange="", x_dead_letter_routing_key="one")

    peer.publish(b"x", "one")
    peer.pass_time(300)

    assert (peer.ready("one"), peer.ready("two")) == (0, 0)


def test_a_forged_x_death_is_counted_on_before_version_4(peer: Peer) -> None:
    dead_lettering(peer, x_message_ttl=10)
    forged = {"queue": "q", "reason": "expired", "count": 7, "exchange": "", "routing-keys": ["q"]}
    peer.publish(b"x", "q", application_headers={"x-death": [forged]})

    headers = peer.receive("dead", 1).headers
    believed = peer.version < (4, 0)
    assert headers["x-death"][0]["count"] == (8 if believed else 1)
    assert ("x-first-death-queue" in headers) != believed


def test_a_message_over_its_delivery_limit_is_dead_lettered(peer: Peer) -> None:
    dead_lettering(peer, x_queue_type="quorum", x_delivery_limit=2)
    peer.publish(b"x", "q")

    counts = []
    inbox = peer.consume("q")
    for attempt in (1, 2, 3):
        peer.until(lambda attempt=attempt: len(inbox) == attempt)  # type: ignore[misc]
        counts.append(inbox.headers.get("x-delivery-count"))
        peer.channel.basic_reject(inbox[-1].delivery_tag, requeue=True)

    dead = peer.receive("dead", 1)
    assert deaths(dead) == [death("q", "delivery_limit")]
    if peer.version < (4, 0):
        assert counts == [None, 1, 2]


def test_a_missing_dead_letter_exchange_drops_the_dead_letter(peer: Peer) -> None:
    peer.queue("q", x_dead_letter_exchange="nowhere", x_max_length=0)
    assert peer.publish(b"x", "q") == "ack"
    assert peer.ready("q") == 0


def test_an_at_least_once_dead_letter_arrives_in_its_queue(peer: Peer) -> None:
    peer.queue(
        "q",
        x_queue_type="quorum",
        x_message_ttl=20,
        x_dead_letter_exchange="",
        x_dead_letter_routing_key="target",
        x_dead_letter_strategy="at-least-once",
        x_overflow="reject-publish",
    )
    peer.queue("target")

    peer.publish(b"x", "q")
    assert peer.receive("target", 1).bodies == [b"x"]


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_purged_message_is_not_dead_lettered(peer: Peer, kind: str) -> None:
    dead_lettering(peer, x_queue_type=kind)
    peer.publish(b"x", "q")

    assert peer.channel.queue_purge("q") == 1
    assert (peer.ready("q"), peer.ready("dead")) == (0, 0)
