"""Steps: what brings a broker to what the targets declare, one change each, with what it rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from taskroute.operate.observed import Observed, ObservedBinding
from taskroute.operate.plan.binding_id import BindingId
from taskroute.operate.plan.facts import Bound, Fact
from taskroute.topology.exchange import BindingSpec, ExchangeSpec
from taskroute.topology.queue import QueueSpec

Command = Literal["apply", "prune"]
"""What does a step: `apply` creates and binds, `prune` takes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change.

    Attributes:
        command: that does it.
        rests_on: what must hold for it, looked at again right before it is done.
        why: the reason, empty if it is the obvious one.
    """

    command: Command
    rests_on: tuple[Fact, ...] = ()
    why: str = ""

    def obstacles(self, observed: Observed) -> Iterator[str]:
        """Yield why it must not be done."""
        for fact in self.rests_on:
            if (reason := fact.why_not(observed)) is not None:
                yield reason

    def waits_for(self, observed: Observed) -> Iterator[str]:
        """Yield the same but for what an earlier step of the plan brings about."""
        for fact in self.rests_on:
            if not isinstance(fact, Bound) and (reason := fact.why_not(observed)) is not None:
                yield reason


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateExchange(Step):
    """Declare an exchange, without its bindings."""

    spec: ExchangeSpec

    def is_done(self, observed: Observed) -> bool:
        """Return whether it is there."""
        return self.spec.name in observed.exchanges

    def __str__(self) -> str:
        return f"create exchange {self.spec.name!r} ({self.spec.type})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateQueue(Step):
    """Declare a queue, without its bindings."""

    spec: QueueSpec

    def is_done(self, observed: Observed) -> bool:
        """Return whether it is there."""
        return self.spec.name in observed.queues

    def __str__(self) -> str:
        return f"create queue {self.spec.name!r} ({self.spec.queue_type})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind(Step):
    """Bind a queue or an exchange."""

    binding: BindingId
    spec: BindingSpec

    def is_done(self, observed: Observed) -> bool:
        """Return whether it is there."""
        return Bound(self.binding).why_not(observed) is None

    def __str__(self) -> str:
        return f"bind {self.binding}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unbind(Step):
    """Remove a binding, by the key that the broker itself has for it."""

    binding: ObservedBinding

    def is_done(self, observed: Observed) -> bool:
        """Return whether it is gone."""
        return Bound(BindingId.observed(self.binding)).why_not(observed) is not None

    def __str__(self) -> str:
        return f"unbind {BindingId.observed(self.binding)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteQueue(Step):
    """Delete a queue in which nothing is and to which nothing comes."""

    name: str

    def is_done(self, observed: Observed) -> bool:
        """Return whether it is gone."""
        return self.name not in observed.queues

    def __str__(self) -> str:
        return f"delete queue {self.name!r}"


AnyStep = CreateExchange | CreateQueue | Bind | Unbind | DeleteQueue

RemarkKind = Literal["replace", "missing", "policy", "foreign", "unseen", "unmoved"]
"""What has to be replaced; what somebody else is to create; what a policy does; what others have bound to our
exchanges; what could not be looked at; a queue whose bindings may have to be moved, which could not be looked at."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What no step is for."""

    kind: RemarkKind
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order, and what is to be known."""

    steps: tuple[AnyStep, ...]
    remarks: tuple[Remark, ...]

    @property
    def has_to_replace(self) -> bool:
        """Whether something differs that cannot be changed where it is."""
        return any(remark.kind == "replace" for remark in self.remarks)

    @property
    def sees_all(self) -> bool:
        """Whether everything could be looked at."""
        return not any(remark.kind == "unseen" for remark in self.remarks)

    @property
    def may_have_to_move(self) -> bool:
        """Whether bindings may have to be moved, which could not be looked at."""
        return any(remark.kind == "unmoved" for remark in self.remarks)

    def of(self, command: Command) -> tuple[AnyStep, ...]:
        """Return the steps that a command does."""
        return tuple(step for step in self.steps if step.command == command)
