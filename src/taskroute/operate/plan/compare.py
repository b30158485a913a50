"""Compare: what targets declare with what a broker has, into the steps between them. Pure.

`apply` creates and binds. Where a queue replaces another one it moves the bindings, key by key: bound first, so that
nothing is lost. `prune` takes away what is stale: bindings that no target has and that stood in a contract, queues that
are retired, and queues that served ours. What cannot be changed where it is, is told and left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from taskroute.broker.mismatch import Difference
from taskroute.operate.observed import Observed, ObservedBinding, ObservedExchange, ObservedQueue
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.facts import (
    Absent,
    Bound,
    Empty,
    Fact,
    NoStream,
    NotBound,
    NotDeadLettering,
    OnlyKnownConsumers,
    Unbound,
    Unchanged,
    Unconsumed,
)
from taskroute.operate.plan.policies import policy_to_set
from taskroute.operate.plan.steps import (
    AnyStep,
    Bind,
    CreateExchange,
    CreateQueue,
    DeleteQueue,
    Plan,
    Remark,
    Unbind,
)
from taskroute.operate.plan.targets import Targets, is_wait_queue_of
from taskroute.topology.exchange import ExchangeSpec
from taskroute.topology.queue import QueueSpec

_FLAGS_OF_QUEUES = ("durable", "auto_delete", "exclusive")
_FLAGS_OF_EXCHANGES = ("type", "durable", "auto_delete", "internal")


def compare(targets: Targets, observed: Observed, stood: Collection[BindingId] = ()) -> Plan:
    """Return what is to be done, in order.

    Args:
        targets: what is declared, and what is theirs.
        observed: what the broker has of the queues and exchanges of the targets, with their bindings.
        stood: the bindings of the contracts that are given: what of ours may still be there, and stale.
    """
    compared = _Comparison(targets, observed, frozenset(stood))
    return Plan(tuple(compared.steps()), tuple(compared.remarks()))


class _Comparison:
    def __init__(self, targets: Targets, observed: Observed, stood: frozenset[BindingId]) -> None:
        self._targets = targets
        self._topology = targets.topology
        self._observed = observed
        self._stood = stood
        self._bound = {BindingId.observed(binding): binding for binding in observed.bindings}

    def steps(self) -> Iterator[AnyStep]:
        """Yield what is to be done: what others need comes first."""
        for exchange in self._topology.exchanges:
            if not exchange.passive and exchange.name not in self._observed.exchanges:
                yield CreateExchange(command="apply", spec=exchange, rests_on=(Absent("exchange", exchange.name),))
        for exchange in self._topology.exchanges:
            yield from self._bind_exchange(exchange)
        for queue in self._declared:
            if queue.name not in self._observed.queues:
                yield CreateQueue(command="apply", spec=queue, rests_on=(Absent("queue", queue.name),))
        for queue in self._declared:
            yield from self._bind_queue(queue)
        yield from self._unbind_stale()
        yield from self._delete_stale()

    def remarks(self) -> Iterator[Remark]:
        """Yield what no step is for."""
        for exchange in self._topology.exchanges:
            yield from self._look_at_exchange(exchange)
        for queue in self._topology.all_queues:
            yield from self._look_at_queue(queue)
        yield from self._foreign()

    @property
    def _declared(self) -> list[QueueSpec]:
        """The queues that `apply` creates: neither somebody else's nor those of a connection or a consumer."""
        every = self._topology.all_queues
        return [queue for queue in every if not (queue.passive or queue.exclusive or queue.auto_delete)]

    # What `apply` does:

    def _bind_exchange(self, exchange: ExchangeSpec) -> Iterator[AnyStep]:
        for binding in exchange.bindings:
            wanted = BindingId.declared("exchange", exchange.name, binding)
            if wanted not in self._bound:
                yield Bind(command="apply", binding=wanted, spec=binding, rests_on=(NotBound(wanted),))

    def _bind_queue(self, queue: QueueSpec) -> Iterator[AnyStep]:
        replaced = queue.replaces if queue.replaces in self._observed.queues else None
        known = OnlyKnownConsumers(queue.name, self._targets.digests)
        before = () if replaced is None else (OnlyKnownConsumers(replaced, self._targets.digests),)
        for wanted, binding in {BindingId.declared("queue", queue.name, each): each for each in queue.bindings}.items():
            if wanted not in self._bound:
                yield Bind(command="apply", binding=wanted, spec=binding, rests_on=(NotBound(wanted), known, *before))
            moved = None if replaced is None else self._bound.get(wanted.at(replaced))
            if moved is not None:
                yield Unbind(
                    command="apply",
                    binding=moved,
                    rests_on=(Bound(wanted.at(moved.destination)), Bound(wanted), *before),
                    why=f"{queue.name!r} replaces {moved.destination!r}",
                )

    # What `prune` does:

    def _unbind_stale(self) -> Iterator[AnyStep]:
        """Unbind what stood in a contract, and what no target has. What `apply` moves is moved by it."""
        moved = {wanted.at(queue.replaces) for wanted, queue in self._wanted_by_queue if queue.replaces is not None}
        for key, binding in self._bound.items():
            if key in self._stood and key not in self._wanted and key not in moved and self._is_ours(binding):
                known = [OnlyKnownConsumers(key.destination, self._targets.digests)]
                yield Unbind(
                    command="prune",
                    binding=binding,
                    rests_on=(Bound(key), *(known if key.destination_type == "queue" else ())),
                    why="no target has it",
                )

    def _is_ours(self, binding: ObservedBinding) -> bool:
        if binding.destination_type == "exchange":
            return any(exchange.name == binding.destination for exchange in self._topology.exchanges)
        passive = {queue.name for queue in self._topology.queues if queue.passive}
        return binding.destination in self._targets.queue_names - passive

    def _delete_stale(self) -> Iterator[AnyStep]:
        helpers = self._targets.stale_helpers(self._observed)
        for name in sorted(self._topology.retired_names & self._observed.queues.keys()):
            waits = [helper for helper, served in helpers.items() if served == name and is_wait_queue_of(helper, name)]
            by = self._topology.replacement_of(name)
            why = "retired" if by is None else f"{by!r} replaces it"
            yield self._delete(name, why, self._left(name), waits)
        for name, served in sorted(helpers.items()):
            why = f"it served {served!r}, and does so no more"
            yield self._delete(name, why, Unconsumed(name), rests_on=self._unneeded_by(served, name))

    def _unneeded_by(self, served: str, helper: str) -> tuple[Fact, ...]:
        """Return what holds when nothing can come from a queue into one that served it."""
        if served in self._topology.retired_names:
            return Unbound(served), self._left(served), Empty(served)
        return OnlyKnownConsumers(served, self._targets.digests), NotDeadLettering(served, helper)

    def _left(self, name: str) -> Fact:
        """Return what must hold of the consumers of a retired queue.

        Those that wait for its end, to begin with the one that replaces it, consume it until it is deleted.
        """
        is_awaited = any(queue.replaces == name and queue.after == "empty" for queue in self._topology.queues)
        return OnlyKnownConsumers(name, self._targets.digests) if is_awaited else Unconsumed(name)

    def _delete(
        self, name: str, why: str, left: Fact, waits: Collection[str] = (), rests_on: tuple[Fact, ...] = ()
    ) -> DeleteQueue:
        """Return the step that deletes a queue.

        Args:
            name: of the queue.
            why: it is deleted.
            left: what must hold of its consumers.
            waits: the queues whose messages would come back to it.
            rests_on: what else must hold.
        """
        there = self._observed.queues[name]
        return DeleteQueue(
            command="prune",
            name=name,
            why=why,
            rests_on=(
                NoStream(name),
                Unchanged(name, there.type, there.arguments),
                Unbound(name),
                left,
                *map(Empty, (name, *waits)),
                *rests_on,
            ),
        )

    # What is only told:

    def _look_at_exchange(self, spec: ExchangeSpec) -> Iterator[Remark]:
        subject, there = f"exchange {spec.name!r}", self._observed.exchanges.get(spec.name)
        if there is None:
            if spec.passive:
                yield Remark("missing", subject, "it is not there, and somebody else is to create it (passive)")
            return
        differences = () if spec.passive else _exchange_differences(spec, there)
        for difference in differences:
            yield Remark("replace", subject, difference.explain())
        if there.policy:
            yield Remark("policy", subject, f"policy {there.policy} is in effect: not known what it says")

    def _look_at_queue(self, spec: QueueSpec) -> Iterator[Remark]:
        subject, there = f"queue {spec.name!r}", self._observed.queues.get(spec.name)
        if there is None:
            if spec.passive:
                yield Remark("missing", subject, "it is not there, and somebody else is to create it (passive)")
            return
        differences = () if spec.passive else tuple(_queue_differences(spec, there))
        for difference in differences:
            yield Remark("replace", subject, difference.explain(self._served_by(spec)))
        if (policy := policy_to_set(there, differences, self._observed)) is not None:
            yield Remark("policy", subject, policy)
        if there.policy or there.operator_policy:
            names = " and ".join(filter(None, (there.policy, there.operator_policy)))
            definition = ", ".join(f"{key}={value}" for key, value in sorted((there.policy_definition or {}).items()))
            yield Remark("policy", subject, f"policy {names} is in effect: {definition or 'not known what it says'}")

    def _served_by(self, helper: QueueSpec) -> str | None:
        own = {queue.name for queue in self._topology.queues}
        served = (queue.name for queue in self._topology.queues if helper in queue.helper_queues())
        return None if helper.name in own else next(served, None)

    def _foreign(self) -> Iterator[Remark]:
        """Yield the queues of others on our exchanges that nobody consumes: information, and never touched."""
        ours = {exchange.name for exchange in self._topology.exchanges}
        targets = {
            binding.destination
            for binding in self._observed.bindings
            if binding.destination_type == "queue" and binding.source in ours
        }
        for name in sorted(targets - self._targets.queue_names):
            there = self._observed.queues.get(name)
            if there is not None and there.consumers == 0:
                count = "an unknown number of" if there.messages is None else there.messages
                yield Remark(
                    "foreign",
                    f"queue {name!r}",
                    f"it is no target's, is bound to ours, and nobody consumes it: {count} messages; left alone",
                )

    @property
    def _wanted_by_queue(self) -> list[tuple[BindingId, QueueSpec]]:
        each = ((queue, binding) for queue in self._topology.queues for binding in queue.bindings)
        return [(BindingId.declared("queue", queue.name, binding), queue) for queue, binding in each]

    @property
    def _wanted(self) -> frozenset[BindingId]:
        exchanges = ((exchange, binding) for exchange in self._topology.exchanges for binding in exchange.bindings)
        of_exchanges = {BindingId.declared("exchange", each.name, binding) for each, binding in exchanges}
        return frozenset(of_exchanges | {wanted for wanted, _ in self._wanted_by_queue})


def _queue_differences(spec: QueueSpec, there: ObservedQueue) -> Iterator[Difference]:
    for name in _FLAGS_OF_QUEUES:
        present, declared = getattr(there, name), getattr(spec, name)
        if present is not None and present != declared:
            yield Difference("queue", name, _spoken(present), _spoken(declared))
    present_type = {} if there.type is None else {"x-queue-type": there.type}
    declared_arguments = dict(spec.broker_arguments)
    if there.type is None:
        declared_arguments.pop("x-queue-type")
    for name, values in _differing({**there.arguments, **present_type}, declared_arguments):
        yield Difference("queue", name, *values)


def _exchange_differences(spec: ExchangeSpec, there: ObservedExchange) -> Iterator[Difference]:
    for name in _FLAGS_OF_EXCHANGES:
        present, declared = getattr(there, name), getattr(spec, name)
        if present != declared:
            yield Difference("exchange", name, _spoken(present), _spoken(declared))
    for name, values in _differing(there.arguments, spec.broker_arguments):
        yield Difference("exchange", name, *values)


def _differing(
    present: Mapping[str, Any], declared: Mapping[str, Any]
) -> Iterator[tuple[str, tuple[str | None, str | None]]]:
    """Yield the arguments that differ. Where the types do, that is said once, and what follows from it is not."""
    for name in sorted(present.keys() | declared.keys(), key=lambda name: (name != "x-queue-type", name)):
        values = present.get(name), declared.get(name)
        if values[0] != values[1] or isinstance(values[0], bool) != isinstance(values[1], bool):
            yield name, (_spoken(values[0]), _spoken(values[1]))
            if name == "x-queue-type":
                return


def _spoken(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)
