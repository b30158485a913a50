"""A broker whose queues and exchanges differ from the topology, or that refuses to declare them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager

import amqp
import pytest
from tests.faults.site import Site
from tests.faults.traffic import Traffic, jobs, work
from tests.kit.calls import Calls
from tests.kit.inside import InsideWorker
from tests.kit.peer import looking
from tests.kit.running import registry_of
from tests.kit.waiting import DEADLINE, until

from taskroute import (
    HandlerRegistry,
    Message,
    Publisher,
    QueueSpec,
    RetryPolicy,
    Topology,
    TopologyError,
    TopologyMismatchError,
    Worker,
)
from taskroute.broker.roles import consumed_queue, inquiry, queue_suspects


@pytest.mark.row(36)
@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("x-dead-letter-exchange", QueueSpec(name="work", type="classic")),
        ("x-max-length", work.model_copy(update={"max_length": 5})),
        ("x-delivery-limit", work.model_copy(update={"delivery_limit": 7})),
    ],
)
def test_queue_with_other_arguments_is_refused_and_left_alone(field: str, other: QueueSpec, site: Site) -> None:
    """The error names queue and field; nothing is deleted, and nothing consumed."""
    with looking(site.url) as peer:
        peer.channel.queue_declare(
            "work", durable=other.durable, auto_delete=False, arguments=dict(other.broker_arguments)
        )
        peer.publish(b"keep", "work")

        worker = Traffic().worker(site.url)
        with pytest.raises(TopologyMismatchError, match=f"queue 'work'.*{field}"):
            worker.start()

        assert peer.ready("work") == 1
        assert site.table("list_consumers", "queue_name") == []


@pytest.mark.row(36)
def test_queue_that_does_not_survive_is_refused_or_cannot_exist(site: Site) -> None:
    """From RabbitMQ 4.3 on the broker refuses whoever wants to declare one, so a worker has none to find."""
    with looking(site.url) as peer:
        if site.version >= (4, 3):
            with pytest.raises(amqp.exceptions.InternalError, match="transient_nonexcl_queues"):
                peer.queue("work", durable=False)
            return
        peer.queue("work", durable=False)
        peer.publish(b"keep", "work")

        with pytest.raises(TopologyMismatchError, match=r"queue 'work'.*durable"):
            Traffic().worker(site.url).start()

        assert peer.ready("work") == 1
        assert site.table("list_consumers", "queue_name") == []


@pytest.mark.row(36)
def test_exchange_of_another_type_is_refused(site: Site) -> None:
    with looking(site.url) as peer:
        peer.exchange("jobs", "direct")

    with pytest.raises(TopologyMismatchError, match=r"exchange 'jobs'.*type"):
        Traffic().worker(site.url).start()


@pytest.mark.row(37)
def test_missing_or_forbidden_dead_letter_queue_fails_the_start(site: Site) -> None:
    """The error says what to create, which right to grant or what the topology lacks."""
    with Publisher(site.url, Traffic().topology):
        pass

    site.ctl("delete_queue", "work.dead")
    with pytest.raises(TopologyMismatchError, match=r"queue 'work\.dead'.*create it first"):
        Traffic().worker(site.limited_url, declare="verify").start()
    with pytest.raises(TopologyMismatchError, match="grant the right"):
        Traffic().worker(site.limited_url).start()

    lonely = QueueSpec(name="work", bindings=[jobs.bind("#")], dead_letter="elsewhere")
    registry = registry_of(lambda body: None, "#", queue=lonely)
    with pytest.raises(TopologyError, match="the topology has no queue 'elsewhere'"):
        Worker(site.url, Topology(exchanges=[jobs], queues=[lonely]), registry)


@pytest.mark.row(37)
def test_wait_and_dead_letter_queues_are_declared_with_their_queue(site: Site) -> None:
    with Publisher(site.url, Traffic().topology):
        names = {name for (name,) in site.table("list_queues", "name")}

    assert names == {"work", "work.retry.200", "work.dead"}


@pytest.mark.row(38)
def test_odd_routing_key_that_the_topology_routes_is_handled(site: Site) -> None:
    """The pairs by the thousand are in the conformance suite; here the message is also handled."""
    traffic = Traffic()
    keys = ["a", "a.b", "", ".", "a..b", "#", "*", "x" * 255]

    with traffic.running(site.url) as worker, Publisher(site.url, traffic.topology) as publisher:
        for key in keys:
            assert traffic.topology.route(key, exchange=jobs)
            publisher.publish(b'{"id": "0"}', key, exchange=jobs)
        assert worker.wait_idle(DEADLINE)
        assert worker.stats().retried == {"work": len(keys)}  # the body is not one of the traffic's


@pytest.mark.row(90)
def test_helper_queues_that_the_user_may_not_look_at_are_not_missing(site: Site) -> None:
    """From RabbitMQ 4.2.6 on a look needs a right. They are named, and retries and dead letters go there."""
    once = work.model_copy(update={"retry": RetryPolicy(delays=(0.1,))})
    own = Topology(exchanges=[jobs], queues=[once])
    attempts = Calls()

    def fail(message: Message) -> None:
        attempts(message.attempt)
        raise RuntimeError("as planned")

    with (
        Publisher(site.url, own),
        Worker(site.narrow_url, own, registry_of(fail, "#", queue=once), declare="verify") as worker,
        Publisher(site.narrow_url, own, declare="verify") as publisher,
    ):
        publisher.publish(b"{}", "a", exchange=jobs)
        with looking(site.url) as peer:
            peer.receive("work.dead", 1)
        assert worker.wait_idle(DEADLINE)
        depths, health = worker.depths(["work", "work.dead"]), worker.health()
        assert worker.stats().connections == 1

    assert attempts.calls == [1, 2]
    assert health.ready
    helpers = ["queue 'work.retry.100'", "queue 'work.dead'"]
    hidden = helpers if site.version >= (4, 2, 6) else []
    seen = ", ".join(["exchange 'jobs'", "queue 'work'", *(() if hidden else helpers)])
    uncompared, *unseen = health.warnings
    assert uncompared == f"known to be there, and not compared, as this user may not declare: {seen}"
    assert [warning.partition(":")[0] for warning in unseen] == [
        f"this user may not look at {subject}" for subject in hidden
    ]
    assert depths == ({"work": 0} if hidden else {"work": 0, "work.dead": 0})


@pytest.mark.row(90)
def test_queue_that_may_no_longer_be_looked_at_is_no_lost_consumer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rights are narrowed while it is consumed. The other queue's consumer, which is forgotten, is still missed."""
    monkeypatch.setattr(consumed_queue, "EARLY_SILENCE", math.inf)  # consumed anew it would be refused
    other = QueueSpec(name="other", type="classic", retry=False, dead_letter=False)
    both = Topology(exchanges=[jobs], queues=[work, other])
    registry, seen = registry_of(lambda: None, "#", queue=work), Calls()

    def handle(body: bytes) -> None:
        seen(body)

    registry.add("#", handle, queue=other)
    with Publisher(site.url, both) as publisher, Worker(site.narrow_url, both, registry, declare="skip") as worker:
        inside = InsideWorker(worker)
        site.ctl("set_permissions", "narrow", "", "", "^other$")
        inside.probe()
        until(lambda: bool(worker.health().warnings) == (site.version >= (4, 2, 6)))
        inside.cancel_unnoticed("other")
        inside.probe()
        publisher.publish(b"1", "other", exchange="")
        seen.wait_for(b"1")

        assert worker.stats().missed_consumers == 1
        assert worker.stats().connections == 1
        assert worker.health().consuming == ("other", "work")


def take_down(site: Site, queue: str) -> None:
    """Have the broker answer for a classic queue as it does while the node that the queue lives on is down."""
    _change(site, queue, mnesia="mnesia:delete({rabbit_queue, Name})", khepri="amqqueue:set_state(Q, stopped)")


def bring_back(site: Site, queue: str) -> None:
    """Undo `take_down`, as the node does when it starts."""
    recover = "mnesia:write(rabbit_queue, rabbit_queue_decorator:set(Q), write)"
    _change(
        site,
        queue,
        mnesia=f"[Q] = mnesia:read(rabbit_durable_queue, Name), {recover}",
        khepri="amqqueue:set_state(Q, live)",
    )


def damage(site: Site, queue: str) -> None:
    """Have the broker fail, and close the connection with 541, when a classic queue is consumed."""
    _change(
        site,
        queue,
        mnesia="[Q] = mnesia:read(rabbit_durable_queue, Name), mnesia:write(rabbit_queue, Q, write)",
        khepri="amqqueue:set_decorators(Q, damaged)",
    )


def _change(site: Site, queue: str, *, mnesia: str, khepri: str) -> None:
    """Change what the broker has written down about a queue: in Mnesia, or from RabbitMQ 4.2 on in Khepri."""
    site.node.eval(
        f'Name = rabbit_misc:r(<<"{site.name}">>, queue, <<"{queue}">>), '
        "case rabbit_feature_flags:is_enabled(khepri_db) of "
        f"true -> Name = amqqueue:get_name(rabbit_db_queue:update(Name, fun(Q) -> {khepri} end)); "
        f"false -> rabbit_misc:execute_mnesia_transaction(fun() -> {mnesia} end) end."
    )


@pytest.mark.row(60)
def test_queue_over_which_the_broker_closes_the_connection_is_left_alone(
    site: Site, logged: Callable[[str], Calls], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As RabbitMQ does over a quorum queue without a leader. The next connection has the other queues."""
    monkeypatch.setattr(queue_suspects, "FIRST_SUSPICION", 10 * DEADLINE)  # then it costs another connection
    old = QueueSpec(name="old", type="classic", retry=False, dead_letter=False)
    declared = Topology(exchanges=[jobs], queues=[old, work])
    registry, seen = HandlerRegistry(), Calls()
    caplog.set_level("DEBUG", logger="taskroute")  # later attempts that end alike

    def handle(body: bytes) -> None:
        seen(body)

    for queue in (old, work):
        registry.add("#", handle, queue=queue)
    with Publisher(site.url, declared) as publisher:
        publisher.publish(b"1", "a", exchange=jobs)
        damage(site, "old")

        with Worker(site.url, declared, registry) as worker:
            seen.wait_for(b"1")
            (reason,) = worker.health().reasons
            connections = worker.stats().connections
            logged("queue_missing queue=old").wait(3)
            assert worker.stats().connections == connections

    assert "the broker has closed the connection over it" in reason


@pytest.mark.row(60)
def test_classic_queue_whose_node_is_down_is_waited_for_alone(site: Site, logged: Callable[[str], Calls]) -> None:
    """A worker starts without it and says so, a publisher goes on without it; once it is back it is consumed."""
    old = QueueSpec(name="old", type="classic", retry=False, dead_letter=False)
    declared = Topology(exchanges=[jobs], queues=[work, old])
    registry, seen = HandlerRegistry(), Calls()

    def handle(body: bytes) -> None:
        seen(body)

    for queue in (work, old):
        registry.add("#", handle, queue=queue)
    with looking(site.url) as peer, Publisher(site.url, declared) as first:
        first.publish(b"1", "old", exchange="")
        take_down(site, "old")
        unavailable = logged("queue_unavailable queue=old")

        with Publisher(site.url, declared) as publisher, Worker(site.url, declared, registry) as worker:
            unavailable.wait()
            assert worker.health().consuming == ("work",)
            (reason,) = worker.health().reasons
            assert reason.startswith("not consuming old: queue 'old': ")
            publisher.publish(b"2", "a", exchange=jobs)
            seen.wait_for(b"2")

            bring_back(site, "old")
            seen.wait_for(b"1")
            until(lambda: worker.health().ready)
            assert worker.stats().connections == 1
        assert peer.ready("old") == 0


@pytest.mark.row(60)
def test_classic_queue_that_is_answered_for_keeps_nobody_waiting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for answers is for those that do not come."""
    monkeypatch.setattr(inquiry, "ANSWER_TIME", 100 * DEADLINE)
    declared = Topology(queues=[QueueSpec(name="old", type="classic")])

    with closing(Publisher(site.url, declared, heartbeat=600)) as publisher:
        publisher.start(DEADLINE)

        with Worker(site.url, declared, registry_of(lambda body: None, "#", queue="old"), heartbeat=600) as worker:
            assert worker.health().ready


@pytest.mark.row(60)
def test_connection_is_kept_alive_while_answers_are_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """With short heartbeats, the broker would have closed it before the answers are given up."""
    monkeypatch.setattr(inquiry, "ANSWER_TIME", 8)
    old = QueueSpec(name="old", type="classic", retry=False, dead_letter=False)
    declared = Topology(queues=[old])
    with Publisher(site.url, declared):
        pass

    with (
        silenced(site, "old") as resume,
        Worker(site.url, declared, registry_of(lambda body: None, "#", queue=old), heartbeat=2) as worker,
    ):
        assert worker.health().reasons
        resume()
        until(lambda: worker.health().ready)
        assert worker.stats().connections == 1


@contextmanager
def silenced(site: Site, queue: str) -> Iterator[Callable[[], object]]:
    """Have the broker answer nothing about a classic queue until what is given is called, or until the block ends."""
    site.node.eval(f"{site.queue_pid(queue)}, sys:suspend(amqqueue:get_pid(Q)).")
    with ExitStack() as silence:
        silence.callback(site.node.eval, f"{site.queue_pid(queue)}, sys:resume(amqqueue:get_pid(Q)).")
        yield silence.close


@pytest.mark.row(60)
def test_classic_queue_without_an_answer_is_waited_for_alone(site: Site) -> None:
    """The broker leaves each question about it open, as one of version 4 does for a minute whose node was killed."""
    old = QueueSpec(name="old", type="classic", retry=False, dead_letter=False)
    declared = Topology(exchanges=[jobs], queues=[work, old])
    registry, seen = HandlerRegistry(), Calls()

    def handle(body: bytes) -> None:
        seen(body)

    for queue in (work, old):
        registry.add("#", handle, queue=queue)
    with Publisher(site.url, declared) as first:
        first.publish(b"1", "old", exchange="")

        with (
            silenced(site, "old") as resume,
            Worker(site.url, declared, registry) as worker,
            Publisher(site.url, declared) as publisher,
        ):
            (reason,) = worker.health().reasons
            assert reason.startswith("not consuming old: queue 'old': the broker does not answer for it")
            publisher.publish(b"2", "a", exchange=jobs)
            seen.wait_for(b"2")

            resume()
            seen.wait_for(b"1")
            until(lambda: worker.health().ready)
            assert worker.stats().connections == 1
