"""PassiveLooking: what can be seen of a broker without its management API. Used by one thread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from taskroute.broker.depths import Absence, Depth, ask_depths, ask_exchanges
from taskroute.broker.url import BrokerUrl
from taskroute.errors import BrokerUnavailableError
from taskroute.operate.observed import DestinationType, Observed, ObservedBinding, ObservedExchange, ObservedQueue
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.looking import Looking
from taskroute.operate.plan.steps import AnyStep, Bind, Remark
from taskroute.operate.plan.targets import Targets
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec

_UNSEEN = (
    "without the management API it is only seen whether queues and exchanges are there: not their type and arguments, "
    "their bindings, policies, consumers, nor what is stale; give --api"
)

_UNMOVED = (
    "it is there, and {!r} replaces it: its bindings are not seen without the management API, nor moved; give --api"
)


@dataclass(frozen=True, slots=True)
class PassiveLooking(Looking):
    """Looks by passive declarations. What is there is taken for as declared."""

    nodes: Sequence[BrokerUrl]
    targets: Targets

    def at_all(self) -> tuple[Observed, tuple[Remark, ...]]:
        """Return what there is, and that no more can be seen."""
        observed, topology = self._look(), self.targets.topology
        replaced = {name: topology.replacement_of(name) for name in sorted(topology.retired_names)}
        unmoved = [
            Remark("unmoved", f"queue {name!r}", _UNMOVED.format(by))
            for name, by in replaced.items()
            if by is not None and name in observed.queues
        ]
        return observed, (*unmoved, Remark("unseen", "the broker", _UNSEEN))

    def at(self, steps: Iterable[AnyStep]) -> Observed:
        """Return the same, without the bindings that are to be made: to make one twice changes nothing."""
        observed, made = self._look(), {step.binding for step in steps if isinstance(step, Bind)}
        left = tuple(binding for binding in observed.bindings if BindingId.observed(binding) not in made)
        return replace(observed, bindings=left)

    def _look(self) -> Observed:
        topology = self.targets.topology
        depths = ask_depths(self.nodes, sorted(self.targets.queue_names), name="taskroute-plan")
        there = ask_exchanges(self.nodes, [exchange.name for exchange in topology.exchanges], name="taskroute-plan")
        denied = [name for name, each in {**depths, **there}.items() if each in ("denied", "unavailable")]
        if denied:
            raise BrokerUnavailableError(
                f"{denied[0]!r} cannot be looked at: it is down, or this user may not; give --api, or the right to it"
            )
        specs = {queue.name: queue for queue in topology.all_queues}
        exchanges = [each for each in topology.exchanges if there[each.name] is None]
        queues = {name: _queue(specs.get(name), name, depth) for name, depth in depths.items() if _is_there(depth)}
        bindings = [_binding("exchange", each.name, one) for each in exchanges for one in each.bindings]
        bindings += [_binding("queue", name, one) for name in queues if name in specs for one in specs[name].bindings]
        return Observed(
            self.nodes[0].virtual_host,
            MappingProxyType({each.name: _exchange(each) for each in exchanges}),
            MappingProxyType(queues),
            tuple(bindings),
        )


def _is_there(depth: Depth | Absence) -> bool:
    return isinstance(depth, Depth)


def _exchange(spec: ExchangeSpec) -> ObservedExchange:
    flags = (spec.durable, spec.auto_delete, spec.internal)
    return ObservedExchange(spec.name, spec.type, *flags, dict(spec.broker_arguments))


def _queue(spec: QueueSpec | None, name: str, depth: Depth | Absence) -> ObservedQueue:
    """Return a queue, as declared. Nothing is known of one that is only retired."""
    count = depth.consumers if isinstance(depth, Depth) and spec is not None else None
    return ObservedQueue(
        name=name,
        type=None if spec is None else spec.queue_type,
        durable=True if spec is None else spec.durable,
        auto_delete=False if spec is None else spec.auto_delete,
        exclusive=None if spec is None else spec.exclusive,
        arguments={} if spec is None else dict(spec.broker_arguments),
        policy=None,
        operator_policy=None,
        policy_definition=None,
        messages=None,
        ready=None,
        unacknowledged=None,
        consumers=count,
        consumer_details=() if count == 0 else None,
    )


def _binding(kind: DestinationType, name: str, spec: BindingSpec) -> ObservedBinding:
    return ObservedBinding(spec.exchange, name, kind, spec.binding_key, dict(spec.arguments), "")
