"""What a broker allows a connection, what hangs while it is set up, and what the broker is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from tests.faults.site import Site
from tests.faults.traffic import jobs, topology, work
from tests.kit.calls import Calls
from tests.kit.inside import InsidePublisher, InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of, running
from tests.kit.waiting import DEADLINE, in_thread, until

import taskroute
from taskroute import (
    BindingSpec,
    BrokerError,
    ExchangeSpec,
    Message,
    MessageTooLargeError,
    Publisher,
    QueueSpec,
    Topology,
    UnsupportedFeatureError,
    Worker,
)
from taskroute.broker.roles import confirms, missing_queues
from taskroute.broker.session import Session
from taskroute.topology.digest import topology_digest

FRAME_MAX = 8192
"""Bytes; from RabbitMQ 4.1 on it can be no less."""


@contextmanager
def configured(site: Site, name: str, value: int) -> Iterator[None]:
    """Have the broker configured otherwise for the connections to come, for as long as the block takes."""
    before = site.node.eval(f"{{ok, Before}} = application:get_env(rabbit, {name}), Before.").strip()
    site.node.eval(f"application:set_env(rabbit, {name}, {value}).")
    try:
        yield
    finally:
        site.node.eval(f"application:set_env(rabbit, {name}, {before}).")


def says(session: Session, text: str) -> bool:
    """Return whether a session says something when it is asked why it is not open."""
    return text in str(session.unavailable())


@pytest.mark.row(80)
def test_unanswered_declaration_is_named_and_cut_at_stop(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller of `start` or `publish` learns which queue does not answer; nobody waits for its answer at the end."""
    for role in (missing_queues, confirms):  # a classic queue is asked for before; any other may hang as well
        monkeypatch.setattr(role, "may_stay_unanswered", lambda _: False)
    queue = QueueSpec(name="work", type="classic", retry=False, dead_letter=False)
    hung = Topology(queues=[queue])
    with Publisher(site.url, hung):
        pass
    worker = Worker(site.url, hung, registry_of(lambda body: None, "#", queue=queue), shutdown_timeout=600)
    publisher = Publisher(site.url, hung, heartbeat=600)
    ends = [(InsideWorker(worker).session, worker.stop), (InsidePublisher(publisher).session, publisher.close)]
    hanging = "waiting for the broker's answer to queue.declare 'work', at amqp://"
    site.node.eval(f"{site.queue_pid('work')}, sys:suspend(amqqueue:get_pid(Q)).")

    try:
        starts = [in_thread(lambda: worker.start(timeout=600)), in_thread(lambda: publisher.start(timeout=600))]
        for session, stop in ends:
            until(partial(says, session, hanging))
            stop()
        errors = [start.exception(DEADLINE) for start in starts]
    finally:
        site.node.eval(f"{site.queue_pid('work')}, sys:resume(amqqueue:get_pid(Q)).")

    assert all(isinstance(error, BrokerError) for error in errors)


@pytest.mark.row(81)
def test_headers_beyond_the_brokers_frame_fail_alone_by_name(site: Site) -> None:
    """What fits is published on the same connection, and a body may be longer than a frame."""
    with configured(site, "frame_max", FRAME_MAX), Publisher(site.url, topology) as publisher:
        with pytest.raises(MessageTooLargeError, match=f"frame_max is {FRAME_MAX}"):
            publisher.publish({}, "a", exchange=jobs, headers={"x": "y" * FRAME_MAX})
        publisher.publish(b"x" * 10 * FRAME_MAX, "a", exchange=jobs, headers={"x": "y" * (FRAME_MAX - 500)})

        assert InsidePublisher(publisher).generation == 1


@pytest.mark.row(81)
def test_failed_message_that_outgrows_the_brokers_frame_is_retried(site: Site, logged: Callable[[str], Calls]) -> None:
    """As few of its headers as need be are left out at once, and no connection is lost over it."""
    seen, failed = Calls(), logged("hand_over_failed")

    def fail(message: Message) -> None:
        seen(message.attempt, message.routing_key, sorted(message.headers))
        raise ValueError("a test")

    headers = {"x-large": "y" * (FRAME_MAX - 200), "x-small": "z"}
    with (
        configured(site, "frame_max", FRAME_MAX),
        running(site.url, topology, registry_of(fail, "#", queue=work)) as (worker, publisher),
        looking(site.url) as peer,
    ):
        publisher.publish({}, "a.key", exchange=jobs, headers=headers)
        dead = peer.receive("work.dead", 1)[0].properties["application_headers"]
        assert worker.stats().connections == 1
        assert InsideWorker(worker).republish_generation == 1

    assert failed.calls == []
    assert seen.calls[0] == (1, "a.key", ["x-large", "x-small"])
    assert seen.calls[1][:2] == (2, "a.key")
    assert "x-small" in seen.calls[1][2]
    assert "x-large" not in seen.calls[1][2]
    assert (dead["x-small"], dead["x-taskroute-routing-key"]) == ("z", "a.key")


@pytest.mark.row(81)
def test_declaration_beyond_the_brokers_frame_is_named(site: Site) -> None:
    filters = {f"h{number}": "v" * 200 for number in range(FRAME_MAX // 200)}
    exchange = ExchangeSpec(name="sorted", type="headers")
    queue = QueueSpec(name="work", bindings=[BindingSpec(exchange="sorted", headers=filters)])
    problem = f"queue.bind 'work' takes .* the broker's frame_max is {FRAME_MAX}"

    with configured(site, "frame_max", FRAME_MAX), pytest.raises(UnsupportedFeatureError, match=problem):
        Publisher(site.url, Topology(exchanges=[exchange], queues=[queue])).start()


@pytest.mark.row(82)
def test_channel_limit_that_is_too_low_for_a_worker_is_named(site: Site) -> None:
    """A publisher gets by with a channel, a worker needs two, and a third to declare."""
    with configured(site, "channel_max", 1):
        with Publisher(site.url, topology) as publisher:
            publisher.publish({}, "a", exchange=jobs)
        worker = Worker(site.url, topology, registry_of(lambda body: None, "#", queue=work))
        with pytest.raises(UnsupportedFeatureError, match=r"allows 1 channels .* \(channel_max\)"):
            worker.start()


@pytest.mark.row(82)
def test_channel_limit_that_leaves_none_to_ask_depths_costs_no_connection(site: Site) -> None:
    registry = registry_of(lambda body: None, "#", queue=work)
    with configured(site, "channel_max", 3), Worker(site.url, topology, registry) as worker:
        InsideWorker(worker).open_channel()  # the last one
        for _ in range(2):
            with pytest.raises(UnsupportedFeatureError, match=r"allows 3 channels .* \(channel_max\)"):
                worker.depths()
        InsideWorker(worker).run_on_session()
        assert worker.stats().connections == 1
        assert worker.health().ready


def test_connections_say_which_library_and_which_topology(site: Site) -> None:
    """An operator sees who runs what in `list_connections`."""
    seen = Calls()

    def fail(body: Any) -> None:
        seen(body)
        raise ValueError("a test")

    with running(site.url, topology, registry_of(fail, "#", queue=work)) as (worker, publisher):
        publisher.publish({}, "a", exchange=jobs)
        seen.wait(2)  # the republishing connection is open
        shown = site.node.ctl("list_connections", "vhost", "client_properties", "--no-table-headers").splitlines()
        assert worker.health().ready

    own = [line for line in shown if site.name in line]
    assert len(own) == 3
    for line in own:
        assert '{"product","taskroute"}' in line
        assert f'{{"product_version","{taskroute.__version__}"}}' in line
        assert f'{{"topology_digest","{topology_digest(topology)}"}}' in line
