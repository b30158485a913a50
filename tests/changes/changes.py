"""The changes that nobody dares, each as the releases of a service that make it, and the commands between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from taskroute import ExchangeSpec, QueueSpec, RetryPolicy, Topology
from taskroute.broker.declare import DeclareMode

ORDER, REFUND = "order.paid", "refund.paid"
"""The routing keys that are published."""

shop = ExchangeSpec(name="shop")
KEYS: Final = (shop.bind("order.*"), shop.bind("refund.*"))
RETRY: Final = RetryPolicy(delays=(0.2,))


@dataclass(frozen=True)
class Release:
    """What is deployed, and what is done about it.

    Attributes:
        topology: of its workers, and of the publisher that is deployed with them.
        handlers: the pattern that they handle, by the name of each queue.
        declare: of its workers.
        publishes: the keys that are published from the moment that its first worker runs.
        refused: what the first of the commands says while workers of the release before are there.
        commands: run when they are not. `TARGET` and `WAS` stand for it and for the contract of the first release.
        repeats: whether a command is run until it has done everything, as what a broker counts is some seconds old.
        then_publishes: the keys that are published from then on.
    """

    topology: Topology
    handlers: Mapping[str, str]
    declare: DeclareMode = "create"
    publishes: tuple[str, ...] = ()
    refused: str = ""
    commands: tuple[str, ...] = ()
    repeats: bool = False
    then_publishes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A change: the release that is there, and those that follow it.

    Attributes:
        name: of it, as the table in the documentation has it.
        before: what runs at first.
        releases: in their order.
        publishes: the keys that are published at first.
        moves: whether a queue replaces another one: then what comes between the two steps of one key comes twice.
        keeps_order: whether messages come to a worker in their order, across two queues, too.
    """

    name: str
    before: Release
    releases: tuple[Release, ...]
    publishes: tuple[str, ...] = (ORDER, REFUND)
    moves: bool = False
    keeps_order: bool = True

    @property
    def every(self) -> tuple[Release, ...]:
        """All releases, the first one included."""
        return (self.before, *self.releases)


def _orders(**fields: object) -> QueueSpec:
    return QueueSpec.model_validate({"name": "orders", "bindings": KEYS, "retry": RETRY} | fields)


def _release(*queues: QueueSpec, **fields: object) -> Release:
    """Return a release whose workers handle whatever comes to its queues."""
    return Release(Topology(queues=queues), {queue.name: "#" for queue in queues}, **fields)  # type: ignore[arg-type]


RETRY_DEAD: Final = "dead retry TARGET --queue orders.dead --yes"
OLD_WORKERS: Final = "is consumed by workers of another topology"


def _added(name: str, **fields: object) -> Change:
    """Return the change that adds a binding. What an old worker is given of the new key is tried again, for 6 s."""
    patient = RetryPolicy(delays=(1, 2, 3))
    before = Topology(queues=[_orders(bindings=KEYS[:1], retry=patient)])
    after = Release(Topology(queues=[_orders(retry=patient)]), {"orders": "#"}, **fields)  # type: ignore[arg-type]
    return Change(name, Release(before, {"orders": "order.*"}), (after,), (ORDER,))


def _replaced(name: str, new: QueueSpec, old: QueueSpec | None = None) -> Change:
    """Return the change that replaces the queue `orders`."""
    between = _release(
        new.model_copy(update={"replaces": "orders"}), refused=OLD_WORKERS, commands=("apply TARGET --yes", RETRY_DEAD)
    )
    after = Release(
        Topology(queues=[new], retired=["orders"]),
        {new.name: "#"},
        refused="'orders' is consumed (1 consumers)",
        commands=("prune TARGET --yes",),
    )
    return Change(name, _release(old or _orders()), (between, after), moves=True, keeps_order=False)


def _replaced_in_order(name: str) -> Change:
    """Return the change of a name that keeps the order: the new queue is consumed when the old one is gone.

    Bindings are moved one after the other, so that it is the order of what comes by one binding.
    """
    new = _orders(name="orders.2", replaces="orders", after="empty")
    commands = ("apply TARGET --yes", RETRY_DEAD, "prune TARGET --yes")
    after = _release(new, refused=OLD_WORKERS, commands=commands, repeats=True)
    return Change(name, _release(_orders()), (after,), (ORDER,), moves=True)


def _removed(name: str) -> Change:
    """Return the change that removes a binding whose key is published throughout: it still comes to another queue."""
    audit = QueueSpec(name="audit", bindings=[shop.bind("#")], retry=RETRY)
    before, after = (_release(_orders(bindings=keys), audit) for keys in (KEYS, KEYS[:1]))
    after = replace(after, refused=OLD_WORKERS, commands=("prune TARGET --was WAS --yes",))
    return Change(name, before, (after,))


def _retried_otherwise(name: str) -> Change:
    """Return the change of the delays of retries."""
    after = _release(_orders(retry=RetryPolicy(delays=(0.3, 0.6))))
    return Change(name, _release(_orders()), (replace(after, refused=OLD_WORKERS, commands=("prune TARGET --yes",)),))


def _retired(name: str) -> Change:
    """Return the change that takes a queue away: first its bindings, while it is consumed, and then the queue."""
    audit = QueueSpec(name="audit", bindings=[shop.bind("#")], retry=RETRY)
    unbound = _release(_orders(), audit.model_copy(update={"bindings": ()}))
    unbound = replace(unbound, refused=OLD_WORKERS, commands=("prune TARGET --was WAS --yes",))
    gone = Release(Topology(queues=[_orders()], retired=["audit"]), {"orders": "#"})
    gone = replace(gone, refused="'audit' is consumed (1 consumers)", commands=("prune TARGET --yes",))
    return Change(name, _release(_orders(), audit), (unbound, gone))


CHANGES: Final = (
    _added("a binding more, which workers bind", publishes=(ORDER, REFUND)),
    _added(
        "a binding more, which apply binds",
        declare="verify",
        refused=OLD_WORKERS,
        commands=("apply TARGET --yes",),
        then_publishes=(ORDER, REFUND),
    ),
    _removed("a binding less"),
    _replaced("another message TTL", _orders(name="orders.2", message_ttl=3600)),
    _replaced("quorum instead of classic", _orders(name="orders.2"), _orders(type="classic")),
    _replaced("another name", _orders(name="purchases")),
    _replaced_in_order("another name, in order"),
    _retried_otherwise("other retry delays"),
    _retired("a queue less"),
)
