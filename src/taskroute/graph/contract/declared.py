"""Declared: queues and exchanges that a broker has as they were, and that it cannot change. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskroute.graph.contract.difference import Difference
from taskroute.graph.contract.entries import ExchangeEntry, QueueEntry, Scalar
from taskroute.graph.contract.routing import Routing


def find_replaced(old: Routing, new: Routing) -> Iterator[Difference]:
    """Yield the queues and exchanges that are declared otherwise under the same name."""
    for name, queue in sorted(new.queues.items()):
        before = old.queues.get(name)
        told = _changes(before, queue)
        if told:
            yield Difference(
                "replace",
                name,
                f"queue {name!r} is declared otherwise, and a broker cannot change a queue: {told}: give it a new "
                f"name, QueueSpec(name={_next(name)!r}, replaces={name!r}, ...)",
                queue=name,
                declared=declared(old.queues[name]),
            )
    for name, exchange in sorted(new.exchanges.items()):
        told = _changes(old.exchanges.get(name), exchange)
        if told:
            yield Difference(
                "replace",
                f"exchange:{name}",
                f"exchange {name!r} is declared otherwise, and a broker cannot change an exchange: {told}: give it a "
                f"new name, and publish to both until nobody needs the old one",
                declared=declared(old.exchanges[name]),
            )


def declared(entry: QueueEntry | ExchangeEntry) -> dict[str, Scalar]:
    """Return what a broker was told of a queue or an exchange, by name."""
    said: dict[str, Scalar] = {"type": entry.type, "durable": entry.durable, "auto-delete": entry.auto_delete}
    if isinstance(entry, QueueEntry):
        said["exclusive"] = entry.exclusive
    else:
        said["internal"] = entry.internal
        if entry.alternate_exchange is not None:
            said["alternate-exchange"] = entry.alternate_exchange
    return {**said, **entry.arguments}


def _changes(before: QueueEntry | ExchangeEntry | None, now: QueueEntry | ExchangeEntry) -> str:
    if before is None or before.passive or now.passive:  # somebody else declares it
        return ""
    one, two = declared(before), declared(now)
    names = [name for name in sorted(one.keys() | two.keys()) if _shown(one, name) != _shown(two, name)]
    return ", ".join(f"{name} {_shown(one, name)} -> {_shown(two, name)}" for name in names)


def _shown(said: Mapping[str, Scalar], name: str) -> str:
    return repr(said[name]) if name in said else "absent"


def _next(name: str) -> str:
    """Return the name for a queue's next version: ``orders`` -> ``orders.2`` -> ``orders.3``."""
    stem, dot, number = name.rpartition(".")
    return f"{stem}.{int(number) + 1}" if dot and number.isascii() and number.isdigit() else f"{name}.2"
