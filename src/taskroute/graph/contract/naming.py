"""Naming: how differences call the entries of a contract. Pure."""

from __future__ import annotations

from taskroute.graph.contract.entries import BindingEntry, Entry, EventEntry, HandlerEntry


def name_of(entry: Entry) -> str:
    """Return what the differences about an entry are called by."""
    match entry:
        case HandlerEntry():
            return f"{entry.queue or '*'}:{entry.label}"
        case EventEntry():
            return f"event:{entry.exchange}:{entry.pattern}"
        case BindingEntry():
            target = entry.queue or f"exchange:{entry.to_exchange}"
            headers = ",".join(f"{name}={value}" for name, value in sorted(entry.arguments.items()))
            return f"{entry.exchange} -> {target}: {headers or entry.key or 'everything'}"
        case _:
            named = str(getattr(entry, "name", ""))
            return f"exchange:{named}" if type(entry).__name__ == "ExchangeEntry" else named
