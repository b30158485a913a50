"""Execute: each step after another look at what it rests on, and a queue deleted after two looks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import FrozenInstanceError, replace
from types import MappingProxyType
from typing import Any, cast

import pytest
from tests.kit.observing import after, consumed_by, observed_binding, observed_of, together

from taskroute import BrokerError, BrokerUnavailableError, ExchangeSpec, QueueSpec, Topology
from taskroute.operate.observed import Observed
from taskroute.operate.plan.compare import compare
from taskroute.operate.plan.execute import Outcome, execute
from taskroute.operate.plan.steps import AnyStep, Remark, Unbind
from taskroute.operate.plan.targets import Targets
from taskroute.operate.plan.writing import BrokerWriting

shop = ExchangeSpec(name="shop")
plain: dict[str, Any] = {"retry": False, "dead_letter": False}
orders = QueueSpec(name="orders", bindings=[shop.bind("order.*"), shop.bind("refund.*")], **plain)
wanted = Topology(queues=[orders])
before = Topology(exchanges=[shop], queues=[orders.model_copy(update={"bindings": ()})])
retired = Topology(retired=["orders"])


class Broker:
    """What there is, looked at and changed as a broker is. `log`: what was asked of it."""

    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.log: list[str] = []
        self.refusal: BrokerError | None = None

    def at_all(self) -> tuple[Observed, tuple[Remark, ...]]:
        return self.observed, ()

    def at(self, steps: Iterable[AnyStep]) -> Observed:
        self.log += [f"look for: {step}" for step in steps]
        return self.observed

    def do(self, step: AnyStep) -> None:
        self.log.append(f"do: {step}")
        if (refusal := self.refusal) is not None:
            self.refusal = None
            raise refusal
        self.observed = after(self.observed, [step])

    def have(self, name: str, **facts: Any) -> None:
        """Change a queue."""
        queues = {**self.observed.queues, name: replace(self.observed.queues[name], **facts)}
        self.observed = replace(self.observed, queues=MappingProxyType(queues))


def steps_of(topology: Topology, broker: Broker) -> tuple[AnyStep, ...]:
    return compare(Targets.of([topology]), broker.observed).steps


def executed(
    topology: Topology, broker: Broker, pause: Callable[[float], object] = lambda _: None
) -> list[tuple[str, str]]:
    outcomes = execute(steps_of(topology, broker), broker, broker, pause)
    return [(outcome.result, outcome.reason) for outcome in outcomes]


def test_each_step_is_looked_at_right_before_it_is_done() -> None:
    broker = Broker(observed_of(before))
    first, second = map(str, steps_of(wanted, broker))

    assert executed(wanted, broker) == [("done", ""), ("done", "")]

    assert broker.log == [f"look for: {first}", f"do: {first}", f"look for: {second}", f"do: {second}"]


def test_step_that_an_earlier_one_has_seen_otherwise_is_skipped() -> None:
    """Somebody begins to consume between the first step and the second."""
    broker = Broker(observed_of(before))
    outcomes = execute(steps_of(wanted, broker), broker, broker, lambda _: None)

    assert next(outcomes).result == "done"
    broker.have("orders", **consumed_by(""))
    (last,) = outcomes

    assert (last.result, last.reason) == ("skipped", "'orders' is consumed by somebody who names no topology")
    assert [binding.routing_key for binding in broker.observed.bindings] == ["order.*"]


def test_step_that_is_refused_fails_and_the_next_one_is_done() -> None:
    broker = Broker(observed_of(before))
    broker.refusal = BrokerError("the broker refuses it")

    assert executed(wanted, broker) == [("failed", "the broker refuses it"), ("done", "")]


def test_broker_that_goes_away_ends_it_after_what_was_done() -> None:
    broker = Broker(observed_of(before))
    outcomes = execute(steps_of(wanted, broker), broker, broker, lambda _: None)

    assert next(outcomes).result == "done"
    broker.refusal = BrokerUnavailableError("it is away")

    with pytest.raises(BrokerUnavailableError, match="it is away"):
        next(outcomes)


def bind(broker: Broker) -> None:
    bound = replace(broker.observed, bindings=(observed_binding("queue", "orders", shop.bind("late")),))
    broker.observed = together(broker.observed, bound)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda broker: None, ""),
        (lambda broker: broker.have("orders", messages=1), "'orders' has 1 messages"),
        (lambda broker: broker.have("orders", messages=None), "it is not known whether 'orders' is empty"),
        (lambda broker: broker.have("orders", consumers=1), "'orders' is consumed (1 consumers)"),
        (lambda broker: broker.have("orders", consumers=None), "it is not known whether 'orders' is consumed"),
        (lambda broker: broker.have("orders", type="classic"), "'orders' is another queue by now"),
        (bind, "'orders' is bound: 'shop' -> 'orders' by 'late'"),
    ],
)
def test_queue_is_deleted_only_if_two_looks_find_it_idle(change: Callable[[Broker], None], reason: str) -> None:
    broker = Broker(observed_of(before))
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        change(broker)

    ((result, why),) = executed(retired, broker, pause)

    assert (result, why[: len(reason)]) == ("skipped" if reason else "done", reason)
    assert ("orders" in broker.observed.queues) == bool(reason)
    assert len(paused) == 1
    assert paused[0] > 10


def test_queue_that_the_first_look_finds_in_use_is_not_waited_for() -> None:
    broker = Broker(observed_of(before, messages=1))

    ((result, _),) = executed(retired, broker, lambda _: pytest.fail("it waits"))

    assert result == "skipped"


def test_binding_is_removed_by_the_key_that_the_broker_has_for_it() -> None:
    """RabbitMQ agrees to unbind over AMQP, and may leave the binding."""

    class Api:
        asked: tuple[str, ...] = ()

        def delete(self, *path: str) -> None:
            self.asked = path

    class Alterations:
        """Over AMQP, where nothing is to be done."""

    api, binding = Api(), observed_binding("queue", "orders", shop.bind("order.*"))
    step = Unbind(command="prune", binding=replace(binding, properties_key="order.%2A~x"))

    BrokerWriting(cast("Any", Alterations()), cast("Any", api), "a/b").do(step)

    assert api.asked == ("bindings", "a/b", "e", "shop", "q", "orders", "order.%2A~x")
    with pytest.raises(BrokerError, match="is not unbound without the management API: give --api"):
        BrokerWriting(cast("Any", Alterations()), None, "/").do(step)


def test_plan_is_the_same_for_the_same_and_cannot_be_changed() -> None:
    targets, observed = Targets.of([wanted]), observed_of(before)

    plan = compare(targets, observed)

    assert plan == compare(targets, observed)
    assert isinstance(plan.steps, tuple)
    every = compare(Targets.of([Topology(exchanges=[shop], queues=[orders])]), Observed("/", {}, {}, ())).steps
    for each in (plan, *every, *steps_of(retired, Broker(observed)), Outcome(plan.steps[0], "done")):
        name = "steps" if each is plan else "why" if hasattr(each, "why") else "reason"
        with pytest.raises(FrozenInstanceError):
            setattr(each, name, ())


def test_old_queue_keeps_a_key_that_the_new_one_has_not_got() -> None:
    broker = Broker(observed_of(Topology(queues=[orders])))
    replacing = Topology(queues=[QueueSpec(name="orders.2", replaces="orders", bindings=orders.bindings, **plain)])
    create, *moves = compare(Targets.of([replacing]), broker.observed).of("apply")
    broker.do(create)
    broker.refusal = BrokerError("the broker refuses it")

    outcomes = execute(moves, broker, broker, lambda _: None)

    assert [outcome.result for outcome in outcomes] == ["failed", "skipped", "done", "done"]
    assert {(binding.destination, binding.routing_key) for binding in broker.observed.bindings} == {
        ("orders", "order.*"),
        ("orders.2", "refund.*"),
    }
