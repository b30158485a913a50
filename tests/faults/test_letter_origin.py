"""A dead letter's origin is that of its message, whatever the message's publisher has written into it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.faults.site import Site
from tests.faults.traffic import jobs
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.peer import Peer, looking
from tests.kit.running import registry_of
from tests.kit.waiting import until

from taskroute import Message, Publisher, QueueSpec, RetryPolicy, Topology, Worker
from taskroute.handling.settle import sent_again
from taskroute.message.origin import Origin, origin_of

orders = QueueSpec(name="orders", bindings=[jobs.bind("#")], retry=RetryPolicy(delays=(0.3,)))
topology = Topology(exchanges=[jobs], queues=[orders])

FORGED = {
    "x-taskroute-attempt": 7,
    "x-taskroute-queue": "payments",
    "x-taskroute-exchange": "bank",
    "x-taskroute-routing-key": "transfer",
    "x-taskroute-reason": "rejected",
}
FORGED_DEATH = {"queue": "orders", "reason": "expired", "exchange": "", "routing-keys": ["orders"], "count": 1}


@pytest.fixture(params=["memory", "rabbitmq"])
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The URL of either broker, and that of a user who may publish to one exchange and do nothing else."""
    if request.param == "memory":  # where everybody is the same user
        url: str = request.getfixturevalue("taskroute_url")
        return url, url
    site: Site = request.getfixturevalue("site")
    with Publisher(site.url, topology):
        pass  # declares
    site.ctl("set_permissions", "limited", "", "jobs", "")
    return site.url, site.limited_url


def expire_a_message(urls: tuple[str, str], headers: dict[str, Any]) -> None:
    """Have the broker make a dead letter of a message, as any publisher can."""
    with Publisher(urls[0], topology), Publisher(urls[1], topology, declare="skip") as outsider:
        outsider.publish({}, "a", exchange=jobs, headers=headers, expiration=0.001)


def letter_of(peer: Peer) -> tuple[Any, Origin]:
    (letter,) = peer.receive("orders.dead", 1)
    came = {name: letter.delivery_info[name] for name in ("exchange", "routing_key")}
    return letter, origin_of(letter.properties["application_headers"], queue="orders.dead", **came)


@pytest.mark.row(85)
def test_expired_message_with_forged_headers_goes_back_as_it_was_published(urls: tuple[str, str]) -> None:
    seen = Calls()
    expire_a_message(urls, FORGED)

    with looking(urls[0]) as peer:
        letter, origin = letter_of(peer)
        assert (origin.queue, origin.exchange, origin.routing_key) == ("orders", "jobs", "a")
        assert (origin.reason, origin.attempt, origin.written_by) == ("expired", 1, "broker")
        again: Any = sent_again(letter.properties, queue="orders.dead", exchange="", routing_key="orders.dead")
        peer.publish(bytes(letter.body), "orders", **again)

    registry = registry_of(handler_that_tells(seen), "#", queue=orders)
    with Worker(urls[0], topology, registry):
        seen.wait()
    (message,) = seen.calls
    assert (message.exchange, message.routing_key, message.attempt) == ("jobs", "a", 1)


def handler_that_tells(seen: Calls) -> Any:
    def handle(message: Message) -> None:
        seen(message)

    return handle


@pytest.mark.row(85)
def test_x_death_of_a_publisher_is_believed_before_rabbitmq_4_alone(urls: tuple[str, str]) -> None:
    """Until then the broker counts up what a publisher has written, and nothing tells it from the broker's own."""
    expire_a_message(urls, {**FORGED, "x-death": [FORGED_DEATH]})

    with looking(urls[0]) as peer:
        _, origin = letter_of(peer)

        can_be_forged = peer.version < (4, 0)  # the embedded broker has no version, and does as 3.10
    assert (origin.exchange, origin.routing_key) == (("bank", "transfer") if can_be_forged else ("jobs", "a"))


@pytest.mark.row(85)
def test_forged_headers_of_a_message_that_the_broker_moved_do_not_count(urls: tuple[str, str]) -> None:
    """It comes to the queue by its name, as a retry does, and was published to an exchange."""
    seen = Calls()
    expire_a_message(urls, {**FORGED, "x-taskroute-queue": "orders.dead"})

    registry = registry_of(handler_that_tells(seen), "#", queue="orders.dead")
    with Worker(urls[0], topology, registry):
        seen.wait()

    (message,) = seen.calls
    assert (message.exchange, message.routing_key, message.attempt) == ("", "orders.dead", 1)


@pytest.mark.row(85)
def test_retry_that_the_broker_dead_letters_keeps_its_origin(urls: tuple[str, str]) -> None:
    """The worker has published it to a wait queue by its name, so that what it has written down counts."""
    failed = Calls()

    def fail(message: Message) -> None:
        failed(message)
        until(lambda: InsideWorker(worker).is_stopping)  # so that it does not get the retry
        raise RuntimeError("as planned")

    with Publisher(urls[0], topology) as publisher:
        publisher.publish({}, "a", exchange=jobs)
    worker = Worker(urls[0], topology, registry_of(fail, "#", queue=orders))
    with worker:
        failed.wait()
    with looking(urls[0]) as peer:
        inbox = peer.consume("orders", prefetch=1)
        peer.until(lambda: bool(inbox))
        peer.channel.basic_reject(inbox[0].delivery_info["delivery_tag"], requeue=False)
        _, origin = letter_of(peer)

    assert (origin.queue, origin.exchange, origin.routing_key) == ("orders", "jobs", "a")
    assert (origin.reason, origin.attempt, origin.written_by) == ("rejected", 2, "broker")
