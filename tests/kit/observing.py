"""What a broker would have of a topology, without one: for tests of plans."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from taskroute import BindingSpec, ExchangeSpec, QueueSpec, Topology
from taskroute.operate.observed import Observed, ObservedBinding, ObservedConsumer, ObservedExchange, ObservedQueue
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.steps import AnyStep, Bind, CreateExchange, CreateQueue, DeleteQueue, Unbind


def observed_of(topology: Topology, **of_queues: Any) -> Observed:
    """Return what there is once everything is declared. `of_queues` changes what is observed of each queue."""
    bindings = [observed_binding("exchange", each.name, one) for each in topology.exchanges for one in each.bindings]
    bindings += [observed_binding("queue", each.name, one) for each in topology.queues for one in each.bindings]
    return Observed(
        "/",
        MappingProxyType({each.name: observed_exchange(each) for each in topology.exchanges}),
        MappingProxyType({each.name: observed_queue(each, **of_queues) for each in topology.all_queues}),
        tuple({BindingId.observed(each): each for each in bindings}.values()),
    )


def observed_exchange(spec: ExchangeSpec) -> ObservedExchange:
    flags = (spec.durable, spec.auto_delete, spec.internal)
    return ObservedExchange(spec.name, spec.type, *flags, dict(spec.broker_arguments))


def observed_queue(spec: QueueSpec, **facts: Any) -> ObservedQueue:
    """Return a queue that is there, empty and without consumers, unless `facts` says otherwise."""
    known = {
        "name": spec.name,
        "type": spec.queue_type,
        "durable": spec.durable,
        "auto_delete": spec.auto_delete,
        "exclusive": spec.exclusive,
        "arguments": dict(spec.broker_arguments),
        "policy": "",
        "operator_policy": "",
        "policy_definition": {},
        "messages": 0,
        "ready": 0,
        "unacknowledged": 0,
        "consumers": 0,
        "consumer_details": (),
    }
    return ObservedQueue(**{**known, **facts})


def observed_binding(kind: Any, name: str, spec: BindingSpec) -> ObservedBinding:
    return ObservedBinding(spec.exchange, name, kind, spec.binding_key, dict(spec.arguments), f"~{spec.binding_key}")


def consumed_by(*digests: str) -> dict[str, Any]:
    """Return what is observed of a queue that workers of these topologies consume."""
    consumers = [ObservedConsumer("tag", {"x-taskroute-topology": each} if each else {}, None) for each in digests]
    return {"consumers": len(digests), "consumer_details": tuple(consumers)}


def together(*parts: Observed) -> Observed:
    """Return what is in any of them; the last one counts."""
    exchanges = {name: each for part in parts for name, each in part.exchanges.items()}
    queues = {name: each for part in parts for name, each in part.queues.items()}
    bindings = {BindingId.observed(each): each for part in parts for each in part.bindings}
    return Observed("/", MappingProxyType(exchanges), MappingProxyType(queues), tuple(bindings.values()))


def after(observed: Observed, steps: Iterable[AnyStep]) -> Observed:
    """Return what there is when steps are done, each whose facts hold."""
    for step in steps:
        if list(step.obstacles(observed)) or step.is_done(observed):
            continue
        observed = _after(observed, step)
    return observed


def _after(observed: Observed, step: AnyStep) -> Observed:
    exchanges, queues = dict(observed.exchanges), dict(observed.queues)
    bindings = {BindingId.observed(each): each for each in observed.bindings}
    match step:
        case CreateExchange():
            exchanges[step.spec.name] = observed_exchange(step.spec)
        case CreateQueue():
            queues[step.spec.name] = observed_queue(step.spec)
        case Bind():
            of = step.binding
            bindings[of] = observed_binding(of.destination_type, of.destination, step.spec)
        case Unbind():
            del bindings[BindingId.observed(step.binding)]
        case DeleteQueue():
            del queues[step.name]
    return Observed("/", MappingProxyType(exchanges), MappingProxyType(queues), tuple(bindings.values()))
