"""Plan, apply and prune on RabbitMQ: every kind of step, cut off before and after each, ends where the plan said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

from tests.kit.peer import looking
from tests.kit.running import registry_of
from tests.kit.waiting import until

from taskroute import ExchangeSpec, Publisher, QueueSpec, Topology, Worker
from taskroute.broker.alterations import Alterations
from taskroute.broker.url import parse_urls
from taskroute.operate.management import ManagementApi
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.compare import compare
from taskroute.operate.plan.execute import Outcome, execute
from taskroute.operate.plan.looking import ApiLooking
from taskroute.operate.plan.steps import Bind, Command, CreateExchange, CreateQueue, DeleteQueue, Plan, Unbind
from taskroute.operate.plan.targets import Targets
from taskroute.operate.plan.writing import BrokerWriting

shop = ExchangeSpec(name="shop")
hub = ExchangeSpec(name="hub / ü%", bindings=[shop.bind("mail.#")])
marks = ExchangeSpec(name="marks", type="headers")
plain: dict[str, Any] = {"retry": False, "dead_letter": False, "type": "classic"}
orders = [shop.bind("order.*"), marks.bind(headers={"x": 1})]
before = Topology(
    exchanges=[shop, marks],
    queues=[
        QueueSpec(name="orders", bindings=orders, **plain),
        QueueSpec(name="mails", bindings=[shop.bind("a"), shop.bind("b c%")], **plain),
    ],
)
wanted = Topology(
    exchanges=[shop, marks, hub],
    queues=[
        QueueSpec(name="orders.2", bindings=orders, **plain, max_length=9, replaces="orders"),
        QueueSpec(name="mails", bindings=[shop.bind("a"), hub.bind("#")], **plain),
    ],
)
stood = [BindingId.declared("queue", queue.name, each) for queue in before.queues for each in queue.bindings]


class Site:
    """A broker, and what is planned for it."""

    def __init__(self, url: str, api: str, topology: Topology) -> None:
        (self.node,) = parse_urls(url)
        self.url = url
        self.targets = Targets.of([topology])
        self.api = ManagementApi(api, user=self.node.user, password=self.node.password)
        self.looking = ApiLooking(self.api, [self.node], self.targets, Event().wait)

    def plan(self) -> Plan:
        observed, _ = self.looking.at_all()
        return compare(self.targets, observed, stood)

    @contextmanager
    def doing(self, command: Command, pause: Callable[[float], object] = lambda _: None) -> Iterator[Iterator[Outcome]]:
        """Do the steps of a new plan, one by one."""
        with closing(Alterations([self.node], self.targets.topology, "test")) as alterations:
            writing = BrokerWriting(alterations, self.api, self.node.virtual_host)
            yield execute(self.plan().of(command), self.looking, writing, pause)


def test_every_step_is_done_whenever_the_one_before_was_the_last(rabbitmq_url: str, rabbitmq_api: str) -> None:
    """A run that is cut off between two steps leaves what the next one goes on from; each run does one step here."""
    with Publisher(rabbitmq_url, before):
        pass
    site = Site(rabbitmq_url, rabbitmq_api, wanted)
    expected = site.plan().steps
    done = []

    for command in ("apply", "prune"):
        while site.plan().of(command):
            with site.doing(command) as outcomes:
                outcome = next(each for each in outcomes if each.result == "done")
            done.append(str(outcome.step))

    assert done == [str(step) for step in expected]
    assert {type(step) for step in expected} == {CreateExchange, CreateQueue, Bind, Unbind, DeleteQueue}
    assert site.plan() == Plan((), ())


def test_step_whose_ground_has_changed_since_is_told_and_skipped(rabbitmq_url: str, rabbitmq_api: str) -> None:
    """A queue comes, one goes, and a consumer comes, all between the reading and the doing."""
    with Publisher(rabbitmq_url, before):
        pass
    site = Site(rabbitmq_url, rabbitmq_api, wanted)

    with looking(rabbitmq_url) as peer, site.doing("apply") as outcomes:
        peer.channel.queue_delete("mails")
        peer.queue("orders.2")
        peer.consume("orders")
        by_step = {str(outcome.step): (outcome.result, outcome.reason) for outcome in outcomes}

    assert by_step["create queue 'orders.2' (classic)"][0] == "already"
    result, reason = by_step["bind 'shop' -> 'orders.2' by 'order.*'"]
    assert (result, reason) == ("skipped", "'orders' is consumed by somebody who names no topology")
    result, reason = by_step["bind 'hub / ü%' -> 'mails' by '#'"]
    assert result == "failed"
    assert "no queue 'mails'" in reason
    assert by_step["unbind 'shop' -> 'orders' by 'order.*'"][0] == "skipped"


def test_queue_is_looked_at_twice_before_it_is_deleted(rabbitmq_url: str, rabbitmq_api: str) -> None:
    """A message that comes between the two looks keeps it."""
    with looking(rabbitmq_url) as peer:
        peer.queue("orders", x_queue_type="classic")
        site = Site(rabbitmq_url, rabbitmq_api, Topology(retired=["orders"]))
        paused = []

        def come(seconds: float) -> None:
            paused.append(seconds)
            peer.publish(b"1", "orders")

        until(lambda: not list(site.plan().steps[0].obstacles(site.looking.at(site.plan().steps))))
        with site.doing("prune", come) as outcomes:
            (outcome,) = outcomes

        assert (outcome.result, outcome.reason) == ("skipped", "'orders' has 1 messages")
        assert paused == [10.5]
        assert peer.ready("orders") == 1


def test_consumers_of_a_queue_with_one_active_are_known(rabbitmq_url: str, rabbitmq_api: str) -> None:
    """RabbitMQ counts the active one alone, and a worker has another one that stands by."""
    queue = QueueSpec(name="orders", bindings=[shop.bind("a")], single_active_consumer=True, retry=False)
    more = queue.model_copy(update={"bindings": (*queue.bindings, shop.bind("b"))})
    site = Site(rabbitmq_url, rabbitmq_api, Topology(queues=[more]))

    with Worker(rabbitmq_url, Topology(queues=[queue]), registry_of(lambda: None, "#", queue=queue)):
        (step,) = site.plan().steps
        reasons = list(step.obstacles(site.looking.at([step])))

    assert reasons[0].startswith("'orders' is consumed by workers of another topology")


def test_queue_whose_only_message_is_unsettled_is_kept(rabbitmq_url: str, rabbitmq_api: str) -> None:
    """It is neither ready nor a consumer's: only the total counts it."""
    with looking(rabbitmq_url) as peer:
        peer.queue("orders", x_queue_type="classic")
        peer.publish(b"1", "orders")
        peer.channel.basic_get("orders")
        site = Site(rabbitmq_url, rabbitmq_api, Topology(retired=["orders"]))
        until(lambda: site.looking.at(site.plan().steps).queues["orders"].unacknowledged == 1)

        with site.doing("prune") as outcomes:
            (outcome,) = outcomes

        assert (outcome.result, outcome.reason) == ("skipped", "'orders' has 1 messages")
        assert peer.ready("orders") == 0
