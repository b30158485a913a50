"""Compare: from what is declared and what is there to steps and remarks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.observing import after, consumed_by, observed_binding, observed_of, observed_queue, together

from taskroute import ExchangeSpec, QueueSpec, RetryPolicy, Topology, TopologyError
from taskroute.operate.observed import Observed, ObservedPolicy
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.compare import compare
from taskroute.operate.plan.render import plan_lines
from taskroute.operate.plan.steps import Plan, Unbind
from taskroute.operate.plan.targets import Targets
from taskroute.topology.digest import topology_digest

shop = ExchangeSpec(name="shop")
mail = ExchangeSpec(name="mail", bindings=[shop.bind("mail.#")])
orders = QueueSpec(
    name="orders", bindings=[shop.bind("order.*"), shop.bind("refund.*")], retry=RetryPolicy(delays=(1,))
)
topology = Topology(exchanges=[mail], queues=[orders])
nothing = Observed("/", MappingProxyType({}), MappingProxyType({}), ())


def plan_of(*targets: Topology, observed: Observed = nothing, stood: Collection[BindingId] = ()) -> Plan:
    return compare(Targets.of(targets), observed, stood)


def texts(plan: Plan, command: Any = None) -> list[str]:
    return [str(step) for step in plan.steps if command in (None, step.command)]


def waits(plan: Plan, observed: Observed) -> list[str]:
    return [reason for step in plan.steps for reason in step.waits_for(observed)]


def with_queue(observed: Observed, name: str, **facts: Any) -> Observed:
    return replace(
        observed, queues=MappingProxyType({**observed.queues, name: replace(observed.queues[name], **facts)})
    )


def test_everything_is_created_before_what_needs_it() -> None:
    assert texts(plan_of(topology)) == [
        "create exchange 'mail' (topic)",
        "create exchange 'shop' (topic)",
        "bind 'shop' -> 'mail' by 'mail.#'",
        "create queue 'orders' (quorum)",
        "create queue 'orders.retry.1000' (quorum)",
        "create queue 'orders.dead' (quorum)",
        "bind 'shop' -> 'orders' by 'order.*'",
        "bind 'shop' -> 'orders' by 'refund.*'",
    ]


def test_nothing_is_to_be_done_where_everything_is_there() -> None:
    assert plan_of(topology, observed=observed_of(topology)) == Plan((), ())


def test_what_others_own_is_only_told() -> None:
    foreign = ExchangeSpec(name="theirs", passive=True)
    passive = Topology(
        queues=[QueueSpec(name="q", passive=True, bindings=[foreign.bind("a")], retry=False, dead_letter=False)]
    )

    plan = plan_of(passive)

    assert plan.steps == ()
    assert [(each.kind, each.subject) for each in plan.remarks] == [
        ("missing", "exchange 'theirs'"),
        ("missing", "queue 'q'"),
    ]


def test_queue_of_a_connection_or_a_consumer_is_left_to_its_worker() -> None:
    own = Topology(queues=[QueueSpec(name="a", exclusive=True), QueueSpec(name="b", auto_delete=True)])

    assert plan_of(own).steps == ()


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"type": "classic", "arguments": {}}, "type: classic on the broker, quorum declared"),
        ({"arguments": {**orders.broker_arguments, "x-message-ttl": 5000}}, "message_ttl: 5 s on the broker, none"),
        ({"arguments": {**orders.broker_arguments, "x-delivery-limit": 3}}, "delivery_limit: 3 on the broker, 20"),
        ({"arguments": {**orders.broker_arguments, "x-mine": True}}, "arguments: x-mine: True on the broker, none"),
        ({"durable": False}, "durable: False on the broker, True declared"),
    ],
)
def test_queue_that_differs_has_to_be_replaced_and_is_left_alone(facts: dict[str, Any], text: str) -> None:
    plan = plan_of(topology, observed=with_queue(observed_of(topology), "orders", **facts))

    assert plan.steps == ()
    assert plan.has_to_replace
    assert plan.remarks[0].text.startswith(text)
    assert len(plan.remarks) == 1


def test_helper_that_differs_names_the_queue_that_gets_a_new_name() -> None:
    observed = with_queue(observed_of(topology), "orders.dead", type="classic", arguments={})

    assert "queue 'orders', which it serves, a new name" in plan_of(topology, observed=observed).remarks[0].text


def test_default_type_of_the_virtual_host_is_no_difference() -> None:
    classic = Topology(queues=[QueueSpec(name="q", type="classic", retry=False, dead_letter=False)])

    observed = with_queue(observed_of(classic), "q", arguments={})

    assert plan_of(classic, observed=observed) == Plan((), ())


def test_new_key_waits_while_workers_of_another_digest_consume_the_queue() -> None:
    before = Topology(queues=[orders.model_copy(update={"bindings": orders.bindings[:1]})])
    old, new = topology_digest(before), topology_digest(topology)
    there = together(observed_of(topology), observed_of(before))
    there = replace(there, bindings=tuple(each for each in there.bindings if each.routing_key != "refund.*"))

    for consumers, reason in (
        ((), []),
        ((new,), []),
        (
            (old, new),
            [f"'orders' is consumed by workers of another topology ({old[:12]}); deploy this version everywhere first"],
        ),
        (("",), ["'orders' is consumed by somebody who names no topology"]),
    ):
        observed = with_queue(there, "orders", **consumed_by(*consumers))
        plan = plan_of(topology, observed=observed)
        assert texts(plan) == ["bind 'shop' -> 'orders' by 'refund.*'"]
        assert waits(plan, observed) == reason

    unknown = with_queue(there, "orders", consumers=1, consumer_details=None)
    assert waits(plan_of(topology, observed=unknown), unknown) == [
        "it is not known who consumes 'orders': the broker does not say it yet"
    ]
    other = Topology(exchanges=[shop], queues=[QueueSpec(name="invoices")])
    shared = with_queue(together(there, observed_of(other)), "orders", **consumed_by(topology_digest(other)))
    assert waits(plan_of(topology, other, observed=shared), shared) == []


def test_queue_is_replaced_key_by_key_and_bound_first() -> None:
    new = QueueSpec(name="orders.2", replaces="orders", bindings=orders.bindings, max_length=9)
    after_it = Topology(queues=[new])

    plan = plan_of(after_it, observed=observed_of(Topology(queues=[orders])))

    assert texts(plan, "apply")[-4:] == [
        "bind 'shop' -> 'orders.2' by 'order.*'",
        "unbind 'shop' -> 'orders' by 'order.*'",
        "bind 'shop' -> 'orders.2' by 'refund.*'",
        "unbind 'shop' -> 'orders' by 'refund.*'",
    ]
    assert texts(plan, "prune") == [
        "delete queue 'orders'",
        "delete queue 'orders.dead'",
        "delete queue 'orders.retry.1000'",
    ]


def test_key_is_stale_only_if_it_stood_in_a_contract() -> None:
    fewer = Topology(exchanges=[mail], queues=[orders.model_copy(update={"bindings": orders.bindings[:1]})])
    observed, gone = observed_of(topology), BindingId.declared("queue", "orders", orders.bindings[1])

    assert plan_of(fewer, observed=observed).steps == ()
    (step,) = plan_of(fewer, observed=observed, stood=[gone]).steps
    assert isinstance(step, Unbind)
    assert step.command == "prune"
    consumed = with_queue(observed, "orders", **consumed_by("older"))
    assert "another topology (older)" in next(step.waits_for(consumed))


def test_key_that_another_target_has_is_not_stale() -> None:
    one = Topology(queues=[orders])
    gone = BindingId.declared("queue", "orders", orders.bindings[1])

    assert plan_of(one, Topology(queues=[orders]), observed=observed_of(one), stood=[gone]).steps == ()


def test_targets_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(TopologyError, match="declared and retired"):
        Targets.of([Topology(queues=[orders]), Topology(retired=["orders"])])


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"messages": 1}, "'orders' has 1 messages"),
        ({"messages": None}, "it is not known whether 'orders' is empty"),
        ({"consumers": 2}, "'orders' is consumed (2 consumers)"),
        ({"consumers": None}, "it is not known whether 'orders' is consumed"),
        ({"type": "stream"}, "'orders' is a stream, which is never deleted here"),
        ({"type": None}, "'orders' is a queue of unknown type"),
    ],
)
def test_retired_queue_is_deleted_only_when_nothing_is_in_it(facts: dict[str, Any], reason: str) -> None:
    retired = Topology(retired=["orders"])
    observed = with_queue(observed_of(Topology(queues=[orders.model_copy(update={"bindings": ()})])), "orders", **facts)

    plan = plan_of(retired, observed=observed)

    assert "delete queue 'orders'" in texts(plan)
    assert waits(plan, observed)[0].startswith(reason)


def test_retired_queue_that_is_bound_or_awaits_retries_is_kept() -> None:
    observed = with_queue(observed_of(Topology(queues=[orders])), "orders.retry.1000", messages=1)

    steps = plan_of(Topology(retired=["orders"]), observed=observed).steps

    bound = "'orders' is bound: 'shop' -> 'orders' by 'order.*'"
    assert {str(step): list(step.waits_for(observed)) for step in steps} == {
        "delete queue 'orders'": [bound, "'orders.retry.1000' has 1 messages"],
        "delete queue 'orders.dead'": [bound],
        "delete queue 'orders.retry.1000'": ["'orders.retry.1000' has 1 messages", bound],
    }


def test_helper_of_a_delay_that_is_gone_is_stale_if_it_is_as_ours() -> None:
    slow = QueueSpec(name="orders", bindings=orders.bindings, retry=RetryPolicy(delays=(1, 5)))
    observed = observed_of(Topology(exchanges=[mail], queues=[slow]))

    assert texts(plan_of(topology, observed=observed)) == ["delete queue 'orders.retry.5000'"]
    arguments = {**observed.queues["orders.retry.5000"].arguments, "x-max-length": 3}
    other = with_queue(observed, "orders.retry.5000", arguments=arguments)
    assert texts(plan_of(topology, observed=other)) == []


def test_helper_of_a_queue_that_is_used_is_kept() -> None:
    """By workers of an older version, whose retries wait there; or by the broker, which dead-letters into it."""
    slow = QueueSpec(name="orders", bindings=orders.bindings, retry=RetryPolicy(delays=(1, 5)))
    observed = with_queue(observed_of(Topology(exchanges=[mail], queues=[slow])), "orders", **consumed_by("older"))
    assert waits(plan_of(topology, observed=observed), observed) == [
        "'orders' is consumed by workers of another topology (older); deploy this version everywhere first"
    ]

    alone = Topology(exchanges=[mail], queues=[orders.model_copy(update={"dead_letter": False})])
    observed = observed_of(topology)
    plan = plan_of(alone, observed=observed)
    assert texts(plan) == ["delete queue 'orders.dead'"]
    assert waits(plan, observed) == ["the broker dead-letters from 'orders' into 'orders.dead'"]


def test_queue_that_its_replacement_waits_for_is_deleted_under_workers_of_the_target_alone() -> None:
    """They consume it until it is gone, and begin with the replacement then."""
    unbound = orders.model_copy(update={"bindings": ()})
    waiting = Topology(queues=[QueueSpec(name="orders.2", replaces="orders", after="empty", retry=orders.retry)])
    there = together(observed_of(Topology(queues=[unbound])), observed_of(waiting))

    for digest, reasons in (
        (topology_digest(waiting), []),
        (
            "older",
            ["'orders' is consumed by workers of another topology (older); deploy this version everywhere first"] * 3,
        ),
    ):
        observed = with_queue(there, "orders", **consumed_by(digest))
        plan = plan_of(waiting, observed=observed)
        assert texts(plan) == [
            "delete queue 'orders'",
            "delete queue 'orders.dead'",
            "delete queue 'orders.retry.1000'",
        ]
        assert waits(plan, observed) == reasons


def test_helper_of_a_retired_queue_is_kept_while_that_one_is_used() -> None:
    observed = with_queue(
        observed_of(Topology(queues=[orders.model_copy(update={"bindings": ()})])), "orders", **consumed_by("older")
    )

    reasons = waits(plan_of(Topology(retired=["orders"]), observed=observed), observed)

    assert reasons == ["'orders' is consumed (1 consumers)"] * 3


@pytest.mark.parametrize(
    "name", ["orders.retry.5", "orders.retry.05000", "orders.retry.x", "invoices.retry.5000", "orders.2"]
)
def test_queue_of_another_name_is_not_ours(name: str) -> None:
    wait = next(QueueSpec(name="orders", retry=RetryPolicy(delays=(5,))).helper_queues())
    theirs = observed_queue(wait.model_copy(update={"name": name}))
    observed = observed_of(topology)
    observed = replace(observed, queues=MappingProxyType({**observed.queues, name: theirs}))

    assert plan_of(topology, observed=observed).steps == ()


def test_foreign_queue_that_nobody_consumes_is_information() -> None:
    observed = observed_of(topology)
    forgotten = observed_queue(QueueSpec(name="forgotten"), messages=5)
    bound = observed_binding("queue", "forgotten", shop.bind("#"))
    observed = replace(
        observed,
        queues=MappingProxyType({**observed.queues, "forgotten": forgotten}),
        bindings=(*observed.bindings, bound),
    )

    plan = plan_of(topology, observed=observed, stood=[BindingId.observed(bound)])

    assert plan.steps == ()
    assert [(each.kind, each.subject) for each in plan.remarks] == [("foreign", "queue 'forgotten'")]


def test_policy_in_effect_is_told() -> None:
    observed = with_queue(observed_of(topology), "orders", policy="limits", policy_definition={"max-length": 5})

    (remark,) = plan_of(topology, observed=observed).remarks

    assert (remark.kind, remark.text) == ("policy", "policy limits is in effect: max-length=5")


def test_policy_that_would_do_is_shown_with_what_is_in_effect() -> None:
    """A policy of its own would take the limits of the one in effect away: one policy counts for a queue."""
    slow = Topology(queues=[QueueSpec(name="a.b c", message_ttl=5, retry=False, dead_letter=False)])
    arguments = {name: each for name, each in slow.queue("a.b c").broker_arguments.items() if name != "x-message-ttl"}

    def told(*policies: ObservedPolicy, **facts: Any) -> list[str]:
        observed = with_queue(observed_of(slow), "a.b c", arguments=arguments, **facts)
        observed = replace(observed, policies={policy.name: policy for policy in policies})
        return [each.text for each in plan_of(slow, observed=observed).remarks if each.kind == "policy"]

    exact = "--apply-to queues 'a.b c.taskroute' '^a\\.b\\ c$'"
    alone = told()[0]
    assert alone.startswith("or leave it out of the spec, and set a policy: rabbitmqctl set_policy -p / --priority 0")
    assert alone.endswith(f"""{exact} '{{"message-ttl": 5000}}'""")
    limits = ObservedPolicy("limits", 7, {"max-length": 9})
    in_effect = {"policy": "limits", "policy_definition": {"max-length": 3, "expires": 5}}
    above = told(limits, operator_policy="caps", **in_effect)[0]
    assert "instead of 'limits' (priority 7) and includes what that says: rabbitmqctl" in above
    assert above.endswith(f"""--priority 8 {exact} '{{"max-length": 9, "message-ttl": 5000}}'""")
    own = ObservedPolicy("a.b c.taskroute", 8, {"max-length": 9})
    assert "set a policy anew, with what it says already" in told(own, policy=own.name)[0]
    assert "--priority 8 " in told(own, policy=own.name)[0]
    assert "not known yet" in told(**in_effect)[0]
    assert "not known yet" in told(limits, policy=None, policy_definition=None)[0]
    assert told(type="classic", policy="") == []


names = st.sampled_from(["a", "b", "c", "d"])
policies: st.SearchStrategy[Any] = st.sampled_from([RetryPolicy(delays=(1,)), RetryPolicy(delays=(1, 5)), False])


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Draw queues a to d, some of them, with keys and delays."""
    chosen = draw(st.sets(names))
    keys = st.lists(st.sampled_from(["x.*", "y.#", "z"]), unique=True)
    queues = [
        QueueSpec(name=name, bindings=[shop.bind(key) for key in draw(keys)], retry=draw(policies))
        for name in sorted(chosen)
    ]
    return Topology(exchanges=[shop], queues=queues)


@settings(max_examples=60)
@given(topologies(), topologies())
def test_plan_is_empty_after_any_change_was_applied_and_pruned(before: Topology, wanted: Topology) -> None:
    gone = {queue.name for queue in before.queues} - {queue.name for queue in wanted.queues}
    wanted = Topology(exchanges=wanted.exchanges, queues=wanted.queues, retired=sorted(gone))
    stood = [BindingId.declared("queue", queue.name, each) for queue in before.queues for each in queue.bindings]
    targets, observed = Targets.of([wanted]), observed_of(before)

    applied = after(observed, compare(targets, observed, stood).of("apply"))
    pruned = after(applied, compare(targets, applied, stood).of("prune"))

    assert compare(targets, pruned, stood) == Plan((), ())
    expected = observed_of(wanted)
    assert pruned.queues == expected.queues
    assert set(map(BindingId.observed, pruned.bindings)) == set(map(BindingId.observed, expected.bindings))


@settings(max_examples=40)
@given(topologies())
def test_plan_is_empty_after_every_queue_was_replaced(before: Topology) -> None:
    new = [
        QueueSpec(name=f"{each.name}.2", bindings=each.bindings, replaces=each.name, retry=each.retry)
        for each in before.queues
    ]
    targets, observed = Targets.of([Topology(exchanges=[shop], queues=new)]), observed_of(before)

    applied = after(observed, compare(targets, observed).of("apply"))
    pruned = after(applied, compare(targets, applied).of("prune"))

    assert compare(targets, pruned) == Plan((), ())
    assert not set(pruned.queues) & set(observed.queues)


def test_page_shows_the_lines_of_a_plan_that_replaces_a_queue() -> None:
    page = (Path(__file__).parents[2] / "docs" / "changing-a-topology.md").read_text()
    old = QueueSpec(name="orders", bindings=[shop.bind("order.*")])
    new = QueueSpec(name="orders.2", bindings=[shop.bind("order.*")], message_ttl=3600, replaces="orders")
    observed = observed_of(Topology(queues=[old]))

    told = plan_lines(plan_of(Topology(queues=[new]), observed=observed), observed)

    shown = page.split("--api https://broker:15671\n")[1].split("$ echo")[0]
    assert shown == "".join(f"{line}\n" for line in told)


def test_foreign_queue_that_is_consumed_is_not_spoken_of() -> None:
    theirs = ExchangeSpec(name="shop")
    used = observed_of(Topology(queues=[QueueSpec(name="used", bindings=[theirs.bind("#")])]), **consumed_by("x"))
    observed = together(used, observed_of(topology))

    assert plan_of(topology, observed=observed) == Plan((), ())
    unknown = with_queue(observed, "used", consumers=None, consumer_details=None)
    assert plan_of(topology, observed=unknown) == Plan((), ())


def test_policies_of_operators_and_of_exchanges_are_told() -> None:
    observed = with_queue(
        observed_of(topology), "orders", policy="", operator_policy="ceiling", policy_definition={"max-length": 5}
    )
    shop_there = replace(observed.exchanges["shop"], policy="spare")
    observed = replace(observed, exchanges=MappingProxyType({**observed.exchanges, "shop": shop_there}))

    told = [(each.kind, each.subject, each.text) for each in plan_of(topology, observed=observed).remarks]

    assert told == [
        ("policy", "exchange 'shop'", "policy spare is in effect: not known what it says"),
        ("policy", "queue 'orders'", "policy ceiling is in effect: max-length=5"),
    ]


def test_stale_binding_between_exchanges_is_unbound_if_its_end_is_ours() -> None:
    theirs = ExchangeSpec(name="theirs", bindings=[shop.bind("mail.#")])
    observed = together(observed_of(topology), observed_of(Topology(exchanges=[theirs])))
    fewer = Topology(exchanges=[mail.model_copy(update={"bindings": ()})], queues=[orders])
    stood = [BindingId.declared("exchange", name, shop.bind("mail.#")) for name in ("mail", "theirs")]

    plan = plan_of(fewer, observed=observed, stood=stood)

    assert texts(plan) == ["unbind 'shop' -> 'mail' by 'mail.#'"]


def test_bindings_and_helpers_of_a_queue_that_somebody_else_owns_are_not_stale() -> None:
    """Its owner retries and dead-letters in a way of its own."""
    observed = observed_of(topology)
    passive = QueueSpec(name="orders", passive=True, retry=False, dead_letter=False)
    stood = [BindingId.declared("queue", "orders", each) for each in orders.bindings]

    plan = plan_of(Topology(exchanges=[mail], queues=[passive]), observed=observed, stood=stood)

    assert plan.steps == ()


def test_dead_letters_of_a_retired_queue_keep_their_queue_alone() -> None:
    unbound = observed_of(Topology(queues=[orders.model_copy(update={"bindings": ()})]))
    observed = with_queue(unbound, "orders.dead", messages=3)
    plan = plan_of(Topology(retired=["orders"]), observed=observed)

    pruned = after(observed, plan.of("prune"))

    assert set(pruned.queues) == {"orders.dead"}


FOREIGN_NAMES = ["x", "a.2", "a.b", "e.dead", "e.retry.1000", "a.retry.x", "a.dead.dead", "a.retry.7000", "b.dead"]


@settings(max_examples=60)
@given(topologies(), topologies(), st.lists(st.sampled_from(FOREIGN_NAMES), unique=True))
def test_nothing_that_is_not_ours_is_touched(before: Topology, wanted: Topology, foreign: list[str]) -> None:
    """Queues of others, some with names that ours might have, are bound to our exchange by keys of a contract."""
    keys = [shop.bind("x.*"), shop.bind("theirs")]
    gone = {queue.name for queue in before.queues} - {queue.name for queue in wanted.queues}
    wanted = Topology(exchanges=wanted.exchanges, queues=wanted.queues, retired=sorted(gone))
    own = {queue.name for topology in (before, wanted) for queue in topology.all_queues}
    others = Topology(
        queues=[
            QueueSpec(name=name, bindings=keys, retry=False, dead_letter=False, max_length=7)
            for name in foreign
            if name not in own
        ]
    )
    targets, observed = Targets.of([wanted]), together(observed_of(before), observed_of(others))
    stood = [BindingId.observed(each) for each in observed.bindings]
    plan = compare(targets, observed, stood)

    done = after(after(observed, plan.of("apply")), plan.of("prune"))

    theirs = observed_of(others)
    assert {name: done.queues.get(name) for name in theirs.queues} == theirs.queues
    assert set(map(BindingId.observed, theirs.bindings)) <= set(map(BindingId.observed, done.bindings))


replacing = Topology(queues=[QueueSpec(name="orders.2", replaces="orders", bindings=orders.bindings)])


def test_replacement_waits_while_workers_of_another_digest_consume_the_old_queue() -> None:
    """They would not see what is bound to the new one, and its own workers may not be there yet."""
    there = together(observed_of(Topology(queues=[orders])), observed_of(replacing))
    fresh = [each for each in there.bindings if each.destination == "orders"]
    observed = replace(with_queue(there, "orders", **consumed_by("older")), bindings=tuple(fresh))

    plan = plan_of(replacing, observed=observed)

    waiting = [str(step) for step in plan.of("apply") if any("(older)" in each for each in step.waits_for(observed))]
    assert waiting == texts(plan, "apply")
    assert len(waiting) == 4


def test_keys_that_apply_moves_are_not_stale() -> None:
    """Prune would take them from the old queue before the new one has them."""
    observed = observed_of(Topology(queues=[orders]))
    stood = [BindingId.declared("queue", "orders", each) for each in orders.bindings]

    assert not [
        step for step in plan_of(replacing, observed=observed, stood=stood).of("prune") if "unbind" in str(step)
    ]


@pytest.mark.parametrize("name", ["orders.dead.dead", "orders.retry.1000.dead", "orders.dead.retry.5000"])
def test_queue_that_would_serve_one_of_our_helpers_is_not_ours(name: str) -> None:
    """None of ours ever serves them."""
    served = name.removesuffix(".dead").removesuffix(".retry.5000")
    helpers = QueueSpec(name=served, retry=RetryPolicy(delays=(5,))).helper_queues()
    theirs = observed_queue(next(each for each in helpers if each.name == name))
    observed = observed_of(topology)
    observed = replace(observed, queues=MappingProxyType({**observed.queues, name: theirs}))

    assert plan_of(topology, observed=observed).steps == ()


@pytest.mark.parametrize("facts", [{"durable": False}, {"auto_delete": True}, {"exclusive": True}])
def test_queue_that_is_kept_otherwise_is_no_helper_of_ours(facts: dict[str, Any]) -> None:
    slow = QueueSpec(name="orders", bindings=orders.bindings, retry=RetryPolicy(delays=(1, 5)))
    observed = with_queue(observed_of(Topology(exchanges=[mail], queues=[slow])), "orders.retry.5000", **facts)

    assert plan_of(topology, observed=observed).steps == ()
