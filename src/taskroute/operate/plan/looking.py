"""Looking: what a broker has of the targets, all of it or what one step rests on. Used by one thread.

Over the management API; how many consumers there are, AMQP says at once, where the API is some seconds late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Protocol

from taskroute.broker.depths import Absence, Depth, ask_depths
from taskroute.broker.url import BrokerUrl
from taskroute.operate.management import ManagementApi
from taskroute.operate.observed import SINGLE_ACTIVE, Observed, ObservedQueue, observe, observe_policies
from taskroute.operate.plan.facts import Empty
from taskroute.operate.plan.steps import AnyStep, Remark
from taskroute.operate.plan.targets import Targets

_NAME: Final = "taskroute-plan"
_LOOKS: Final = 12
"""How often it is looked for what the broker does not say yet, a second apart."""


class Looking(Protocol):
    """How a broker is looked at."""

    def at_all(self) -> tuple[Observed, tuple[Remark, ...]]:
        """Return what there is of the targets, and what cannot be seen.

        Raises:
            BrokerUnavailableError: it cannot be looked at.
        """

    def at(self, steps: Iterable[AnyStep]) -> Observed:
        """Return what there is of what some steps rest on. Raises what `at_all` does."""


@dataclass(frozen=True, slots=True)
class ApiLooking:
    """Looks over the management API.

    Attributes:
        pause: waits some seconds for the broker to count.
    """

    api: ManagementApi
    nodes: Sequence[BrokerUrl]
    targets: Targets
    pause: Callable[[float], object]

    def at_all(self) -> tuple[Observed, tuple[Remark, ...]]:
        """Return what there is, with what others have bound to our exchanges."""
        names = {str(each.get("name")) for each in self.api.each("queues", self._virtual_host, disable_stats="true")}
        ours = self.targets.queue_names | {name for name in names if self.targets.may_be_ours(name)}
        exchanges = [exchange.name for exchange in self.targets.topology.exchanges]
        observed = observe(self.api, self._virtual_host, queues=sorted(ours), exchanges=exchanges)
        others = {each.destination for each in observed.bindings if each.destination_type == "queue"} - ours
        foreign = observe(self.api, self._virtual_host, queues=sorted(others)).queues if others else {}
        everything = replace(observed, queues=MappingProxyType({**observed.queues, **foreign}))
        return self._with_policies(self._counted(everything, _is_unnamed)), ()

    def at(self, steps: Iterable[AnyStep]) -> Observed:
        """Return what there is of what they rest on."""
        facts = [fact for step in steps for fact in step.rests_on]
        about = [fact.about for fact in facts]
        queues = dict.fromkeys(name for kind, name in about if kind == "queue")
        exchanges = dict.fromkeys(name for kind, name in about if kind == "exchange")
        observed = observe(self.api, self._virtual_host, queues=queues, exchanges=exchanges)
        return self._counted(observed, _is_uncounted if any(isinstance(fact, Empty) for fact in facts) else _is_unnamed)

    @property
    def _virtual_host(self) -> str:
        return self.nodes[0].virtual_host

    def _with_policies(self, observed: Observed) -> Observed:
        """Return it with what each policy says by itself, which a queue does not tell, if one is in effect."""
        if not any(queue.policy for queue in observed.queues.values()):
            return observed
        return replace(observed, policies=observe_policies(self.api, self._virtual_host))

    def _counted(self, observed: Observed, is_late: Callable[[ObservedQueue], bool]) -> Observed:
        """Return it with what AMQP counts. Wait some seconds for the API to say what else is asked."""
        depths = ask_depths(self.nodes, observed.queues, name=_NAME)
        counted = _with_depths(observed, depths)
        for _ in range(_LOOKS):
            late = [
                name
                for name, queue in counted.queues.items()
                # Where AMQP does not count for this user, only the API says whether there are consumers.
                if is_late(queue) or (queue.consumers is None and depths.get(name) == "denied")
            ]
            if not late:
                break
            self.pause(1.0)
            fresh = observe(self.api, self._virtual_host, queues=late).queues
            depths = {**depths, **ask_depths(self.nodes, late, name=_NAME)}
            kept = {name: queue for name, queue in observed.queues.items() if name not in late}
            observed = replace(observed, queues=MappingProxyType({**kept, **fresh}))
            counted = _with_depths(observed, depths)
        return counted


def _is_unnamed(queue: ObservedQueue) -> bool:
    """Return whether it is known that there are consumers, and not who they are."""
    return bool(queue.consumers) and not queue.consumer_details


def _is_uncounted(queue: ObservedQueue) -> bool:
    """Return whether that is so, or nothing is known of messages."""
    return queue.messages is None or _is_unnamed(queue)


def _with_depths(observed: Observed, depths: Mapping[str, Depth | Absence]) -> Observed:
    queues = {}
    for name, queue in observed.queues.items():
        depth = depths.get(name, "denied")
        if isinstance(depth, Depth):
            queues[name] = _with_depth(queue, depth)
        elif depth != "absent":  # it is gone since
            queues[name] = queue
    return replace(observed, queues=MappingProxyType(queues))


def _are_all(details: Sequence[object], count: int, queue: ObservedQueue) -> bool:
    """Return whether those are all consumers of a queue. Where one is active AMQP counts that one alone."""
    return len(details) >= count if queue.arguments.get(SINGLE_ACTIVE) is True else len(details) == count


def _with_depth(queue: ObservedQueue, depth: Depth) -> ObservedQueue:
    """Return a queue as AMQP counts it: more than the API has seen so far, or consumers that it still sees."""
    details = queue.consumer_details
    if depth.consumers == 0:
        details = ()
    elif details is not None and not _are_all(details, depth.consumers, queue):
        details = None
    messages = None if queue.messages is None else max(queue.messages, depth.ready)
    return replace(queue, consumers=depth.consumers, consumer_details=details, messages=messages)
